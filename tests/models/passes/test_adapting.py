"""LoRA and adapters of one's own, put into segmentors by their configs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from echozoo.engine.config_file import load_config
from echozoo.errors import CheckpointError, ConfigError
from echozoo.models.checkpoints import load_published
from echozoo.models.passes import onednn
from echozoo.models.passes.adapting import adapter_keys, add_adapters, merge_adapters
from echozoo.models.passes.fast_cpu import make_fast
from echozoo.models.passes.int8 import Int8Linear, quantize_linear
from echozoo.models.passes.lora import LoRA
from echozoo.registry import ADAPTERS, MODELS

QKV = dict(type="LoRA", rank=2, at="backbone.blocks.*.attn.qkv", of=3, parts=(0, 2))
LIN1 = dict(type="LoRA", rank=2, alpha=4, at=["backbone.blocks.*.mlp.lin1"])


def segmentor(config: Path, *adapters: dict, **settings) -> nn.Module:
    init_default_scope("echozoo")
    cfg = load_config(config)
    cfg.model.pretrained = None
    return MODELS.build({**cfg.model, "adapters": adapters, **settings}).eval()


def stir(model: nn.Module) -> nn.Module:
    """Let adapters do something, as after training."""
    own = adapter_keys(model)
    assert own
    for name, parameter in model.named_parameters():
        if name in own:
            nn.init.normal_(parameter, std=0.3)
    return model


def embed(model: nn.Module) -> Tensor:
    images = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model.backbone(images, num_frames=2)


@pytest.fixture
def samus(tiny_configs: Path) -> Path:
    return tiny_configs / "samus_tra.py"


@pytest.mark.parametrize(("of", "parts"), [(1, None), (3, None), (3, (0, 2))])
def test_lora_by_its_formula(of, parts):
    layer, x = nn.Linear(5, 6), torch.randn(4, 5)
    lora = LoRA(layer, rank=2, alpha=6, of=of, parts=parts)
    torch.testing.assert_close(lora(x), layer(x))  # starts as the layer was
    changed, size = torch.zeros(6, 5), 6 // of
    for number, (part, up) in enumerate(zip(lora.parts, lora.lora_b, strict=True)):
        nn.init.normal_(up.weight)
        down = lora.lora_a.weight[2 * number : 2 * number + 2]
        changed[part * size : (part + 1) * size] = 3 * up.weight @ down
    torch.testing.assert_close(lora(x), layer(x) + x @ changed.T)
    merged = lora.merge()
    assert type(merged) is nn.Linear
    torch.testing.assert_close(merged(x), lora(x))
    lora(x).sum().backward()
    assert all(parameter.grad is not None for parameter in lora.parameters())


def test_lora_starts_as_the_model_was_and_keeps_its_file(samus):
    plain, model = segmentor(samus), segmentor(samus, QKV, LIN1)
    report = load_published(model, plain.state_dict())
    assert set(report.left) == set(adapter_keys(model))
    torch.testing.assert_close(embed(model), embed(plain))
    again = segmentor(samus, QKV, LIN1)
    assert not load_published(again, stir(model).state_dict()).left
    torch.testing.assert_close(embed(again), embed(model))
    some = dict(list(model.state_dict().items()))
    some.pop(min(adapter_keys(model)))
    with pytest.raises(CheckpointError, match="1 missing"):
        load_published(again, some)
    with pytest.raises(CheckpointError, match="unexpected"):
        load_published(plain, model.state_dict())


def test_adapters_come_before_freezing(samus):
    model = segmentor(samus, QKV, frozen=["*"], trainable=["*.lora_*"])
    trains = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trains == set(adapter_keys(model))


@pytest.mark.parametrize("adapter", [QKV, LIN1])
def test_fast_cpu_does_not_skip_lora(samus, adapter, monkeypatch):
    monkeypatch.setattr(onednn, "multiplies_quicker", lambda: True)
    model = stir(segmentor(samus, adapter))
    wanted = embed(model)
    make_fast(model)
    torch.testing.assert_close(embed(model), wanted, atol=1e-4, rtol=1e-4)
    by_training = model.backbone(torch.zeros(2, 1, 96, 96), num_frames=2)
    with torch.no_grad():
        found = model.backbone(torch.zeros(2, 1, 96, 96), num_frames=2)
    torch.testing.assert_close(found, by_training.detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prepare", [lambda model: model, make_fast])
def test_int8_takes_lora_along(samus, prepare):
    model = stir(segmentor(samus, QKV, LIN1))
    exact = embed(model)
    quantize_linear(prepare(model))
    assert not any(isinstance(module, nn.Linear) for module in model.backbone.modules())
    assert isinstance(model.backbone.blocks[0].mlp.lin1, Int8Linear)
    out = embed(model)
    assert 0 < (out - exact).norm() / exact.norm() < 0.05


def test_merged_models_are_as_without_adapters(samus):
    model = stir(segmentor(samus, QKV, LIN1))
    wanted, plain = embed(model), segmentor(samus)
    merge_adapters(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(embed(model), wanted, atol=1e-5, rtol=1e-4)


def test_an_adapter_of_ones_own_is_a_class_and_a_config(samus):
    @ADAPTERS.register_module()
    class ScaledConv(nn.Module):
        replaces = nn.Conv2d

        def __init__(self, layer: nn.Conv2d, start: float = 1.0) -> None:
            super().__init__()
            self.weight, self.bias, self.layer = layer.weight, layer.bias, [layer]
            self.gain = nn.Linear(1, 1, bias=False)
            nn.init.constant_(self.gain.weight, start)

        def adapter_names(self) -> tuple[str, ...]:
            return ("gain",)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer[0](x) * self.gain.weight.item()

    cfg = dict(type="ScaledConv", at="backbone.patch_embed.proj")
    model, plain = segmentor(samus, cfg), segmentor(samus)
    ADAPTERS.module_dict.pop("ScaledConv")
    assert set(adapter_keys(model)) == {"backbone.patch_embed.proj.gain.weight"}
    load_published(model, plain.state_dict())
    torch.testing.assert_close(embed(model), embed(plain))


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (dict(type="LoRA", at="backbone.block.*"), "matches no module of PromptableSegmentor"),
        (dict(type="LoRA", at="backbone.blocks.0.attn"), r"found backbone.blocks.0.attn, a Grid"),
        (dict(type="LoRA"), "has no at="),
        (dict(type="LoRE", at="*"), "wants one of .*LoRA"),
        (QKV | dict(of=5), "wants a rank above 0, a divisor of the layer's"),
        (QKV | dict(parts=(3,)), "some of its parts"),
        (QKV | dict(rank=0), "found rank=0"),
    ],
)
def test_refusals_are_one_line(samus, cfg, message):
    with pytest.raises(ConfigError, match=message) as error:
        segmentor(samus, cfg)
    assert "\n" not in str(error.value)


def test_no_adapter_around_an_adapter(samus):
    model = segmentor(samus, LIN1)
    with pytest.raises(ConfigError, match="mlp.lin1, a LoRA"):
        add_adapters(model, [LIN1])


def test_a_layer_that_is_read_inside_is_refused():
    model = nn.TransformerEncoderLayer(8, 2)
    with pytest.raises(ConfigError, match="a NonDynamicallyQuantizableLinear"):
        add_adapters(model, [dict(type="LoRA", at="self_attn.out_proj")])
