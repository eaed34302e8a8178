"""A trained model ready for use: native frames and prompts in, logits and masks out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from echozoo.models.prompts import Features, Prompts
from echozoo.models.segmentors.predictions import chances_of, to_native
from echozoo.structures import EchoDataSample

_MASK_LOGIT = 10.0


@dataclass(frozen=True)
class Embedding:
    """What the image encoder made of n frames, and how they became its input.

    Attributes:
        features: Of the n frames.
        meta: Carries ``input_size``, ``valid_size`` and ``native_size``.
    """

    features: Features
    meta: EchoDataSample

    def __getitem__(self, frames: slice) -> Embedding:
        """The embedding of some of the frames."""
        return Embedding(self.features[frames], self.meta)


@dataclass
class LoadedModel:
    """A model in evaluation mode, with what has to be known to give it films.

    Attributes:
        cfg: Its config.
        model: The segmentor.
        checkpoint: The file of its weights, None where it has none.
        structures: Short names of the K structures it was trained on, in the order of its labels.
        input_size: (H, W) of its input.
        keep_aspect: Whether frames are padded to that size rather than stretched.
        clip_length: Frames of a clip of a model with temporal modules, 1 for all others.
        window: Frames of a clip of the data set that it is tested on, None for whole films: by
            these logits are smoothed over time.
        automatic: Whether it segments a film without prompts; if it understands some, they correct.
        prompts: Kinds of prompts it was trained with, of "points", "boxes", "masks".
        understands: Kinds of prompts it understands: those, and all of SAM's where its weights
            started from SAM's, whose prompt encoder knows them.
        amp: The type of mixed precision, None without.
        precision: "float32", "bf16", "fp16" or "int8".
    """

    cfg: Config
    model: nn.Module
    checkpoint: Path | None
    structures: tuple[str, ...]
    input_size: tuple[int, int]
    keep_aspect: bool
    clip_length: int
    window: int | None
    automatic: bool
    prompts: tuple[str, ...]
    understands: tuple[str, ...]
    amp: torch.dtype | None = None
    precision: str = "float32"
    _transforms: tuple = ()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.data_preprocessor.device

    def prepare(
        self, frames: np.ndarray, spacing: tuple[float, float] | None = None
    ) -> tuple[Tensor, EchoDataSample]:
        """Bring native frames to the network's input, as its test pipeline does.

        Args:
            frames: (n, H0, W0) uint8.
            spacing: (dy, dx) mm; where None pixels are taken for square.

        Returns:
            inputs (1, n, 1, H, W) float32, grey values 0 to 255, not yet scaled; and a sample
            that carries ``input_size``, ``valid_size`` and ``native_size``.
        """
        results = {
            "images": frames,
            "spacing": spacing,
            "native_size": frames.shape[1:],
            "image_size": self.input_size,
            "test_mode": True,
        }
        for transform in self._transforms:
            results = transform(results)
        inputs = torch.from_numpy(results["images"].astype(np.float32))  # (n, H, W)
        meta = EchoDataSample(
            metainfo=dict(
                sequence="a film",
                spacing=spacing,
                native_size=tuple(results["native_size"]),
                input_size=tuple(results["input_size"]),
                valid_size=tuple(results["valid_size"]),
                structures=self.structures,
            )
        )
        return inputs[None, :, None], meta

    @torch.inference_mode()
    def encode(self, frames: np.ndarray, spacing: tuple[float, float] | None = None) -> Embedding:
        """Run the image encoder: the costly half, once a frame whatever is clicked on it.

        Args:
            frames: (n, H0, W0) uint8, the frames of one clip in their order.
            spacing: (dy, dx) mm, as for `prepare`.
        """
        inputs, meta = self.prepare(frames, spacing)
        with self._autocast():
            features = self.model.encode(self._scaled(inputs, meta)[0], num_frames=len(frames))
        return Embedding(features, meta)

    @torch.inference_mode()
    def decode(
        self,
        embedding: Embedding,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        masks: np.ndarray | None = None,
        structures: Sequence[str] | None = None,
    ) -> Tensor:
        """Masks for prompts in NATIVE pixels: the cheap half, once a click.

        Args:
            embedding: Of n frames.
            points: (n, K, P, 2), (x, y).
            labels: (n, K, P): 1 foreground, 0 background, -1 padding.
            boxes: (n, K, 4), (x1, y1, x2, y2).
            masks: (n, K, H0, W0) bool.
            structures: Short names of the K structures; None is all of the model's.

        Returns:
            Low-resolution logits (n, K, 4h, 4w).
        """
        features, meta = embedding.features, embedding.meta
        device, named = features.device, None
        if structures is not None:
            named = tuple(self.structures.index(name) for name in structures)
        prompts = Prompts(
            points=None if points is None else self._to_input(points, meta).to(device),
            labels=None if labels is None else torch.as_tensor(labels).to(device),
            boxes=None if boxes is None else self._box_to_input(boxes, meta).to(device),
            masks=None if masks is None else self._mask_to_input(masks, features, meta),
            structures=named,
        )
        with self._autocast():
            return self.model.decode(features, prompts)[0].float()

    def to_native(self, logits: Tensor, meta: EchoDataSample) -> Tensor:
        """Bring logits (n, K, h, w) back to the grid of the film: (n, K, H0, W0) float32."""
        return to_native(logits, meta)

    @torch.inference_mode()
    def predict(
        self,
        frames: np.ndarray,
        spacing: tuple[float, float] | None = None,
        places: Sequence[int] | None = None,
    ) -> EchoDataSample:
        """Run an automatic model on the frames of one clip.

        Args:
            frames: (n, H0, W0) uint8.
            spacing: (dy, dx) mm, as for `prepare`.
            places: The n places of the frames in the film, for smoothing over time; 0, 1, …
                where None.

        Returns:
            A sample with ``pred_masks`` (n, K, H0, W0) bool and ``pred_labels`` (n, H0, W0)
            uint8, labels counted in the order of `structures`.
        """
        inputs, meta = self.prepare(frames, spacing)
        meta.set_metainfo({"frames": tuple(range(len(frames)) if places is None else places)})
        with self._autocast():
            return self.model(self._scaled(inputs, meta), [meta], mode="predict")[0]

    @torch.inference_mode()
    def chances(self, frames: np.ndarray, spacing: tuple[float, float] | None = None) -> Tensor:
        """How likely each pixel is background and each structure, for a model without prompts.

        Args:
            frames: (n, H0, W0) uint8, the frames of one clip.
            spacing: (dy, dx) mm, as for `prepare`.

        Returns:
            (n, K + 1, H0, W0), background first, sums of 1.
        """
        inputs, meta = self.prepare(frames, spacing)
        with self._autocast():
            logits = self.model(self._scaled(inputs, meta), [meta], mode="tensor")
        return chances_of(logits, meta)

    @torch.inference_mode()
    def see_view(
        self, frames: np.ndarray, spacing: tuple[float, float] | None = None
    ) -> tuple[np.ndarray, float]:
        """Tell the view of frames of one film, each by itself; for a model with a view head.

        Args:
            frames: (n, H0, W0) uint8.
            spacing: (dy, dx) mm, as for `prepare`.

        Returns:
            How likely each view of the head is (V,), by the mean of the frames' logits, as
            neighbouring frames are no independent witnesses; and how strange the middle one of
            the frames is, above 1 like no view (see `ViewHead`).
        """
        inputs, meta = self.prepare(frames, spacing)
        with self._autocast():
            logits, strangeness = self.model.see_view(self._scaled(inputs, meta)[0])
        return logits.mean(0).softmax(0).cpu().numpy(), float(strangeness.median())

    def _scaled(self, inputs: Tensor, meta: EchoDataSample) -> Tensor:
        data = {"inputs": list(inputs), "data_samples": [meta]}
        return self.model.data_preprocessor(data)["inputs"]

    def _autocast(self) -> contextlib.AbstractContextManager:
        if self.amp is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.amp)

    @staticmethod
    def _to_input(points: np.ndarray, meta: EchoDataSample) -> Tensor:
        # Pixel centres are whole numbers: corners scale, centres lie half a pixel inside.
        (height, width), (native_h, native_w) = meta.valid_size, meta.native_size
        scale = torch.tensor([width / native_w, height / native_h])
        return (torch.as_tensor(points, dtype=torch.float32) + 0.5) * scale - 0.5

    def _box_to_input(self, boxes: np.ndarray, meta: EchoDataSample) -> Tensor:
        corners = np.asarray(boxes, np.float32).reshape(*np.shape(boxes)[:-1], 2, 2)
        return self._to_input(corners, meta).flatten(-2)  # (n, K, 2, 2) -> (n, K, 4)

    def _mask_to_input(self, masks: np.ndarray, features: Features, meta: EchoDataSample) -> Tensor:
        size = [4 * side for side in features.size]
        return self.mask_logits(masks, size, meta).to(features.device)

    @staticmethod
    def mask_logits(masks: np.ndarray, size: Sequence[int], meta: EchoDataSample) -> Tensor:
        """Masks of the film as logits on a grid that covers the network's input.

        Args:
            masks: (n, K, H0, W0) bool.
            size: (h, w).
            meta: Of the frames' embedding.

        Returns:
            (n, K, h, w) float32: of a pixel that is half covered 0.
        """
        cover = torch.as_tensor(np.asarray(masks), dtype=torch.float32)
        cover = nn.functional.adaptive_avg_pool2d(cover, meta.valid_size)
        whole = cover.new_zeros(*cover.shape[:2], *meta.input_size)
        whole[..., : meta.valid_size[0], : meta.valid_size[1]] = cover
        return _MASK_LOGIT * (2 * nn.functional.adaptive_avg_pool2d(whole, size) - 1)
