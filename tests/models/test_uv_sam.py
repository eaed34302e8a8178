"""UV-SAM's prompts against a recording of its published code, its boxes in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from related import Recording, build, counts

from echozoo.models import load_published
from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.prompt_heads.uv_sam import contour_boxes
from echozoo.models.prompts import Features, Prompts

ONE = {
    "backbone.depth": 1,  # SAM's encoder is not recorded
    "backbone.global_attn_indexes": (),
    "prompt_head.num_structures": 1,
    "prompt_head.coarse.decode_head.num_classes": 1,
    "prompt_head.tests_corners": True,
}


def coarse_logits() -> np.ndarray:
    """Seven contours: of discs, a ring, a flat bar, and a tall one at the left edge."""
    y, x = np.mgrid[:1024, :1024].astype(np.float64)

    def far(x0, y0):
        return np.hypot(x - x0, y - y0)

    parts = (
        np.minimum(170 - far(300, 280), far(330, 300) - 40),
        120 - far(760, 650),
        70 - far(120, 800),
        30 - far(900, 130),
        np.minimum.reduce([x - 560, 900 - x, y - 250, 330 - y]),
        np.minimum.reduce([x - 5, 95 - x, y - 450, 680 - y]),
    )
    return (np.maximum.reduce(parts) / 20).astype(np.float32)


def test_contours(shared):
    arrays = Recording(shared, "uvsam_prompts").arrays
    boxes, areas = contour_boxes((coarse_logits() > 0).astype(np.uint8))
    np.testing.assert_array_equal(boxes, arrays["boxes"])
    np.testing.assert_array_equal(areas, arrays["contour_areas"])


@pytest.mark.slow
@torch.no_grad()
def test_prompts_and_masks(shared):
    recording, model = Recording(shared, "uvsam_prompts"), build("uv_sam", **ONE)
    report = load_published(model, recording.weights)
    assert {key.split(".")[0] for key in report.left} == {"backbone", "prompt_head"}
    assert all(key.startswith(("backbone.", "prompt_head.coarse.")) for key in report.left)
    head = model.prompt_head
    embedding = 0.5 * recording.noise("uvsam.sam", 1, 256, 64, 64)
    features = Features((embedding + recording.noise("uvsam.sam.mean", 1, 256, 1, 1),))
    fused = 0.5 * recording.noise("uvsam.fusion", 1, 256, 256, 256)
    fused += recording.noise("uvsam.fusion.mean", 1, 256, 1, 1)
    recording.check("semantic_embedding", head.meaning(features, fused))
    logits = torch.from_numpy(coarse_logits())[None, None]
    sparse, dense, features = head.embed_coarse(features, logits, logits > 0, fused)
    recording.check("sparse", sparse[0])
    recording.check("dense", dense[0, :, ::16, ::5, ::5])
    positions = head.dense_pe(features.size)
    alone = replace(features, extra={})
    masks, quality = SAMMaskDecoder.forward(model.decoder, alone, positions, sparse, dense)
    recording.check("low_res_logits", masks[0][..., ::11, ::11])
    recording.check("iou", quality[0])
    united, _ = model.decoder(features, positions, sparse, dense)
    assert torch.equal(united[0, 0] > 0, (masks[0] > 0).any(0))
    recorded = recording.arrays["counts"]
    trained = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    published = {n: s for n, s in trained.items() if not n.startswith("prompt_head.coarse.")}
    assert sum(published.values()) == recorded[1]


def test_counts():
    total, trained = counts(build("uv_sam"))
    segformer, projection = 3_715_939, 524_288
    assert (total, trained) == (93_735_472 + segformer + projection, segformer + projection)


def test_limits_follow_the_size_of_the_input():
    masks = torch.zeros(1, 1, 256, 256, dtype=torch.bool)
    masks[..., 100:140, 10:30] = True  # 20 pixels wide, 40 high
    masks[..., 60:90, 200:230] = True
    head = build("uv_sam", "tiny", **{"prompt_head.min_side": 25 / 256}).prompt_head
    boxes, there = head.boxes(masks)
    assert boxes[there].tolist() == [[200, 60, 230, 90]]
    head.tests_corners, head.min_side = True, 20 / 256  # the right edge of the first is at 30
    assert head.boxes(masks)[1].sum() == 2


@torch.no_grad()
def test_a_structure_without_a_box_has_an_empty_mask():
    model = build("uv_sam", "tiny", **{"prompt_head.min_side": 2.0})
    logits, quality = model.decode(model.encode(torch.rand(2, 3, 96, 96)), Prompts())
    assert (logits == -10).all()
    assert (quality == 0).all()
