"""A clip as the transforms find it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

VALUES = np.array([10, 90, 160, 230], np.uint8)  # gray level of background, lv, myo, la


@pytest.fixture
def make_clip() -> Callable[..., dict]:
    """Make a clip of equal frames whose gray level tells the label: three unlike blocks."""

    def make(seed: int = 0, frames: int = 3, size: tuple[int, int] = (60, 90)) -> dict:
        height, width = size
        label = np.zeros(size, np.uint8)
        label[height // 4 : height // 2, width // 3 : width // 2] = 1
        label[height // 4 : height // 2, width // 2 : 2 * width // 3] = 2
        label[height // 2 : 3 * height // 4, width // 3 : 2 * width // 3] = 3
        labels = np.repeat(label[None], frames, axis=0)
        return dict(
            images=VALUES[labels],
            labels=labels,
            native_labels=labels.copy(),
            rng=np.random.default_rng(seed),
            patient="patient0001",
            view="4CH",
            sequence="patient0001_4CH",
            quality="Good",
            structures=("lv", "myo", "la"),
            frames=tuple(range(frames)),
            instants=("ED", *[""] * (frames - 2), "ES")[:frames],
            spacing=(0.308, 0.308),
            native_size=size,
            test_mode=False,
        )

    return make
