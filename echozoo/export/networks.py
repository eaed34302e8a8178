"""Models cut into the networks that an ONNX file holds: grey frames in, masks out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models import contracts
from echozoo.models.data_preprocessor import EchoDataPreprocessor
from echozoo.models.prompt_heads.manual import ManualPromptHead
from echozoo.models.prompts import Features
from echozoo.models.segmentors.clip_encoder_decoder import ClipEncoderDecoder
from echozoo.models.segmentors.promptable import PromptableSegmentor


def takes_prompts(model: BaseModel) -> bool:
    """Whether a model is of the SAM family with a head that wants points."""
    return isinstance(model, PromptableSegmentor) and isinstance(
        model.prompt_head, ManualPromptHead
    )


class Scaling(nn.Module):
    """The scaling of an `EchoDataPreprocessor`, written so that it can be traced.

    Raises:
        ConfigError: The model scales its images in some other way.
    """

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        preprocessor = model.data_preprocessor
        if type(preprocessor) is not EchoDataPreprocessor:
            raise ConfigError(
                f"found the data preprocessor {type(preprocessor).__name__}, wanted "
                "EchoDataPreprocessor: the scaling of another one is not known to the export"
            )
        self.minmax = preprocessor.minmax
        self.register_buffer("mean", preprocessor.mean)
        self.register_buffer("std", preprocessor.std)

    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> Tensor:
        """Scale images.

        Args:
            images: (N, 1, H, W), grey values in [0, 255].
            valid_size: (2,), the part (h, w) that holds image, the rest being padding. Needed
                where each frame is stretched to its own darkest and brightest pixel.

        Returns:
            (N, C, H, W).
        """
        if self.minmax:
            rows, columns = (torch.arange(side) for side in images.shape[-2:])
            inside = (rows[:, None] < valid_size[0]) & (columns < valid_size[1])  # H, W
            low = torch.where(inside, images, 255.0).amin((-1, -2), keepdim=True)
            high = torch.where(inside, images, 0.0).amax((-1, -2), keepdim=True)
            images = ((images - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) * 255
        return (images - self.mean) / self.std


class Encoder(nn.Module):
    """The costly half of a promptable model: grey frames to an embedding.

    Args:
        model: A `PromptableSegmentor`.
    """

    def __init__(self, model: PromptableSegmentor) -> None:
        super().__init__()
        self.scaling = Scaling(model)
        self.backbone = model.backbone
        self.neck = model.neck or nn.Identity()

    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> Tensor:
        """Embed the N frames of one clip; frames on their own where the model is not temporal.

        Args:
            images: (N, 1, H, W), grey values in [0, 255].
            valid_size: See `Scaling`.

        Returns:
            Embedding (N, E, h, w).
        """
        scaled = self.scaling(images, valid_size)
        maps = Features.of(contracts.encode(self.backbone, scaled, images.shape[0]))
        return self.neck(maps.embedding)


class PointEmbedding(nn.Module):
    """SAM's embedding of points, and of boxes as two points, without assignments by mask.

    segment_anything writes into the places where a label has some value, which traces badly, and
    takes boxes apart from points. Here every kind of label is a choice between two tensors. The
    numbers are those of `ManualPromptHead`.

    Args:
        encoder: segment_anything's prompt encoder.
        input_size: (H, W) that the points lie in.
    """

    def __init__(self, encoder: nn.Module, input_size: Sequence[int]) -> None:
        super().__init__()
        self.pe_layer = encoder.pe_layer
        # Of the labels -1 (no point), 0 and 1 (background, foreground), 2 and 3 (a box's corners).
        kinds = [encoder.not_a_point_embed, *encoder.point_embeddings]
        self.kinds = nn.Parameter(torch.cat([kind.weight.detach() for kind in kinds]))
        height, width = input_size
        self.register_buffer("size", torch.tensor([float(width), float(height)]))

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """Embed points.

        Args:
            points: (N, K, P, 2), (x, y) in pixels of the network's input.
            labels: (N, K, P), 1 foreground, 0 background, -1 padding, 2 and 3 the upper left and
                the lower right corner of a box.

        Returns:
            Sparse prompts (N, K, n, C). n is P where there is a box, and P + 1 where there is
            none: SAM then wants one point of padding, and gets it here.
        """
        points = torch.cat([points + 0.5, torch.zeros_like(points[:, :, :1])], 2)
        labels = torch.cat([labels, torch.full_like(labels[:, :, :1], -1)], 2)
        boxes = (labels > 1).any().to(torch.int64).item()
        kept = labels.shape[2] - boxes
        torch._check(kept >= 1)
        torch._check(kept <= labels.shape[2])
        points, labels = points[:, :, :kept], labels[:, :, :kept].unsqueeze(-1)
        positions = self.pe_layer._pe_encoding(points / self.size)  # N, K, n, C
        tokens = torch.where(labels == -1, 0.0, positions)
        for label, kind in enumerate(self.kinds, start=-1):
            tokens = tokens + torch.where(labels == label, kind, 0.0)
        return tokens


class Decoder(nn.Module):
    """The cheap half of a promptable model: an embedding and points to masks.

    Args:
        model: A `PromptableSegmentor` for which `takes_prompts` holds.
        input_size: (H, W) of the network's input.
        grid_size: (h, w) of its embedding.
    """

    def __init__(
        self, model: PromptableSegmentor, input_size: Sequence[int], grid_size: Sequence[int]
    ) -> None:
        super().__init__()
        encoder, names = model.prompt_head.encoder, model.prompt_head.names
        self.points = PointEmbedding(encoder, input_size)
        self.names = None if names is None else nn.Parameter(names.weight.detach())
        self.no_mask = nn.Parameter(encoder.no_mask_embed.weight.detach().view(1, 1, -1, 1, 1))
        # Positions depend on sizes alone: they need not be computed at every click.
        self.register_buffer("dense_pe", model.prompt_head.dense_pe(grid_size).detach())
        self.decoder = model.decoder
        self.input_size = tuple(input_size)

    def forward(
        self,
        embedding: Tensor,
        points: Tensor,
        labels: Tensor,
        structures: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Masks for points.

        Args:
            embedding: (N, E, h, w).
            points: See `PointEmbedding`.
            labels: See `PointEmbedding`.
            structures: (K,), which structures the prompts are for, from 0. Needed where the
                model's prompts name their structure.

        Returns:
            Logits (N, K, 4h, 4w), and masks (N, K, H, W) bool on the grid of the input.
        """
        sparse = self.points(points, labels)  # N, K, n, C
        if self.names is not None:
            names = self.names[structures][None, :, None]  # 1, K, 1, C
            sparse = torch.cat([sparse, names.expand(labels.shape[0], -1, -1, -1)], 2)
        dense = self.no_mask.expand(*labels.shape[:2], -1, *embedding.shape[-2:])
        logits, _ = self.decoder(Features.of(embedding), self.dense_pe, sparse, dense)
        logits = logits[:, :, 0]  # (N, K, 1, 4h, 4w) -> (N, K, 4h, 4w)
        return logits, enlarge(logits, self.input_size) > 0


class WholeModel(nn.Module):
    """A model without prompts: grey frames to masks.

    Args:
        model: Gives logits without samples, of K structures or of the background and K structures.
        input_size: (H, W) of the network's input.
    """

    def __init__(self, model: BaseModel, input_size: Sequence[int]) -> None:
        super().__init__()
        self.scaling = Scaling(model)
        self.model = model
        self.input_size = tuple(input_size)

    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Segment the N frames of one clip.

        Args:
            images: (N, 1, H, W), grey values in [0, 255].
            valid_size: See `Scaling`.

        Returns:
            Logits as the model gives them, and masks (N, K, H, W) bool.
        """
        scaled = self.scaling(images, valid_size)
        if not isinstance(self.model, ClipEncoderDecoder):
            logits = self.model(scaled.unsqueeze(0), None, mode="tensor")
            return logits, enlarge(logits, self.input_size) > 0
        # Not through `forward`, which counts the frames: the number would be fixed in the file.
        self.model.num_frames = None
        logits = self.model.encode_decode(scaled, [{"img_shape": self.input_size}])
        structures = torch.arange(1, logits.shape[1], device=logits.device)
        return logits, logits.argmax(1, keepdim=True) == structures.view(1, -1, 1, 1)


def enlarge(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Resize logits (N, K, h, w) bilinearly to (N, K, H, W)."""
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)
