"""mmseg's encoder-decoders on clips: every frame on its own."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from echozoo.models.segmentors.base import ClipSegmentorMixin, frames_of, summed
from echozoo.models.segmentors.predictions import attach_label_map
from echozoo.postprocessing import Postprocessing
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample


@MODELS.register_module()
class ClipEncoderDecoder(ClipSegmentorMixin, EncoderDecoder):
    """Any backbone, neck and head of mmseg, fed with the frames of clips.

    The baselines without prompts (U-Net, CE-Net) are configs of this; so is every other model
    that mmseg can build. Classes are the background and the K structures.

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
        **kwargs: mmseg's ``EncoderDecoder``: backbone, neck, decode_head, auxiliary_head.
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
        **kwargs,
    ) -> None:
        data_preprocessor = data_preprocessor or {"type": "EchoDataPreprocessor"}
        super().__init__(data_preprocessor=MODELS.build(data_preprocessor), **kwargs)
        self.postprocessing = Postprocessing(postprocessing)
        self.measure_loss = measure_loss
        self.prepare(adapters, frozen, trainable, pretrained)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[EchoDataSample] | None = None,
        mode: str = "tensor",
    ) -> Tensor | dict[str, Tensor] | list[EchoDataSample]:
        """Run the network on every frame.

        Args:
            inputs: Scaled clips (B, T, C, H, W).
            data_samples: B samples.
            mode: ``"tensor"`` for logits (B * T, K + 1, H, W), ``"loss"`` for a dict of losses,
                ``"predict"`` for the samples with ``pred_masks`` and ``pred_labels``.

        Returns:
            What ``mode`` says.
        """
        frames = frames_of(inputs)  # (B * T, C, H, W)
        if mode == "loss":
            return self.loss(frames, _frame_samples(data_samples))
        logits = self.encode_decode(frames, [{"img_shape": frames.shape[-2:]}] * len(frames))
        if mode == "tensor":
            return logits
        clips = logits.unflatten(0, inputs.shape[:2])  # (B, T, K + 1, H, W)
        for sample, clip in zip(data_samples, clips, strict=True):
            attach_label_map(sample, clip, self.postprocessing)
            if self.measure_loss and "gt_labels" in sample:
                losses = self.decode_head.loss_by_feat(clip.float(), _frame_samples([sample]))
                sample.loss = summed(losses)
        return list(data_samples)


def _frame_samples(samples: Sequence[EchoDataSample]) -> list[SegDataSample]:
    """Give mmseg's losses one sample a frame, in the order of the folded batch."""
    return [
        SegDataSample(gt_sem_seg=PixelData(data=labels[None].long()))  # (1, H, W)
        for sample in samples
        for labels in sample.gt_labels
    ]
