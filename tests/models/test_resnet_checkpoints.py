"""ImageNet weights of torchvision's ResNets as the backbone of CE-Net."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import init_default_scope
from published_models import randomise, segmentor, snapshot
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from echozoo.errors import CheckpointError
from echozoo.models import load_published
from echozoo.models.checkpoints import initialise
from echozoo.registry import MODELS


class Ends(nn.Module):
    """A neck, so that a model has one."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(8, 8, 1)


def ce_net(layers=(1, 1, 1, 1)):
    model = nn.Module()
    model.backbone = MODELS.build(dict(type="CENetEncoder", layers=layers))
    model.neck, model.decode_head = Ends(), Ends()
    return model


def resnet(layers=(1, 1, 1, 1), block=BasicBlock):
    return dict(randomise(ResNet(block, layers), 5).state_dict())


class TestResNet:
    @pytest.mark.parametrize("counters", [True, False])
    def test_starts_the_backbone(self, tmp_path, counters):
        weights = {k: v for k, v in resnet().items() if counters or "num_batches" not in k}
        torch.save(weights, tmp_path / "resnet.pth")
        model = ce_net()
        before = snapshot(model)
        report = initialise(model, str(tmp_path / "resnet.pth"))
        assert str(report).endswith("left as initialised: neck (2), decode_head (2)")
        after = model.state_dict()
        assert all(torch.equal(after[key], before[key]) for key in report.left)
        for key, value in weights.items():
            if not key.startswith("fc."):
                assert torch.equal(after[f"backbone.{key}"], value), key
        assert len([k for k in report.loaded if k.startswith("backbone.")]) == len(report.loaded)

    def test_must_be_complete(self):
        weights = {k: v for k, v in resnet().items() if not k.startswith("layer4")}
        with pytest.raises(CheckpointError, match=r"18 missing \(backbone.layer4.0.conv1.weight"):
            load_published(ce_net(), weights)
        del (weights := resnet())["bn1.bias"]
        with pytest.raises(CheckpointError, match=r"1 missing \(backbone.bn1.bias\)"):
            load_published(ce_net(), weights, parts=("backbone",))

    def test_of_other_sizes(self):
        with pytest.raises(CheckpointError, match=r"12 missing \(backbone.layer1.1.conv1.weight"):
            load_published(ce_net((2, 1, 1, 1)), resnet())
        with pytest.raises(CheckpointError, match=r"unexpected \(layer1.1.conv1.weight, "):
            load_published(ce_net(), resnet((2, 1, 1, 1)))
        with pytest.raises(CheckpointError, match=r"unexpected \(layer1.0.conv3.weight.*misshapen"):
            load_published(ce_net(), resnet(block=Bottleneck))

    def test_into_another_model_is_an_error(self):
        with pytest.raises(CheckpointError, match=r"unexpected \(conv1.weight, bn1.weight"):
            load_published(segmentor(), resnet())

    def test_starts_backbones_of_mmseg_and_of_memories(self):
        init_default_scope("echozoo")
        model = MODELS.build(
            dict(
                type="ClipEncoderDecoder",
                backbone=dict(type="mmseg.ResNet", depth=18),
                decode_head=dict(
                    type="UNetHead",
                    in_channels=(64, 128, 256, 512),
                    widths=(8, 8, 8),
                    num_classes=2,
                ),
            )
        )
        weights = resnet((2, 2, 2, 2))
        assert {key.split(".")[0] for key in load_published(model, weights).left} == {"decode_head"}
        assert torch.equal(model.backbone.layer4[1].conv2.weight, weights["layer4.1.conv2.weight"])
        model = nn.Module()
        model.backbone = MODELS.build(dict(type="ResNetTrunk", depth=18))
        assert load_published(model, weights).left == ()
        assert torch.equal(model.backbone.layer3[1].conv2.weight, weights["layer3.1.conv2.weight"])

    def test_published_file_is_named(self):
        with pytest.raises(CheckpointError, match=r"echozoo download resnet34 -o absent"):
            initialise(ce_net(), "absent/resnet34-b627a593.pth")

    def test_parts_of_a_model_without_prompts_must_be_complete(self):
        model = ce_net()
        weights = {k: v for k, v in snapshot(model).items() if "layer4" not in k}
        assert load_published(model, weights, ("neck",)).loaded == (
            "neck.mix.weight",
            "neck.mix.bias",
        )
        with pytest.raises(CheckpointError, match=r"18 missing \(backbone.layer4"):
            load_published(model, weights, ("backbone",))
