"""Several boxes of a structure: their masks are those of each box alone, united."""

from __future__ import annotations

import torch
from related import build

from echozoo.models.prompts import Prompts

SMALL = {
    "backbone.img_size": 64,
    "backbone.embed_dims": 24,
    "backbone.depth": 1,
    "backbone.num_heads": 2,
    "backbone.global_attn_indexes": (),
    "backbone.out_channels": 32,
    "decoder.num_heads": 2,
    "decoder.mlp_dims": 32,
    "decoder.iou_head_hidden": 32,
}


@torch.no_grad()
def test_masks_are_united_and_absent_ones_empty():
    model = build("polyp_sam_pp", **SMALL)
    features = model.encode(torch.rand(2, 3, 64, 64))
    boxes = torch.full((2, 2, 3, 4), torch.nan)
    boxes[0, 0, 0], boxes[0, 0, 1] = torch.tensor([[1.0, 2, 30, 40], [20, 20, 60, 50]])
    boxes[1, 1, 0] = torch.tensor([5.0, 6, 50, 60])
    logits, quality = model.decode(features, Prompts(extra={"detected_boxes": boxes}))
    assert logits.shape == (2, 2, 16, 16)
    for frame, structure in ((0, 0), (1, 1)):
        alone = boxes[frame, structure][boxes[frame, structure].isfinite().all(-1)]
        masks, qualities = model.decode(features[[frame]], Prompts(boxes=alone[None]))
        torch.testing.assert_close(logits[frame, structure], masks[0].amax(0))
        torch.testing.assert_close(quality[frame, structure], qualities[0].max())
    assert (logits[0, 1] == -10).all()
    assert (logits[1, 0] == -10).all()
