"""Films smoothed in the space of shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from echozoo.errors import CheckpointError, ConfigError
from echozoo.evaluation.limits import load_limits
from echozoo.models.shapes.code_smoothing import smooth_shape
from echozoo.models.shapes.shape_codes import ATTRIBUTES, STRUCTURES, ShapeCodes
from echozoo.models.weight_files import load_safely, state_dict_of
from echozoo.postprocessing.base import FilmLabels, FilmStep, Spacing
from echozoo.registry import POSTPROCESSING

_FRAMES = 8  # of a pass


@POSTPROCESSING.register_module()
class ShapeCodeSmoother(FilmStep):
    """Smooth cavity and wall as the codes of an autoencoder of shapes, and decode them again.

    N. Painchaud et al., IEEE TMI 2022. Each code is smoothed over the film: those tied to an
    attribute by the least weight that makes it consistent, the others by a fixed one (see
    `echozoo.models.shapes.code_smoothing`). Every frame is what the decoder draws, also where
    nothing was wrong; other structures stay where it draws nothing. First differences are what is
    small: the beat loses amplitude (read consistency beside the error of the area's change).
    Pinned frames stay as they are, and so do films of fewer than three frames.

    Args:
        weights: A checkpoint of ``configs/shape_code.py``; its model's sizes are in the keys.
        limits: Thresholds of the attributes, as for `TemporalConsistencyMetric`.

    Raises:
        CheckpointError: It cannot be read, or is another model's.
        ConfigError: The limits lack an attribute.
    """

    def __init__(self, weights: str | Path, limits: str | dict = "camus") -> None:
        known = load_limits(limits).attributes
        absent = [key for key in ATTRIBUTES if key not in known]
        if absent:
            raise ConfigError(f"ShapeCodeSmoother: no limits for {absent[0]}")
        self.thresholds = np.array([known[key].threshold for key in ATTRIBUTES])
        self.model = load_shape_codes(weights)

    def __call__(
        self,
        labels: FilmLabels,
        values: Mapping[str, int],
        spacing: Spacing | None = None,
        pinned: Sequence[int] = (),
    ) -> Iterator[np.ndarray]:
        """Yield smoothed label maps (H, W).

        Raises:
            ConfigError: Cavity or wall is not among the structures.
        """
        absent = [name for name in STRUCTURES if name not in values]
        if absent:
            raise ConfigError(
                f"ShapeCodeSmoother: no {absent[0]} among {', '.join(values)}; it smooths both"
            )
        frames, *size = labels.shape
        if frames < 3:
            yield from labels[:]
            return
        own = np.array([values[name] for name in STRUCTURES], np.uint8)
        codes = np.concatenate([self._encode(part, own) for part in _parts(labels)])
        bounds = self.model.bounds.double().numpy()
        codes, _ = smooth_shape(codes.astype(float), bounds, self.thresholds)
        for start, part in zip(range(0, frames, _FRAMES), _parts(labels), strict=True):
            shapes = self._decode(codes[start : start + len(part)], size)
            for frame, (shape, before) in enumerate(zip(shapes, part, strict=True), start):
                rest = np.where(np.isin(before, own), 0, before)
                drawn = np.where(shape > 0, np.append(np.uint8(0), own)[shape], rest)
                yield before if frame in pinned else drawn

    @torch.inference_mode()
    def _encode(self, labels: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Codes (n, D) of label maps (n, H, W)."""
        maps = np.zeros(labels.shape, np.uint8)
        for k, value in enumerate(own, start=1):
            maps[labels == value] = k
        square = [_resized(one, (self.model.side,) * 2) for one in maps]
        return self.model.encode_maps(torch.from_numpy(np.stack(square))).numpy()

    @torch.inference_mode()
    def _decode(self, codes: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """Label maps (n, H, W), 1 cavity and 2 wall, of codes (n, D)."""
        logits = self.model.decoder(torch.from_numpy(codes).float())
        maps = logits.argmax(1).to(torch.uint8).numpy()
        return np.stack([_resized(one, size) for one in maps])


def load_shape_codes(path: str | Path) -> ShapeCodes:
    """A `ShapeCodes` with the weights of a file, ready for use.

    Raises:
        CheckpointError: The file cannot be read, or holds something else.
    """
    weights = state_dict_of(load_safely(path), str(path))
    try:
        down = "encoder.input2features.strided_conv_elu_bn_{}.conv.weight"
        widths = [len(weights[down.format(k)]) for k in range(8) if down.format(k) in weights]
        codes, features = weights["encoder.mu_head.weight"].shape
        side = round((features / widths[0]) ** 0.5) << (len(widths) + 1)
        model = ShapeCodes(widths, codes, side)
        model.load_state_dict(weights)
    except (KeyError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not the weights of ShapeCodes; train them: echozoo train"
            " configs/shape_code.py --data-root PATH"
        ) from error
    if not torch.isfinite(model.bounds).all():
        raise CheckpointError(f"{path}: ShapeCodes that was not trained: its codes have no bounds")
    return model.eval()


def _parts(labels: FilmLabels) -> Iterator[np.ndarray]:
    for start in range(0, labels.shape[0], _FRAMES):
        yield labels[start : start + _FRAMES]


def _resized(labels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    return cv2.resize(labels, tuple(size)[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
