"""Fixtures: a small CAMUS folder, and what the data code says about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echozoo import notices
from echozoo.films.io import write_volume


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """The notices of this test, in order."""
    messages: list[str] = []
    monkeypatch.setattr(notices, "_said", set())
    monkeypatch.setattr(notices, "print_log", lambda message, **_: messages.append(message))
    return messages


class CAMUSMaker:
    """Writes small CAMUS folders whose frames tell their index in the file."""

    size = (24, 32)

    def __init__(self, parent: Path) -> None:
        self.parent = parent

    def image(self, index: int) -> np.ndarray:
        """An image whose pixels tell its index."""
        return np.full(self.size, 10 * index + 1, np.uint8)

    def label(self, index: int) -> np.ndarray:
        """A mask with all structures, in the row of its index."""
        label = np.zeros(self.size, np.uint8)
        label[index, :3] = (1, 2, 3)
        return label

    def __call__(
        self,
        patients: int = 3,
        views: tuple[str, ...] = ("2CH", "4CH"),
        frames: int = 0,
        info: str | None = "ED: 1\nES: {frames}\nNbFrame: {frames}\nImageQuality: Good\n",
        place: str = "database_nifti",
        suffix: str = ".nii.gz",
    ) -> Path:
        """Write stills (image 0 is ED, 1 is ES) and, with ``frames``, half sequences."""
        root = self.parent / "CAMUS"
        contents = {"ED": [0], "ES": [1], **({"half_sequence": range(frames)} if frames else {})}
        for number in range(1, patients + 1):
            folder = root / place / f"patient{number:04d}"
            for view in views:
                stem = folder / f"{folder.name}_{view}"
                for kind, indices in contents.items():
                    images = np.stack([self.image(index) for index in indices])
                    labels = np.stack([self.label(index) for index in indices])
                    write_volume(f"{stem}_{kind}{suffix}", images, (0.5, 0.25))
                    write_volume(f"{stem}_{kind}_gt{suffix}", labels, (0.5, 0.25))
                if info:
                    (folder / f"Info_{view}.cfg").write_text(info.format(frames=frames or 2))
        return root


@pytest.fixture
def make_camus(tmp_path) -> CAMUSMaker:
    """Writes patients in the layout of 2023, or with .mhd files."""
    return CAMUSMaker(tmp_path)
