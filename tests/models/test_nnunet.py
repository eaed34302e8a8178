"""nnU-Net's network and nnSAM against recordings of their published code."""

from __future__ import annotations

import re

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from related import Recording, build, counts

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models import load_published
from echozoo.registry import MODELS

UNUSED_HEAD = 321_640  # MobileSAM's ImageNet classifier


@pytest.fixture(scope="module")
def nnunet(shared):
    recording, model = Recording(shared, "nnunet_plain_conv_2d"), build("nnunet")
    report = load_published(model, recording.weights)
    assert report.left == ()
    return recording, model


@torch.no_grad()
def test_nnunet_is_the_published_network(nnunet):
    recording, model = nnunet
    images = 2 * recording.wave(2, 1, 256, 256) - 1
    maps = model.extract_feat(images)
    recording.check("bottleneck", maps[-1][:, ::4])
    recording.check("skip3", maps[3][:, ::16, ::3, ::3])
    recording.check("logits", model(images[:, None])[..., ::11, ::11])
    sizes = model.decode_head.logits_of_all_sizes(maps)
    for number, step in enumerate((11, 11, 3, 3, 1), 1):
        recording.check(f"logits_{number}", sizes[number][..., ::step, ::step])


def test_nnunet_counts(nnunet):
    recording, model = nnunet
    assert counts(model) == (recording.arrays["counts"][0],) * 2


@pytest.mark.slow
@torch.no_grad()
def test_nnsam_is_the_published_network(shared):
    recording, model = Recording(shared, "nnsam"), build("nnsam")
    assert load_published(model, recording.weights).left == ()
    images = 2 * recording.wave(1, 1, 256, 256) - 1
    recording.check("sam_embedding", model.backbone.embed(images)[:, ::16, ::3, ::3])
    maps = model.extract_feat(images)
    recording.check("fused_embedding", maps[3][:, 256::16])
    sizes = model.decode_head.logits_of_all_sizes(maps)
    recording.check("logits", sizes[0][..., ::11, ::11])
    recording.check("logits_3", sizes[3])
    recording.check("logits_5", sizes[5])
    total, trained = counts(model)
    assert (total + UNUSED_HEAD, trained) == tuple(recording.arrays["counts"])
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert not any(name.startswith("backbone.sam.") for name in trainable)
    assert len(trainable) == len(recording.arrays["trainable"])


def test_a_checkpoint_of_nnunet_loads(tmp_path):
    model = build("nnunet", "tiny")
    names = (
        (r"backbone\.stages\.(\d)\.(\d)\.", r"encoder.stages.\1.0.convs.\2."),
        (r"decode_head\.stages\.(\d)\.(\d)\.", r"decoder.stages.\1.convs.\2."),
        (r"decode_head\.", "decoder."),
    )
    weights, wanted = {}, {}
    for own, value in model.state_dict().items():
        wanted[own], key = torch.rand_like(value), own
        for ours, theirs in names:
            key = re.sub(ours, theirs, key)
        second = key.replace(".conv.", ".all_modules.0.").replace(".norm.", ".all_modules.1.")
        weights |= {key: wanted[own], second: wanted[own]}
        if key.startswith("encoder."):
            weights |= {f"decoder.{key}": wanted[own], f"decoder.{second}": wanted[own]}
    torch.save({"network_weights": weights, "current_epoch": 3}, tmp_path / "checkpoint_final.pth")
    assert load_published(model, tmp_path / "checkpoint_final.pth").left == ()
    assert all(torch.equal(value, wanted[key]) for key, value in model.state_dict().items())


def mobile_sam(model):
    """A file of MobileSAM: its encoder with the classifier, and its prompt encoder's one key."""
    encoder = model.backbone.sam.state_dict()
    weights = {f"image_encoder.{key}": torch.rand_like(v.float()) for key, v in encoder.items()}
    weights["image_encoder.head.weight"] = torch.rand(1000, 320)
    return weights | {"prompt_encoder.no_mask_embed.weight": torch.rand(1, 256)}


def test_nnsam_starts_from_mobile_sam():
    model = build("nnsam", "tiny")
    weights = mobile_sam(model)
    report = load_published(model, weights, parts=("backbone.sam",))
    assert all(key.startswith("backbone.sam.") for key in report.loaded)
    own = model.state_dict()
    key = "layers.2.blocks.0.attn.qkv.weight"
    assert torch.equal(own[f"backbone.sam.{key}"], weights[f"image_encoder.{key}"])
    del weights[f"image_encoder.{key}"]
    with pytest.raises(CheckpointError, match=f"1 missing .backbone.sam.{key}"):
        load_published(model, weights, parts=("backbone.sam",))


def test_nnsam_with_the_published_slip_keeps_its_own_convolutions():
    model = build("nnsam", "tiny")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    weights = mobile_sam(model)
    slip = ("*.c.weight", "*.neck.0.weight", "*.neck.2.weight")
    load_published(model, weights, ("backbone.sam",), without=slip)
    for key, value in model.backbone.sam.state_dict().items():
        own = before[f"backbone.sam.{key}"]
        wanted = own if value.dim() == 4 else weights[f"image_encoder.{key}"]
        assert torch.equal(value, wanted.to(value)), key
    with pytest.raises(ConfigError, match="without='head.*'"):
        load_published(model, weights, ("backbone.sam",), without=("head.*",))


def test_each_size_is_supervised_but_the_smallest():
    head = MODELS.build(
        dict(
            type="PlainConvHead",
            in_channels=(2, 3, 4, 5),
            num_classes=3,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        )
    )
    maps = [torch.rand(2, c, 16 // 2**i, 16 // 2**i) for i, c in enumerate((2, 3, 4, 5))]
    labels = torch.randint(0, 3, (2, 1, 16, 16))
    samples = [_sample(one) for one in labels]
    found = head.loss(maps, samples, {})["loss_ce"]
    wanted = 0
    for weight, logits in zip((2 / 3, 1 / 3), head.logits_of_all_sizes(maps), strict=False):
        # Of each square of pixels the one that nearest neighbours take.
        step = 16 // logits.shape[-1]
        small = labels[:, 0, step // 2 :: step, step // 2 :: step]
        wanted = wanted + weight * torch.nn.functional.cross_entropy(logits, small)
    torch.testing.assert_close(found, wanted)


def _sample(labels):
    return SegDataSample(gt_sem_seg=PixelData(data=labels))


def test_refuses_what_does_not_fit():
    model = build("nnunet", "tiny")
    with pytest.raises(ConfigError, match="40 x 32 pixels, wants multiples of 16"):
        model(torch.rand(1, 1, 1, 40, 32))
    with pytest.raises(ConfigError, match="1 widths for 3 maps, wants 2"):
        MODELS.build(dict(type="PlainConvHead", in_channels=(2, 3, 4), widths=(2,), num_classes=2))
    with pytest.raises(ConfigError, match="found 4 widths, wants 5 or more"):
        MODELS.build(dict(type="NNSAMEncoder", widths=(2, 2, 2, 2)))
