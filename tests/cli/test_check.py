from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from echozoo.cli import check as command
from echozoo.films.io import write_volume
from echozoo.phantom import PhantomOptions, write_phantom

TOOL = Path(__file__).resolve().parents[2] / "tools" / "check_dataset.py"
SPACING = (0.5, 0.25)
IMAGE = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)
LABEL = np.tile(np.arange(32, dtype=np.uint8) % 4, (24, 1))
FRAMES = 5


@pytest.fixture
def check(monkeypatch, capsys):
    """Run the tool in this process: its exit status and what it printed."""

    def run(root) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["check", str(root), "--workers", "1"])
        with pytest.raises(SystemExit) as ended:
            command.main()
        code = ended.value.code
        if isinstance(code, str):
            return 1, code
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def root(tmp_path) -> Path:
    """Three whole patients in the layout of 2023, with split lists."""
    root = tmp_path / "CAMUS"
    for number in (1, 2, 3):
        folder = root / "database_nifti" / f"patient000{number}"
        for view in ("2CH", "4CH"):
            stem = folder / f"{folder.name}_{view}"
            for kind, shape in (("ED", ()), ("ES", ()), ("half_sequence", (FRAMES, 1, 1))):
                write_volume(f"{stem}_{kind}.nii.gz", np.tile(IMAGE, shape), SPACING)
                write_volume(f"{stem}_{kind}_gt.nii.gz", np.tile(LABEL, shape), SPACING)
            (folder / f"Info_{view}.cfg").write_text(
                f"ED: 1\nES: {FRAMES}\nNbFrame: {FRAMES}\nImageQuality: Medium\n"
            )
    (root / "database_split").mkdir()
    for number, subset in enumerate(("training", "validation", "testing"), start=1):
        (root / "database_split" / f"subgroup_{subset}.txt").write_text(f"patient000{number}\n")
    return root


def only_problem(printed: str) -> str:
    problems = [line for line in printed.splitlines() if line.startswith("problem: ")]
    assert len(problems) == 1, printed
    return problems[0]


def test_a_whole_folder(check, root):
    status, printed = check(root)
    assert status == 0
    assert "0 problems, 0 notes" in printed
    for text in ("3 patients", "24-24 x 32-32", "(0.5, 0.25): 18", "2 myo: 18", "5 to 5"):
        assert text in printed


def test_several_processes_from_the_command_line(root):
    (root / "database_nifti/patient0002/patient0002_4CH_ES_gt.nii.gz").write_bytes(b"")
    command = [sys.executable, str(TOOL), "--data-root", str(root), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(TOOL.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stderr
    assert "patient0002_4CH_ES_gt.nii.gz: empty file" in only_problem(done.stdout)
    assert done.stderr == ""
    assert not list(root.glob("**/*cache*"))


def test_what_nobody_has_is_a_note(check, root):
    for pattern in ("*_2CH_*", "*half_sequence*", "Info*"):
        for path in root.glob(f"database_nifti/*/{pattern}"):
            path.unlink()
    for path in (root / "database_split").iterdir():
        path.unlink()
    (root / "database_split").rmdir()
    status, printed = check(root)
    assert status == 0
    for text in ("no 2CH view", "no 4CH sequence of", "no 4CH Info file", "no such folder"):
        assert text in printed
    assert "0 problems, 4 notes" in printed


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("patient0001_2CH_*", "patient0001: no 2CH view, which 2 other patients have"),
        ("patient0001_4CH_ES*", "patient0001: no 4CH ES image"),
        ("patient0001_4CH_ED_gt*", "patient0001: no 4CH ED mask"),
        ("patient0001_4CH_half*", "patient0001: no 4CH sequence"),
        ("patient0001_4CH_half*_gt*", "patient0001: no 4CH mask of the sequence"),
        ("Info_4CH.cfg", "patient0001: no 4CH Info file"),
    ],
)
def test_what_only_some_have_is_a_problem(check, root, pattern, found):
    for path in root.glob(f"database_nifti/patient0001/{pattern}"):
        path.unlink()
    status, printed = check(root)
    assert status == 1
    assert found in only_problem(printed)


@pytest.mark.parametrize(
    ("array", "spacing", "found"),
    [
        (LABEL * 60, SPACING, "label values 0, 60, 120, 180, wanted only"),
        (LABEL[:-1], SPACING, "mask of 1 x 23 x 32"),
        (LABEL, (0.5, 0.5), "lies elsewhere than its image (spacing 0.5 0.5 mm"),
        (LABEL * 0, SPACING, "empty mask"),
        (LABEL / 2, SPACING, "wanted whole numbers"),
    ],
)
def test_faulty_masks(check, root, array, spacing, found):
    path = root / "database_nifti/patient0003/patient0003_2CH_ED_gt.nii.gz"
    write_volume(path, array, spacing)
    status, printed = check(root)
    assert status == 1
    assert found in only_problem(printed)
    assert str(path) in only_problem(printed)


def test_faulty_images(check, root):
    path = root / "database_nifti/patient0003/patient0003_2CH_ED.nii.gz"
    write_volume(path, IMAGE * 0, SPACING)
    assert "every pixel is 0" in only_problem(check(root)[1])
    path.write_bytes(path.read_bytes()[:-9])
    assert "truncated" in only_problem(check(root)[1])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ED: 1\nES: 5\nNbFrame: 6\n", "NbFrame is 6"),
        ("ED: 1\nES: 9\n", "ES is 9, wanted at most 5"),
        ("ED: 3\nES: 3\n", "ED and ES are both 3"),
        ("ED: one\n", "ED is 'one', wanted a number"),
        ("ImageQuality: Fine\n", "ImageQuality is 'Fine', wanted Good, Medium, Poor"),
    ],
)
def test_faulty_info(check, root, text, found):
    path = root / "database_nifti/patient0002/Info_4CH.cfg"
    path.write_text(text)
    assert found in only_problem(check(root)[1])
    assert str(path) in only_problem(check(root)[1])


def test_faulty_lists(check, root):
    lists = root / "database_split"
    (lists / "subgroup_testing.txt").write_text("patient0003\npatient0001\n")
    problem = only_problem(check(root)[1])
    assert "patient0001" in problem
    assert "subgroup_training.txt" in problem
    assert "subgroup_testing.txt" in problem
    (lists / "subgroup_testing.txt").write_text("patient0003\npatient0009\n")
    assert "patient0009 of test is not on disk" in only_problem(check(root)[1])
    (lists / "subgroup_testing.txt").write_text("")
    status, printed = check(root)
    assert "no patient in test" in only_problem(printed)
    assert "note: " in printed
    assert "1 patients on disk are in no list" in printed


def test_no_data(check, tmp_path, monkeypatch):
    monkeypatch.delenv("CAMUS_ROOT", raising=False)
    for root, found in ((tmp_path / "absent", "no such folder"), (tmp_path, "no patient folder")):
        status, message = check(root)
        assert status == 1
        assert message.startswith("error: ")
        assert found in message


def test_real_mhd(check, shared):
    status, printed = check(shared / "data" / "camus_mhd")
    assert status == 0
    assert "(0.154, 0.308): 12" in printed


@pytest.mark.parametrize("layout", ["echonet", "hmc_qu"])
def test_films_of_other_data_sets_are_read_whole(check, tmp_path, layout):
    pytest.importorskip("av", reason="the extra video is not installed")
    pytest.importorskip("openpyxl", reason="the extra hmc_qu is not installed")
    options = PhantomOptions(3, spacing=3.0, frames=(3, 3), layout=layout)
    write_phantom(tmp_path / "data", options)
    code, text = check(tmp_path / "data")
    assert code == 0, text
    assert "0 problems" in text
    films = sorted((tmp_path / "data").rglob("*.avi"))
    films[0].write_bytes(b"no video")
    films[1].unlink()
    code, text = check(tmp_path / "data")
    problems = [line for line in text.splitlines() if line.startswith("problem: ")]
    assert code == 1
    assert len(problems) == 2
    assert all(any(film.name in line for line in problems) for film in films[:2])
