"""The published CLAS, from weights that their key names alone determine."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from related_video import recorded

from echozoo.errors import DataError
from echozoo.models import load_published
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

TOLERANCE = 1e-3  # of the largest difference, over the reference's standard deviation


@pytest.fixture(scope="module")
def published(shared):
    init_default_scope("echozoo")
    cfg = Config.fromfile("configs/clas.py").model
    cfg.decode_head.loss_decode.of_probabilities = True
    cfg.film_losses[0].start_epoch = 0
    model = MODELS.build(cfg).eval()
    weights, arrays = recorded(shared, "clas")
    load_published(model, weights)
    clips = model.data_preprocessor.scale(arrays["frames"].float()[:, None])[None]
    return model, clips, arrays


def close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return (found - wanted).abs().max() / wanted.std() < TOLERANCE


def test_logits_and_motion_are_the_published_ones(published):
    model, clips, arrays = published
    with torch.no_grad():
        logits = model(clips)  # T, K + 1, H, W
        features = model.encode(clips[0], num_frames=5)
        forward, backward = model.film_losses[0].flow(features.maps[-1][None], (64, 64))
    assert close(logits[..., ::2, ::2], arrays["logits"].transpose(0, 1))
    assert close(logits[-1].softmax(0), arrays["probability"])
    assert close(forward[0, :, ::2, ::2], arrays["flow_forward"])
    assert close(backward[0, :, ::2, ::2], arrays["flow_backward"])


def test_losses_and_their_gradients_are_the_published_ones(published):
    model, clips, arrays = published
    sample = EchoDataSample(gt_labels=arrays["labels"])
    sample.labelled = torch.tensor([[True] * 3, *[[False] * 3] * 3, [True] * 3])
    found = model(clips, [sample], mode="loss")
    names = ("decode.loss_sga", "loss_ota", "loss_sgs", "loss_ots")
    wanted = arrays["losses"] * torch.tensor([1, 1, 0.2, 0.4])
    torch.testing.assert_close(
        torch.stack([found[name] for name in names]).double(), wanted, rtol=1e-5, atol=1e-5
    )
    model.zero_grad()
    sum(found[name] for name in names).backward()
    flow = model.film_losses[0].flow.conv
    learnt = (model.backbone.down0[0].weight, model.decode_head.conv_seg.weight, flow.weight)
    norms = torch.stack([weight.grad.norm() for weight in learnt]).double()
    torch.testing.assert_close(norms, arrays["grad_norms"], rtol=1e-3, atol=0)


def test_images_of_other_sizes_are_refused():
    encoder = MODELS.build(dict(type="UNet3D", widths=(2, 2, 2), up_widths=(2, 2)))
    assert encoder(torch.rand(3, 1, 8, 12), num_frames=3)[0].shape == (3, 2, 8, 12)
    with pytest.raises(DataError, match="wants multiples of 4"):
        encoder(torch.rand(3, 1, 8, 10), num_frames=3)


def test_motion_is_learnt_beside_any_encoder(tiny_configs):
    cfg = Config.fromfile(tiny_configs / "samus_tra.py").model
    wide = cfg.backbone.out_channels
    cfg.film_losses = [dict(type="WarpConsistency", in_channels=wide, start_epoch=0)]
    model = MODELS.build(cfg)
    sample = EchoDataSample(
        gt_labels=torch.randint(0, 4, (3, 96, 96), dtype=torch.uint8),
        points=torch.full((3, 3, 1, 2), 40.0),
        point_labels=torch.ones(3, 3, 1),
    )
    losses = model(torch.rand(1, 3, 1, 96, 96), [sample], mode="loss")
    assert losses["loss_ots"] > 0
    losses["loss_ota"].backward()
    assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())
