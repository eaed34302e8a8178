"""The smoother of label maps that Painchaud et al. compare with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from echozoo.errors import ConfigError
from echozoo.postprocessing.base import FilmLabels, FilmStep, Spacing
from echozoo.registry import POSTPROCESSING

_PIXELS = 2**16  # of a pass


@POSTPROCESSING.register_module()
class LabelGaussian(FilmStep):
    """Average each region's masks over time with Gaussian weights, and take the largest.

    As N. Painchaud et al. publish it ("Echocardiography Segmentation with Enforced Temporal
    Consistency", IEEE TMI 2022): of masks, not of logits as `TemporalGaussian`, reflected at the
    ends of the film, cut at 4 standard deviations. Pinned frames stay as they are, fewer than
    three too. The label maps of the whole film are held in memory.

    Args:
        sigma_share: Standard deviation as a share of the film's frames; 0 changes nothing.

    Raises:
        ConfigError: It is negative.
    """

    def __init__(self, sigma_share: float = 0.05) -> None:
        if not sigma_share >= 0:
            raise ConfigError(f"LabelGaussian: sigma_share={sigma_share}: wanted 0 or more")
        self.sigma_share = sigma_share

    def __call__(
        self,
        labels: FilmLabels,
        values: Mapping[str, int],
        spacing: Spacing | None = None,
        pinned: Sequence[int] = (),
    ) -> Iterator[np.ndarray]:
        """Yield smoothed label maps (H, W)."""
        given = labels[:]
        smooth = given.copy()
        if len(given) >= 3 and self.sigma_share > 0:
            regions = np.array([0, *values.values()], np.uint8)
            pixels = given.reshape(len(given), -1)  # (T, H * W)
            for start in range(0, pixels.shape[1], _PIXELS):
                part = slice(start, start + _PIXELS)
                smooth.reshape(pixels.shape)[:, part] = self._smooth(pixels[:, part], regions)
        smooth[list(pinned)] = given[list(pinned)]
        yield from smooth

    def _smooth(self, pixels: np.ndarray, regions: np.ndarray) -> np.ndarray:
        sigma = self.sigma_share * len(pixels)
        shares = [
            gaussian_filter1d((pixels == value).astype(float), sigma, axis=0, mode="reflect")
            for value in regions
        ]
        return regions[np.argmax(shares, axis=0)]
