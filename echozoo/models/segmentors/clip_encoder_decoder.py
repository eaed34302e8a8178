"""mmseg's encoder-decoders on clips."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from echozoo.errors import DataError
from echozoo.models import contracts
from echozoo.models.backbones.resnet_trunk import TORCHVISION
from echozoo.models.inserts import add_inserts
from echozoo.models.losses.film_losses import FilmLosses
from echozoo.models.prompts import Features
from echozoo.models.segmentors.base import (
    ClipSegmentorMixin,
    frames_of,
    has_labels,
    summed,
)
from echozoo.models.segmentors.predictions import attach_label_map
from echozoo.postprocessing import Postprocessing
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample


@MODELS.register_module()
class ClipEncoderDecoder(ClipSegmentorMixin, EncoderDecoder):
    """Any backbone, neck and head of mmseg, fed with the frames of clips.

    The baselines without prompts (U-Net, CE-Net) are configs of this; so is every other model
    that mmseg can build. Classes are the background and the K structures. Frames without labels
    give their context where the backbone looks at other frames, and count in no loss.

    Args:
        adapters: What goes around layers of the parts (see
            `echozoo.models.passes.adapting.add_adapters`), before any is frozen.
        frozen: Name patterns of parameters that do not train.
        trainable: Exceptions to these.
        pretrained: Weights to start from (see `echozoo.models.checkpoints.initialise`).
        data_preprocessor: Scales the images.
        postprocessing: Steps for the predictions (see `echozoo.postprocessing`); none by default.
        measure_loss: Whether a predicted sample with labels carries the loss of its clip, which
            `LossMetric` averages. It is the decode head's; auxiliary heads do not count.
        film_losses: What clips cost beside the heads' losses, labels or not (see `FilmLosses`).
        view_head: Tells the view from the backbone's maps (see `ViewHead`).
        **kwargs: mmseg's ``EncoderDecoder``: backbone, neck, decode_head, auxiliary_head. The
            backbone's ``inserts`` are temporal modules (see `echozoo.models.inserts`).
    """

    def __init__(
        self,
        adapters: Sequence[dict] = (),
        frozen: Sequence[str] = (),
        trainable: Sequence[str] = (),
        pretrained: str | dict | None = None,
        data_preprocessor: dict | None = None,
        postprocessing: Sequence[dict] = (),
        measure_loss: bool = False,
        view_head: dict | None = None,
        film_losses: Sequence[dict] = (),
        **kwargs,
    ) -> None:
        data_preprocessor = data_preprocessor or {"type": "EchoDataPreprocessor"}
        backbone = dict(kwargs.pop("backbone"))
        inserts = backbone.pop("inserts", ())
        preprocessor = MODELS.build(data_preprocessor)
        super().__init__(backbone, data_preprocessor=preprocessor, **kwargs)
        if not hasattr(self.backbone, "published"):  # mmseg's ResNets have torchvision's names
            self.backbone.published = (TORCHVISION,)
        add_inserts(self.backbone, inserts)
        self.num_frames: int | None = None  # of a clip; None for all images of a call
        self.postprocessing = Postprocessing(postprocessing)
        self.measure_loss = measure_loss
        self.film_losses = FilmLosses(film_losses)
        self.prepare(adapters, frozen, trainable, pretrained, view_head)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[EchoDataSample] | None = None,
        mode: str = "tensor",
    ) -> Tensor | dict[str, Tensor] | list[EchoDataSample]:
        """Run as `PromptableSegmentor` does; logits are (B * T, K + 1, H, W), background first."""
        self.num_frames = inputs.shape[1]
        frames = frames_of(inputs)  # (B * T, C, H, W)
        if mode == "loss":
            return self._losses(frames, data_samples)
        logits = self.encode_decode(frames, [{"img_shape": frames.shape[-2:]}] * len(frames))
        if mode == "tensor":
            return logits
        clips = logits.unflatten(0, inputs.shape[:2])  # (B, T, K + 1, H, W)
        for sample, clip in zip(data_samples, clips, strict=True):
            attach_label_map(sample, clip, self.postprocessing)
            if self.measure_loss and has_labels(sample):
                (logits,), frames = _labelled([clip.float()], _frame_samples([sample]))
                sample.loss = summed(self.decode_head.loss_by_feat(logits, frames))
        return list(data_samples)

    def _losses(self, frames: Tensor, samples: Sequence[EchoDataSample]) -> dict[str, Tensor]:
        features = self.encode(frames, self.num_frames)
        labels = _frame_samples(samples)
        losses = self._decode_head_forward_train(features.maps, labels)
        if self.with_auxiliary_head:
            losses |= self._auxiliary_head_forward_train(features.maps, labels)
        if not self.film_losses:
            return losses
        logits = self.decode_head(features.maps).float()  # of all frames, (N, K + 1, h, w)
        return losses | self.film_losses(logits.softmax(1)[:, 1:], samples, features)

    def encode(self, images: Tensor, num_frames: int = 1) -> Features:
        """Features of images (N, C, H, W), frames of one clip following each other.

        Args:
            images: Scaled as in training.
            num_frames: T, so that N = B * T.
        """
        self.num_frames = num_frames
        return Features(tuple(self.extract_feat(images)), num_frames, images)

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Features of images (N, C, H, W), for mmseg's own methods."""
        num_frames = inputs.shape[0] if self.num_frames is None else self.num_frames
        maps = Features.of(contracts.encode(self.backbone, inputs, num_frames)).maps
        return self.neck(maps) if self.with_neck else maps

    # mmseg's losses know label maps alone: only frames that have one reach the heads in training.

    def _decode_head_forward_train(
        self, inputs: Sequence[Tensor], data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        return super()._decode_head_forward_train(*_labelled(inputs, data_samples))

    def _auxiliary_head_forward_train(
        self, inputs: Sequence[Tensor], data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        return super()._auxiliary_head_forward_train(*_labelled(inputs, data_samples))


def _frame_samples(samples: Sequence[EchoDataSample]) -> list[SegDataSample | None]:
    """Give mmseg's losses one sample a frame, in the order of the folded batch; None: no labels.

    Raises:
        DataError: A frame has labels of some structures alone, of which no label map can be made.
    """
    return [
        SegDataSample(gt_sem_seg=PixelData(data=labels[None].long())) if there else None
        for sample in samples
        for labels, there in zip(sample.gt_labels, _labelled_frames(sample), strict=True)
    ]  # (1, H, W) each


def _labelled_frames(sample: EchoDataSample) -> list[bool]:
    """Which of the T frames have labels."""
    if "labelled" not in sample:
        return [True] * len(sample.gt_labels)
    known = sample.labelled.cpu()  # T, K
    if (known.any(1) != known.all(1)).any():
        raise DataError(
            f"{sample.get('sequence', 'a clip')}: labels of some structures of a frame alone,"
            " wanted all or none of them, as this model gives each pixel one class; choose"
            " structures=... that are all labelled, or a model with a mask for each structure"
        )
    return known.any(1).tolist()


def _labelled(
    maps: Sequence[Tensor], samples: list[SegDataSample | None]
) -> tuple[Sequence[Tensor], list[SegDataSample]]:
    """Maps (N, C, h, w) and samples of the frames with labels."""
    places = [place for place, sample in enumerate(samples) if sample is not None]
    if len(places) == len(samples):
        return maps, samples
    return [one[places] for one in maps], [samples[place] for place in places]
