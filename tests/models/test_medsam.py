"""MedSAM: SAM's network and file, a box a structure, at its real size."""

from __future__ import annotations

import pytest
import torch
from related import build
from segment_anything import sam_model_registry

from echozoo.models import load_published
from echozoo.models.prompts import Prompts


@pytest.mark.slow  # 15 s: an image of 1024 x 1024
@torch.no_grad()
def test_loads_a_file_and_segments_at_its_real_size():
    model, sam = build("medsam"), sam_model_registry["vit_b"]().eval()
    for table in sam.image_encoder.parameters():
        if not table.any():  # positions start at zero, and say nothing
            torch.nn.init.normal_(table, std=0.02)
    report = load_published(model, sam.state_dict())
    assert not report.left
    image = torch.rand(1, 3, 1024, 1024)
    boxes = torch.tensor([[200.0, 150, 700, 600], [150, 100, 760, 650], [300, 600, 800, 900]])
    features = model.encode(image)
    logits, quality = model.decode(features, Prompts(boxes=boxes[None]))
    assert logits.shape == (1, 3, 256, 256)
    sparse, dense = sam.prompt_encoder(None, boxes, None)
    wanted, wanted_quality = sam.mask_decoder(
        features.embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, False
    )
    torch.testing.assert_close(logits[0], wanted[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(quality[0], wanted_quality[:, 0], rtol=1e-4, atol=1e-4)
