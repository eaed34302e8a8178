"""Films of label maps to measure: of a data set, or generated; and predictions of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.config import ConfigDict
from scipy.ndimage import map_coordinates

from echozoo.phantom.anatomy import beat, draw_ventricle
from echozoo.phantom.chambers import draw_chambers, label_maps, picture_shape
from echozoo.registry import DATASETS

STRUCTURES = ("lv", "myo", "la")
INSTANTS = ("ED", "ES")
SPACING = 0.308  # mm, that of CAMUS's images
_VIEWS = ("2CH", "4CH")
_SHIFT = 5  # pixels by which predictions are off at most


def generated_samples(patients: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Generate what a test on CAMUS leaves to measure: ED and ES of two views of each patient.

    Args:
        patients: Number of patients.
        seed: Seed.

    Yields:
        Samples as `CAMUSMetric` takes them, at CAMUS's size and spacing, predictions included.
    """
    for patient in range(1, patients + 1):
        rng = np.random.default_rng([seed, patient])
        ventricle = draw_ventricle(rng)
        for view in _VIEWS:
            chambers = draw_chambers(beat(ventricle, len(INSTANTS)), view, rng)
            size = picture_shape(chambers.depth, SPACING)
            labels = label_maps(chambers, size, SPACING)  # 2, H, W
            yield as_sample(f"patient{patient:04d}", view, labels, (SPACING, SPACING), rng)


def data_samples(
    dataset: ConfigDict, patients: int | None = None, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Take the label maps of a data set instead: ED and ES of its images.

    Args:
        dataset: The config of the data set.
        patients: The first so many; None takes all.
        seed: Of the predictions.

    Yields:
        As `generated_samples`.
    """
    steps = [dict(type="LoadClip"), dict(type="PackClip")]
    stills = dict(frames="ed_es", clip_length=None, pipeline=steps, test_mode=True)
    seen: list[str] = []
    for index, item in enumerate(DATASETS.build({**dataset, **stills, "structures": STRUCTURES})):
        sample = item["data_samples"]
        if sample.patient not in seen:
            seen.append(sample.patient)
        if patients is None or len(seen) <= patients:
            labels = sample.native_labels.numpy()
            rng = np.random.default_rng([seed, index])
            yield as_sample(sample.patient, sample.view, labels, sample.spacing, rng)


def as_sample(
    patient: str,
    view: str,
    labels: np.ndarray,
    spacing: tuple[float, float],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Add a prediction to label maps.

    Args:
        patient: Name of the patient.
        view: Name of the view.
        labels: (2, H, W), ED and ES.
        spacing: (dy, dx) in mm.
        rng: Draws how the prediction is off.
    """
    predicted = np.stack([distort(frame, rng) for frame in labels])  # 2, H, W
    structures = np.arange(1, len(STRUCTURES) + 1)[:, None, None]
    return {
        "patient": patient,
        "view": view,
        "sequence": f"{patient}_{view}",
        "frames": tuple(range(len(labels))),
        "instants": INSTANTS,
        "structures": STRUCTURES,
        "spacing": spacing,
        "quality": None,
        "native_labels": labels,
        "pred_masks": predicted[:, None] == structures,  # 2, K, H, W
        "pred_labels": predicted,
    }


def distort(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift a label map by a smooth wave, as a fair prediction is off: some pixels, here and there.

    Args:
        labels: (H, W).
        rng: Draws the wave.
    """
    y, x = np.indices(labels.shape, dtype=np.float32)
    waves = rng.uniform(-1, 1, (2, 2)) * 2 * np.pi / 200  # for a wave length of 200 pixels or more
    phases = rng.uniform(0, 2 * np.pi, 2)
    shifts = [
        _SHIFT * np.sin(ky * y + kx * x + phase)
        for (ky, kx), phase in zip(waves, phases, strict=True)
    ]
    places = [y + shifts[0], x + shifts[1]]
    return map_coordinates(labels, places, order=0, mode="nearest")
