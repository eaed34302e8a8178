"""MedSAM: SAM's network and file, a box a structure, at its real size."""

from __future__ import annotations

import torch
from related import build
from segment_anything import sam_model_registry

from echozoo.models import load_published
from echozoo.models.prompts import Features, Prompts


@torch.no_grad()
def test_loads_a_file_and_decodes_at_its_real_size():
    """What encodes 1024 pixels is SAM's own, see tests/models/test_golden.py."""
    model, sam = build("medsam"), sam_model_registry["vit_b"]().eval()
    report = load_published(model, sam.state_dict())
    assert not report.left
    boxes = torch.tensor([[200.0, 150, 700, 600], [150, 100, 760, 650], [300, 600, 800, 900]])
    features = Features.of(torch.randn(1, 256, 64, 64))
    logits, quality = model.decode(features, Prompts(boxes=boxes[None]))
    assert logits.shape == (1, 3, 256, 256)
    sparse, dense = sam.prompt_encoder(None, boxes, None)
    wanted, wanted_quality = sam.mask_decoder(
        features.embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, False
    )
    torch.testing.assert_close(logits[0], wanted[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(quality[0], wanted_quality[:, 0], rtol=1e-4, atol=1e-4)
