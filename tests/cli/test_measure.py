from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from echozoo.cli import measure as command
from echozoo.datasets.info import read_info
from echozoo.films.io import read_volume, write_volume
from echozoo.phantom import PhantomOptions, write_phantom


@pytest.fixture
def measure(monkeypatch, capsys):
    """Run the tool in this process: its exit status and what it printed."""

    def run(*argv) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["measure", *map(str, argv), "--workers", "1"])
        with pytest.raises(SystemExit) as ended:
            command.main()
        code = ended.value.code
        if isinstance(code, str):
            return 1, code
        return code, capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    """A phantom whose pixels are small enough for volumes."""
    root = tmp_path_factory.mktemp("measure") / "phantom"
    write_phantom(root, PhantomOptions(patients=3, seed=1, spacing=1.0, frames=(3, 4)))
    return root


def rows_of(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def labels_only(source: Path, target: Path, kinds: tuple[str, ...], suffix: str = ".nii.gz"):
    """Copy label maps, without images and Info files, as a model's output would be."""
    for path in sorted(source.rglob("*_gt.nii.gz")):
        if any(path.name.endswith(f"_{kind}_gt.nii.gz") for kind in kinds):
            name = path.name.replace(".nii.gz", suffix)
            write_volume(target / path.parent.name / name, *read_volume(path, label=True))


def test_the_phantom_has_the_ef_it_was_made_with(generated: Path, tmp_path: Path, measure) -> None:
    code, out = measure(generated, "-o", tmp_path / "out")
    assert code == 0
    assert "3 of 3 patients measured, 0 problems" in out
    assert "3 biplane, step per_phase) against older Info files (LVef)" in out
    rows = rows_of(tmp_path / "out/patients.csv")
    for row in rows:
        info = read_info(generated / "database_nifti" / row["patient"] / "Info_4CH.cfg")
        made = 100 * (info.edv - info.esv) / info.edv
        assert float(row["ef_percent"]) == pytest.approx(made, abs=2), row["patient"]
        assert float(row["edv_ml"]) == pytest.approx(info.edv, rel=0.03)
        assert float(row["info_ef_percent"]) == pytest.approx(made, abs=0.01)
        assert float(row["ef_global_step_percent"]) < float(row["ef_percent"])
        assert float(row["la_volume_es_ml"]) > 10
    frames = rows_of(tmp_path / "out/frames.csv")
    assert len(frames) == 3 * 2 * 2
    assert float(frames[0]["myo_area_cm2"]) > 5
    content = json.loads((tmp_path / "out/measures.json").read_text())
    mae = content["agreement"]["info_older"]["ef_pp"]["mae"]["value"]
    assert mae < 2
    assert (tmp_path / "out/info_older.png").stat().st_size > 10_000


def test_real_patients_against_their_info_files(shared: Path, tmp_path: Path, measure) -> None:
    code, out = measure(shared / "data/camus_mhd", "-o", tmp_path)
    assert code == 0
    agreement = json.loads((tmp_path / "measures.json").read_text())["agreement"]["info_older"]
    assert agreement["ef_pp"]["num_pairs"] == 3
    assert agreement["ef_pp"]["mae"]["value"] < 0.5
    assert agreement["edv_ml"]["mae"]["value"] < 1
    assert "patient0001" in out


def test_info_files_of_2023_are_compared_by_the_global_step(
    generated: Path, tmp_path: Path, measure
) -> None:
    labels_only(generated, tmp_path / "data", ("ED", "ES"))
    for folder in (tmp_path / "data").iterdir():
        (folder / "Info_4CH.cfg").write_text("ED: 1\nES: 3\nEF: 45\n")
    code, out = measure(tmp_path / "data", "-o", tmp_path / "out")
    assert code == 0
    assert "step global) against Info files of 2023 (EF)" in out
    rows = rows_of(tmp_path / "out/patients.csv")
    found = json.loads((tmp_path / "out/measures.json").read_text())["agreement"]["info_2023"]
    differences = [float(row["ef_global_step_percent"]) - 45 for row in rows]
    assert found["ef_pp"]["bias"]["value"] == pytest.approx(np.mean(differences), abs=1e-3)
    assert found["edv_ml"]["num_pairs"] == 0


def test_predicted_films_without_anything_else(generated: Path, tmp_path: Path, measure) -> None:
    labels_only(generated, tmp_path / "films", ("half_sequence",), ".mhd")
    code, out = measure(tmp_path / "films", "--reference", generated, "-o", tmp_path / "out")
    assert code == 0, out
    assert "against label maps of the reference" in out
    # Found from the curve of the LV's area: the same frames as the stills, so the same numbers.
    row = rows_of(tmp_path / "out/patients.csv")[0]
    assert row["ed_es_from"] == "area curve"
    assert "info_ef_percent" not in row
    found = json.loads((tmp_path / "out/measures.json").read_text())["agreement"]
    assert found["label_maps"]["ef_pp"]["mae"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["info_older"]["ef_pp"]["num_pairs"] == 3


def test_damaged_files_are_listed_and_the_rest_is_measured(
    generated: Path, tmp_path: Path, measure
) -> None:
    root = tmp_path / "data"
    labels_only(generated, root, ("ED", "ES"))
    first, second, third = sorted(root.iterdir())
    (first / f"{first.name}_2CH_ES_gt.nii.gz").write_bytes(b"")
    volume = read_volume(second / f"{second.name}_4CH_ES_gt.nii.gz", label=True)
    path = second / f"{second.name}_4CH_ES_gt.nii.gz"
    write_volume(path, np.zeros_like(volume.array), volume.spacing)
    for path in third.iterdir():
        path.unlink()
    code, out = measure(root, "-o", tmp_path / "out")
    assert code == 1
    assert "2 of 3 patients measured, 3 problems" in out
    problems = [line for line in out.splitlines() if line.startswith("problem: ")]
    assert f"{first.name}_2CH_ES_gt.nii.gz" in problems[0]
    assert "4CH ES shows no LV" in problems[1]
    assert "no view with label maps of ED and ES" in problems[2]
    rows = rows_of(tmp_path / "out/patients.csv")
    assert [row["method"] for row in rows] == ["single-plane 4CH", "biplane"]
    assert rows[1]["ef_percent"] == ""


def test_a_folder_without_label_maps_is_one_line(tmp_path: Path, measure) -> None:
    (tmp_path / "data/patient0001").mkdir(parents=True)
    code, message = measure(tmp_path / "data")
    assert code == 1
    assert message.startswith("error: ")
    assert "no view with label maps" in message
    assert "\n" not in message


def rewrite(path: Path, change, spacing=None) -> None:
    volume = read_volume(path, label=True)
    array = volume.array[0] if len(volume.array) == 1 else volume.array
    path.unlink()
    write_volume(path, change(array), spacing or volume.spacing)


@pytest.mark.parametrize(
    ("change", "spacing", "words"),
    [
        (lambda mask: np.stack([mask == k for k in range(4)]), None, "mask of 4 x"),
        (lambda mask: mask * 85, None, "label values 0, 85, 170, 255"),
        (lambda mask: mask, (0.7, 0.7), "lies elsewhere than its image"),
        (lambda mask: mask[:-3], None, "rows, columns), wanted"),
    ],
    ids=["one-hot", "values", "spacing", "size"],
)
@pytest.mark.parametrize("images", [True, False])
def test_masks_that_do_not_fit_are_refused(
    generated: Path, tmp_path: Path, measure, change, spacing, words, images
) -> None:
    """As echozoo check refuses them; without its image, a mask says less."""
    root = tmp_path / "data"
    shutil.copytree(generated / "database_nifti", root)
    patient = sorted(root.iterdir())[0]
    for path in list(patient.glob("*.nii.gz")):
        if not images and "_gt" not in path.name:
            path.unlink()
    name = f"{patient.name}_4CH_ES_gt.nii.gz"
    rewrite(patient / name, change, spacing)
    code, out = measure(root, "-o", tmp_path / "out")
    problems = [line for line in out.splitlines() if line.startswith("problem: ")]
    if not images and words in ("lies elsewhere than its image", "rows, columns), wanted"):
        assert code == 0
        return
    assert code == 1
    assert name in problems[0]
    assert words in problems[0]
    assert rows_of(tmp_path / "out/patients.csv")[0]["method"] == "single-plane 2CH"


def test_a_mask_without_a_geometry_has_the_spacing_of_its_image(
    generated: Path, tmp_path: Path, measure
) -> None:
    root = tmp_path / "data"
    shutil.copytree(generated / "database_nifti", root)
    for path in sorted(root.rglob("*.nii.gz")):
        if "_gt" in path.name:
            rewrite(path, lambda mask: mask, (1.0, 1.0))
        else:
            rewrite(path, lambda image: image, (0.5, 0.5))
    code, out = measure(root, "-o", tmp_path / "out")
    assert code == 0
    assert "note: " in out
    whole, _ = measure(generated, "-o", tmp_path / "whole")
    mm = {row["patient"]: float(row["edv_ml"]) for row in rows_of(tmp_path / "whole/patients.csv")}
    for row in rows_of(tmp_path / "out/patients.csv"):
        assert float(row["edv_ml"]) == pytest.approx(mm[row["patient"]] / 8, rel=0.02)


@pytest.mark.parametrize("value", ["inf", "-3", "1e400", "-inf"])
def test_info_values_that_cannot_be(generated: Path, tmp_path: Path, measure, value) -> None:
    root = tmp_path / "data"
    shutil.copytree(generated / "database_nifti", root)
    info = sorted(root.rglob("Info_4CH.cfg"))[0]
    text = info.read_text()
    for key in ("ED: ", "LVedv: "):
        info.write_text(text.replace(key, f"{key}{value}\nX", 1))
        code, out = measure(root)
        assert code == 1
        assert f"{info}: {key[:-2]} is '{value}'" in out


def test_ed_and_es_are_of_the_mask_that_is_measured(
    generated: Path, tmp_path: Path, measure
) -> None:
    """Specks of LV beside the ventricle are in no volume: no frame is ED for having them."""
    labels_only(generated, tmp_path / "clean", ("half_sequence",))
    labels_only(generated, tmp_path / "specks", ("half_sequence",))
    for path in sorted((tmp_path / "specks").rglob("*.nii.gz")):

        def speckle(mask: np.ndarray) -> np.ndarray:
            room = mask[1, ::4, ::4]
            room[room == 0] = 1
            return mask

        rewrite(path, speckle)
    for name in ("clean", "specks"):
        assert measure(tmp_path / name, "-o", tmp_path / f"{name}_out")[0] == 0
    clean, specks = (rows_of(tmp_path / f"{name}_out/patients.csv") for name in ("clean", "specks"))
    assert [row["ef_percent"] for row in specks] == [row["ef_percent"] for row in clean]
