"""Cross entropy of the hardest pixels, as memory networks train with it."""

from __future__ import annotations

from mmengine.logging import MessageHub
from torch import Tensor

from echozoo.errors import ConfigError
from echozoo.models.losses.dice_ce import DiceCELoss
from echozoo.registry import MODELS


@MODELS.register_module()
class BootstrappedCE(DiceCELoss):
    """`DiceCELoss` whose cross entropy is, late in training, that of the hardest pixels of a mask.

    All pixels count until iteration ``start``; then the share of the hardest ones falls linearly to
    ``share`` at ``end`` (H. K. Cheng, Y.-W. Tai, C.-K. Tang, NeurIPS 2021, after STCN's training).
    Of another process than a training's, the iteration is 0.

    Args:
        share: What counts in the end, of a mask's pixels.
        start, end: Iterations, counted from 0 by the Runner.
        **others: Of `DiceCELoss`; without more said, cross entropy alone.

    Raises:
        ConfigError: The share is not in (0, 1], or ``end`` lies before ``start``.
    """

    def __init__(
        self,
        share: float = 0.15,
        start: int = 20_000,
        end: int = 70_000,
        dice_weight: float = 0.0,
        ce_weight: float = 1.0,
        **others,
    ) -> None:
        super().__init__(dice_weight=dice_weight, ce_weight=ce_weight, **others)
        if not 0 < share <= 1 or end < start:
            raise ConfigError(
                f"BootstrappedCE: share={share}, start={start}, end={end}; wanted a share in (0, 1]"
                " and start <= end"
            )
        self.share, self.start, self.end = share, start, end

    def share_now(self) -> float:
        """The share of pixels that counts at this iteration."""
        past = MessageHub.get_current_instance().get_info("iter", 0) - self.start
        if past <= 0:
            return 1.0
        return 1 - (1 - self.share) * min(past / max(self.end - self.start, 1), 1)

    def of_masks(self, pixels: Tensor) -> Tensor:
        """Mean loss (N, K) of the hardest of the pixels (N, K, h, w)."""
        flat = pixels.flatten(-2)  # (N, K, h * w)
        count = max(round(self.share_now() * flat.shape[-1]), 1)
        return flat.topk(count).values.mean(-1)
