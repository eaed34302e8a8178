"""Which view an image shows, told from the features of a segmentor's image encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from echozoo.errors import ConfigError
from echozoo.registry import MODELS

_SHRINKAGE = 0.1
"""Share of the covariance that is taken as equal in all directions: D may come near N."""
_MARGIN = 1.5
"""How far beyond the strangest image of the validation an image still counts as of a view."""


@MODELS.register_module()
class ViewHead(nn.Module):
    """A linear discriminant over the mean of each feature map, which also knows strangers.

    Descriptors x (D) of each view are taken as normally distributed about a mean of their own with
    one covariance S for all: the logit of a view is -(x - mean)ᵀ S⁻¹ (x - mean) / 2, divided by a
    temperature. An image whose smallest such distance exceeds a limit is like none of the views,
    whatever the logits say (Lee et al., arXiv 1807.03888). `fit` and `calibrate` find all of it in
    closed form once the encoder is trained (`ViewHeadHook`); until then the head knows nothing.

    Args:
        in_channels: Of the encoder's last maps, as many as are looked at.
        views: Their names, in the order of the logits.
    """

    def __init__(self, in_channels: Sequence[int], views: Sequence[str] = ("2CH", "4CH")) -> None:
        super().__init__()
        self.views, self.num_maps = tuple(views), len(in_channels)
        size = sum(in_channels)
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("whiten", torch.zeros(size, size))
        self.register_buffer("means", torch.zeros(len(views), size))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("limit", torch.zeros(()))

    @property
    def is_fitted(self) -> bool:
        """Whether it knows any view."""
        return bool(self.limit > 0)

    def describe(self, maps: Sequence[Tensor]) -> Tensor:
        """Describe images by the means (N, D) of maps (N, C_i, h_i, w_i)."""
        return torch.cat([m.float().mean((2, 3)) for m in maps[-self.num_maps :]], dim=1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Compare images with each view.

        Args:
            maps: The encoder's, (N, C_i, h_i, w_i).

        Returns:
            Logits (N, V); and how strange each image is (N,): its distance from the nearest view
            as a share of the limit, so that above 1 it is like none.
        """
        distances = self._distances(self.describe(maps))
        return self._logits(distances), distances.amin(dim=1) / self.limit

    def fit(self, descriptors: Tensor, views: Tensor) -> None:
        """Find the means and the covariance.

        Args:
            descriptors: (N, D) of training images.
            views: (N,) indices of their views.

        Raises:
            ConfigError: A view has no image.
        """
        counts = torch.bincount(views, minlength=len(self.views))
        if len(counts) > len(self.views) or (counts == 0).any():
            raise ConfigError(
                f"ViewHead: found {counts.tolist()} images a view, wants some of each of "
                f"{', '.join(self.views)} and no other: set view_head.views or the data's views"
            )
        x = descriptors.double()
        means = torch.stack([x[views == v].mean(0) for v in range(len(self.views))])
        scale = (x - means[views]).std(0).clamp_min(1e-6)
        spread = (x - means[views]) / scale
        covariance = spread.T @ spread / len(x)
        even = torch.eye(len(covariance), dtype=x.dtype) * covariance.diagonal().mean()
        covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * even
        root = torch.linalg.inv(torch.linalg.cholesky(covariance)).T / scale[:, None]
        self.centre.copy_(means.mean(0))
        self.whiten.copy_(root)
        self.means.copy_((means - means.mean(0)) @ root)

    def calibrate(self, descriptors: Tensor, views: Tensor) -> None:
        """Find the temperature at which certainty is most likely, and the limit of strangeness.

        Args:
            descriptors: (N, D) of images that `fit` has not seen.
            views: (N,) indices of their views.
        """
        distances = self._distances(descriptors)
        self.temperature.fill_(1.0)
        logits = self._logits(distances)
        found = minimize_scalar(
            lambda t: cross_entropy(logits / 10**t, views).item(), bounds=(-1, 3), method="bounded"
        )
        self.temperature.fill_(10**found.x)
        self.limit.copy_(_MARGIN * distances.amin(dim=1).max())

    def _distances(self, descriptors: Tensor) -> Tensor:
        """Squared distances (N, V) from each view, a mean over D."""
        whitened = (descriptors - self.centre) @ self.whiten  # (N, D)
        return (whitened[:, None] - self.means).square().mean(-1)  # (N, V)

    def _logits(self, distances: Tensor) -> Tensor:
        return -0.5 * len(self.centre) * distances / self.temperature
