"""`echozoo nnunet` there and back, with the references as nnU-Net's predictions."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from clinic import PART, write_clinic, write_config

from echozoo.cli import nnunet as tool
from echozoo.engine import launch
from echozoo.films.io import read_volume, write_volume
from echozoo.options import add_run_options
from echozoo.zoo import CONFIGS

DATASET = ("--dataset", "split=ratio", "structures=(lv,la)")


@pytest.fixture
def start(monkeypatch, capsys):
    """Run the tool in this process: its exit message, if any, and what it printed."""
    monkeypatch.delenv("CAMUS_ROOT", raising=False)

    def run(*args: object) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["nnunet", *map(str, args)])
        code = None
        try:
            tool.main()
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().out

    return run


def predict_by_the_references(folder: Path, root: Path, predicted: Path) -> None:
    """Write what an nnU-Net that makes no mistake would."""
    files = {path.name: path for path in root.rglob("*_gt.nii.gz")}
    for case, origin in json.loads((folder / "cases.json").read_text()).items():
        reference = files[origin["file"].replace(".nii.gz", "_gt.nii.gz")]
        array, spacing = read_volume(reference, label=True)
        labels = np.array([0, 1, 0, 2], np.uint8)[array[origin["frame"]]]  # lv, la
        write_volume(predicted / f"{case}.nii.gz", labels, spacing)


@pytest.mark.parametrize("frames", ["sequence", "ed_es"])
def test_there_and_back(start, make_camus, tmp_path, frames):
    root = make_camus(patients=4, frames=3, info="ED: 3\nES: 1\n")  # films stored backwards
    folder, predicted, masks = tmp_path / "Dataset042_X", tmp_path / "predicted", tmp_path / "masks"
    data = (*DATASET, f"frames={frames}")
    code, _ = start(folder, CONFIGS / "unet.py", "--data-root", root, *data)
    assert code in (None, 0)

    described = json.loads((folder / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "lv": 1, "la": 2}
    (fold,) = json.loads((folder / "splits_final.json").read_text())
    names = [path.name for path in sorted((folder / "imagesTr").iterdir())]
    assert names == [f"{case}_0000.nii.gz" for case in sorted(fold["train"] + fold["val"])]
    assert described["numTraining"] == len(names) == 3 * 2 * (3 if frames == "sequence" else 2)
    assert not {case[:11] for case in fold["train"]} & {case[:11] for case in fold["val"]}
    for path in (folder / "labelsTr").iterdir():
        labels, spacing = read_volume(path, label=True)
        image, other = read_volume(folder / "imagesTr" / path.name.replace(".nii", "_0000.nii"))
        assert spacing == other == (0.5, 0.25)
        assert labels.shape == image.shape == (1, 24, 32)
        index = int(re.search(r"_f(\d+)", path.name)[1]) + path.name.count("_ES_")
        assert image.max() == 10 * index + 1  # the frame that its name says
        assert labels[0, index, :3].tolist() == [1, 0, 2]

    predict_by_the_references(folder, root, predicted)
    code, said = start(folder, "--predictions", predicted, "-o", masks)
    assert code in (None, 0)
    assert "label maps of " in said
    assert dice(root, masks, tmp_path / "run", frames) == 1

    next(predicted.iterdir()).unlink()
    code, _ = start(folder, "--predictions", predicted, "-o", masks)
    assert code.startswith(f"error: {predicted}/patient")
    assert "\n" not in code


def test_a_data_set_with_other_structures_and_values(start, tmp_path):
    root, predicted, masks = (tmp_path / name for name in ("data", "predicted", "masks"))
    write_clinic(root)
    config = write_config(tmp_path, CONFIGS / "stored.py")
    folder = tmp_path / "Dataset042_Clinic"
    code, _ = start(folder, config, "--data-root", root)
    assert code in (None, 0)
    described = json.loads((folder / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "lv": 1, "la": 2}
    (fold,) = json.loads((folder / "splits_final.json").read_text())
    assert {case[-5:] for case in fold["train"] + fold["val"]} == {"_f001", "_f003"}
    for case, origin in json.loads((folder / "cases.json").read_text()).items():
        labels = np.zeros((20, 30), np.uint8)
        if origin["frame"] in (1, 3):
            stem = origin["file"].replace(".nii", "_masks.nii")
            values = read_volume(root / stem, label=True).array[origin["frame"] // 2]
            labels = np.where(values == 40, 1, np.where(values == 7, 2, 0)).astype(np.uint8)
        write_volume(predicted / f"{case}.nii.gz", labels, (4.0, 4.0))
    code, _ = start(folder, "--predictions", predicted, "-o", masks)
    assert code in (None, 0)
    found = read_volume(next(masks.iterdir()), label=True).array
    assert [np.unique(one).tolist() for one in found] == [[0], [0, 7, 40], [0], [0, 7, 40]]
    assert dice(root, masks, tmp_path / "run", config=config) == 1
    # Two images of one name would be one case.
    write_clinic(root / "more")
    (tmp_path / "clinic_part.py").write_text(PART.replace("root.glob", "root.rglob"))
    sys.modules.pop("clinic_part")
    code, _ = start(tmp_path / "Dataset043_Clinic", config, "--data-root", root)
    assert "two images of one name" in code


def dice(
    root: Path, masks: Path, work_dir: Path, frames: str = "", config: Path | None = None
) -> float:
    args = tool.argparse.ArgumentParser()
    args.add_argument("config")
    add_run_options(args)
    options = [str(config or CONFIGS / "stored.py"), "--data-root", str(root)]
    options += [*DATASET, f"frames={frames}"] if frames else []
    options += ["--work-dir", str(work_dir)]
    options += ["--cfg-options", f"model.folder={masks}", "test_dataloader.num_workers=0"]
    cfg = launch.read_config(args.parse_args(options))
    cfg.test_evaluator = dict(type="SegmentationMetric")
    return launch.build_runner(cfg).test()["camus/dice_with_empty_as_0"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("X", "CONFIG", "--data-root", "ROOT"), "X: wanted a name such as Dataset042_CAMUS"),
        (("Dataset001_X", "--predictions", "p", "-o", "m"), "Dataset001_X: no export of this tool"),
    ],
)
def test_what_cannot_be_is_one_line(start, make_camus, args, said):
    places = {"CONFIG": CONFIGS / "unet.py", "ROOT": make_camus()}
    code, _ = start(*(places.get(arg, arg) for arg in args))
    assert said in code
    assert "\n" not in code
