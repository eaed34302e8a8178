"""Int8 linear layers beside exact integer arithmetic, and which layers of a model become such."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from echozoo.engine.config_file import load_config
from echozoo.errors import ConfigError
from echozoo.models.passes.int8 import Int8Linear, quantize_linear
from echozoo.registry import MODELS

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN"
)


def segmentor(config: Path) -> nn.Module:
    init_default_scope("echozoo")
    cfg = load_config(config)
    cfg.model.pretrained = None
    return MODELS.build(cfg.model).eval()


def by_integers(linear: nn.Linear, x: Tensor) -> Tensor:
    """The same with sums of 64-bit integers, which cannot overflow."""
    w_step = linear.weight.detach().abs().amax(1, keepdim=True) / 63
    x_step = x.abs().amax(1, keepdim=True) / 127
    weight = (linear.weight.detach() / w_step).round().long()
    inputs = (x / x_step).round().long()
    out = (inputs @ weight.T).double() * x_step * w_step.T
    return (out + (0 if linear.bias is None else linear.bias.detach())).float()


@pytest.mark.parametrize("bias", [True, False])
def test_sums_are_exact(bias: bool) -> None:
    linear, x = nn.Linear(96, 40, bias=bias), torch.randn(17, 96)
    with torch.inference_mode():
        torch.testing.assert_close(Int8Linear(linear)(x), by_integers(linear, x))


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_the_largest_sums_do_not_overflow(signs: tuple[int, int]) -> None:
    linear = nn.Linear(768, 16, bias=False)
    nn.init.constant_(linear.weight, signs[0] * 0.5)
    out = Int8Linear(linear)(torch.full((3, 768), signs[1] * 2.0))
    torch.testing.assert_close(out, torch.full((3, 16), signs[0] * signs[1] * 768.0))


def test_the_error_is_that_of_rounding() -> None:
    # Rounding errs by step / sqrt(12): of a token by 0.026 / 3.5 of its deviation, as the largest
    # of 768 normal numbers is about 3.3; of uniform weights by 0.027 / 3.5. Together 1.1 %.
    linear, x = nn.Linear(768, 64), torch.randn(100, 768)
    exact = linear(x).detach()
    error = (Int8Linear(linear)(x) - exact).norm() / exact.norm()
    assert 0.005 < error < 0.02


def test_a_token_does_not_depend_on_the_others() -> None:
    layer = Int8Linear(nn.Linear(24, 8))
    x = torch.randn(2, 3, 4, 24) * torch.tensor([1.0, 1e3]).view(2, 1, 1, 1)
    whole = layer(x)
    assert whole.shape == (2, 3, 4, 8)
    torch.testing.assert_close(whole[0], layer(x[0]))
    torch.testing.assert_close(layer(x[:1, 1:2, 2:3]), whole[:1, 1:2, 2:3])


def test_zeros() -> None:
    linear = nn.Linear(24, 8)
    torch.testing.assert_close(Int8Linear(linear)(torch.zeros(1, 24))[0], linear.bias.detach())
    nn.init.zeros_(linear.weight)  # as layers that start by doing nothing
    out = Int8Linear(linear)(torch.randn(5, 24))
    torch.testing.assert_close(out, linear.bias.detach().expand(5, -1))


def test_the_float_layer_stays() -> None:
    linear = nn.Linear(24, 8)
    before = {key: value.clone() for key, value in linear.state_dict().items()}
    layer = Int8Linear(linear)
    torch.testing.assert_close(linear.state_dict(), before)
    assert not layer.state_dict()
    assert not list(layer.parameters())


def test_the_encoder_and_nothing_else(tiny_configs: Path) -> None:
    model = segmentor(tiny_configs / "samus_tra.py")
    kinds = {name: type(module) for name, module in model.named_modules()}
    images = torch.rand(4, 1, 96, 96)
    with torch.inference_mode():
        exact = model.encode(images, num_frames=4).embedding
        assert quantize_linear(model) is model
        out = model.encode(images, num_frames=4).embedding
    for name, module in model.named_modules():
        inside = name.startswith("backbone.") and kinds[name] is nn.Linear
        assert type(module) is (Int8Linear if inside else kinds[name]), name
    quantised = {name for name, module in model.named_modules() if isinstance(module, Int8Linear)}
    for part in ("attn.qkv", "attn.proj", "mlp.lin1", "mlp.lin2", "cross_attn.k"):
        assert f"backbone.blocks.1.{part}" in quantised
    assert "backbone.input_adapter.down" in quantised
    # About 1 % a layer, and a path through the four blocks has a dozen of them.
    error = (out - exact).norm() / exact.norm()
    assert 0 < error < 0.05


def test_refusals(tiny_configs: Path) -> None:
    with pytest.raises(ConfigError, match=r"int8: UNet has no linear layers"):
        quantize_linear(segmentor(tiny_configs / "unet.py"))
    model = segmentor(tiny_configs / "samus_tra.py")
    with pytest.raises(ConfigError, match=r"is in training mode"):
        quantize_linear(model.train())
    with pytest.raises(ConfigError, match=r"is on meta; int8 runs on the CPU"):
        quantize_linear(model.eval().to("meta"))
