from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echozoo.errors import ConfigError
from echozoo.postprocessing.label_gaussian import LabelGaussian

VALUES = {"lv": 1, "myo": 2}


def recorded(shared: Path, name: str) -> np.ndarray:
    with np.load(shared / "golden/related_video/painchaud.npz") as arrays:
        lv, myo = np.unpackbits(arrays[name], axis=-1)  # (T, H, W)
    return (lv + 2 * myo).astype(np.uint8)


def test_it_is_the_published_smoother(shared: Path):
    found = np.stack(list(LabelGaussian()(recorded(shared, "labels"), VALUES)))
    np.testing.assert_array_equal(found, recorded(shared, "gaussian"))


def test_pinned_frames_and_short_films_stay():
    labels = np.random.default_rng(0).integers(0, 3, (30, 6, 5)).astype(np.uint8)
    found = np.stack(list(LabelGaussian()(labels, VALUES, None, [0, 7])))
    np.testing.assert_array_equal(found[[0, 7]], labels[[0, 7]])
    assert (found[1] != labels[1]).any()
    for frames, step in ((2, LabelGaussian(0.5)), (30, LabelGaussian(0.0))):
        unchanged = np.stack(list(step(labels[:frames], VALUES)))
        np.testing.assert_array_equal(unchanged, labels[:frames])


def test_a_negative_sigma_is_refused():
    with pytest.raises(ConfigError, match="sigma_share=-0.1"):
        LabelGaussian(-0.1)
