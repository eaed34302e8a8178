from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from echozoo.apis.inferencer import EchoInferencer
from echozoo.datasets.layout import find_patients
from echozoo.evaluation.functional.ejection_fraction import PER_PHASE
from echozoo.evaluation.patients import measure_patient
from echozoo.films.io import read_volume, write_volume


class _Labels:
    """What a model sees: a bright cavity, and a wall around it."""

    def __init__(self, frames: np.ndarray) -> None:
        cavity = (frames > 100).astype(np.uint8)
        walls = np.stack([cv2.dilate(one, np.ones((9, 9), np.uint8)) for one in cavity])
        self.pred_labels = torch.as_tensor(2 * walls - cavity)


def heart(scale: float) -> np.ndarray:
    rows, columns = np.indices((120, 100))
    inside = ((rows - 60) / 40 / scale) ** 2 + ((columns - 50) / 22 / scale) ** 2 < 1
    return np.where(inside, 200, 20).astype(np.uint8)


@pytest.fixture
def measured(unet: Path, tmp_path: Path) -> tuple[Path, dict]:
    """Films of an exam with a name of CAMUS's, and of one with another; EF of each."""
    scales = [1, 1, 0.97, 0.9, 0.84, 0.8, 0.8]
    film = np.stack([heart(scale) for scale in scales])
    for name in ("patient0001_2CH", "patient0001_4CH", "Smith_4CH"):
        write_volume(tmp_path / f"in/{name}.nii.gz", film, (1.0, 1.0))
    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    inferencer.loaded.predict = lambda frames, *_: _Labels(frames)
    done = inferencer(tmp_path / "in", tmp_path / "out", as_camus=True)
    return tmp_path / "out/camus", {path.name: study for path, study in done.studies.items()}


def test_it_is_measured_as_camus_is(measured: tuple[Path, dict]) -> None:
    root, studies = measured
    patients = find_patients(root)
    assert list(patients) == ["patient0001", "patient0002"]
    for patient, name in zip(patients, ("patient0001", "Smith"), strict=True):
        found = measure_patient(patient, patients[patient])
        study = studies[f"{name}_study.json"]
        assert found.problems == []
        assert found.volumes[PER_PHASE].ef_percent == pytest.approx(study["ef_percent"], abs=1e-3)
        assert found.volumes[PER_PHASE].method == study["method"]
    assert "patient0002,Smith" in (root / "patients.csv").read_text().splitlines()


def test_sequences_go_from_end_diastole_to_end_systole(measured: tuple[Path, dict]) -> None:
    stem = measured[0] / "database_nifti/patient0001/patient0001_4CH"
    film, masks = (
        read_volume(f"{stem}_half_sequence{end}.nii.gz", label=bool(end)).array
        for end in ("", "_gt")
    )
    np.testing.assert_array_equal(masks == 1, film > 100)
    for place, instant in ((0, "ED"), (-1, "ES")):
        np.testing.assert_array_equal(read_volume(f"{stem}_{instant}.nii.gz").array[0], film[place])
    assert (masks[0] == 1).sum() > (masks[-1] == 1).sum()
