from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from echozoo.errors import ConfigError
from echozoo.postprocessing.temporal import TemporalGaussian


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(20, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("step", [TemporalGaussian(0), TemporalGaussian(sigma_share=0)])
def test_sigma_0_changes_nothing(step, logits):
    np.testing.assert_array_equal(step(logits, range(20)), logits)


@pytest.mark.parametrize("frames", [(3,), (0, 1), (0, 17), (4, 4, 5, 5)])
def test_an_image_and_a_pair_are_no_film(frames, logits):
    clip = logits[: len(frames)]
    np.testing.assert_array_equal(TemporalGaussian(2.0)(clip, frames), clip)


def test_away_from_the_ends_it_is_the_gaussian_filter(logits):
    smooth = TemporalGaussian(1.0)(logits, range(20))
    expected = gaussian_filter1d(logits, 1.0, axis=0, truncate=8)
    np.testing.assert_allclose(smooth[6:-6], expected[6:-6], atol=1e-5)
    assert smooth.dtype == np.float32


def test_the_default_is_a_twentieth_of_the_film(logits):
    default = TemporalGaussian()(logits, range(20))
    np.testing.assert_array_equal(default, TemporalGaussian(1.0)(logits, range(20)))


def test_what_is_constant_stays_at_the_ends_too():
    clip = np.ones((8, 1, 2, 2), np.float32)
    np.testing.assert_allclose(TemporalGaussian(3.0)(clip, range(8)), clip, rtol=1e-6)


def test_weights_follow_the_film_not_the_clip(logits):
    step = TemporalGaussian(1.0)
    np.testing.assert_allclose(step.weights((0, 2, 4)), step.weights((10, 12, 14)))
    assert step.weights((0, 2, 4))[0, 1] < step.weights((0, 1, 2))[0, 1]
    # Played to and fro: what comes twice counts once.
    there, back = step.weights((0, 1, 2)), step.weights((0, 1, 2, 1))
    np.testing.assert_allclose(back[:3, 0], there[:, 0])
    np.testing.assert_allclose(back[:3, 1] + back[:3, 3], there[:, 1])


def test_a_negative_sigma_is_refused():
    with pytest.raises(ConfigError, match="sigma_frames=-1"):
        TemporalGaussian(-1)
