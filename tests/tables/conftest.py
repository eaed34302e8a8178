"""Small made-up tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def write_definition(tmp_path: Path) -> Callable[..., Path]:
    """Write a definition beside configs of its own; keywords replace keys of it."""
    (tmp_path / "tables").mkdir()
    for name in ("unet", "samus_tra", "autosamus", "sam"):
        text = f'_base_ = "{ROOT / "configs" / name}.py"\n'
        (tmp_path / f"{name}.py").write_text(text)

    def write(name: str = "toy", **changes: object) -> Path:
        values = {
            "title": "A toy",
            "source": "toy.txt, table 1",
            "protocol": "As it was.",
            "dataset": {"split": "files"},
            "measured": ["dice", "dice_lv", "tci", "empty"],
            "published": {"dice": "Dice, %"},
            "compared": ["dice", "tci"],
            "baseline": "plain",
            "rows": [
                {"name": "plain", "config": "unet.py", "published": {"dice": 91.5}},
                {"name": "timely", "config": "samus_tra.py"},
            ],
            "notes": ["A note."],
        } | changes
        path = tmp_path / "tables" / f"{name}.py"
        path.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
        return path

    return write
