"""What the README says is true: its files work, its commands and configs exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def files() -> dict[str, str]:
    """The Python files that the README shows, by name."""
    return dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", README, flags=re.DOTALL))


def test_the_part_that_it_adds_trains(phantom, tmp_path):
    shown = files()
    assert set(shown) == {"running_mean.py", "my_samus.py"}
    for name, text in shown.items():
        (tmp_path / name).write_text(text.replace("CONFIGS", str(ROOT / "configs")))
    command = [
        sys.executable, str(ROOT / "tools/train.py"), "my_samus.py", "--scale", "tiny",
        "--data-root", str(phantom), "--dataset", "indices=1", "clip_length=2",
        "--cfg-options", "train_cfg.max_epochs=1",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "work_dirs/my_samus_tiny/epoch_1.pth").is_file()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?:tools|configs|tests|docs)/[\w/.]+", README)))
)
def test_what_it_names_is_there(path):
    assert (ROOT / path.rstrip(".")).exists()


def test_every_config_has_its_row():
    rows = set(re.findall(r"^\| `(\w+\.py)`", README, flags=re.MULTILINE))
    assert {path.name for path in (ROOT / "configs").glob("*.py")} == rows
