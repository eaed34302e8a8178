"""A model in the CPU's own way gives what it gives as written, and can be taken back."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.backbones.tiny_vit import ConvNorm, TinyViT
from echozoo.models.layers.mlp import MLP
from echozoo.models.passes import onednn
from echozoo.models.passes.fast_cpu import (
    FastConv2d,
    FastLinear,
    FastSequential,
    make_fast,
    make_plain,
    use_fast_cpu,
)


@pytest.fixture(autouse=True)
def quicker(monkeypatch) -> None:
    """As with AVX-512, whatever CPU this is."""
    monkeypatch.setattr(onednn, "multiplies_quicker", lambda: True)


@pytest.fixture
def kernels(monkeypatch) -> list[str]:
    """Which of oneDNN's kernels ran without gradients, and with what after them."""
    seen = []

    def spied(name: str, kernel: Callable) -> Callable:
        def spy(*args):
            seen.append(name + (" gelu" if args[-1] is True else ""))
            return kernel(*args)

        return spy

    for name in ("linear", "convolve"):
        kernel = f"{name}_without_gradient"
        monkeypatch.setattr(onednn, kernel, spied(name, getattr(onednn, kernel)))
    return seen


class Shifted(nn.Linear):
    """A linear layer of one's own, which adds something."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 3


class Doubling(nn.Linear):
    """A linear layer of one's own, which does not ask torch's."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, 2 * self.weight, self.bias)


def tiny_vit() -> TinyViT:
    model = TinyViT((4, 8, 8, 16), (1, 1, 1, 1), (1, 2, 2, 4), out_channels=128)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 2)
    return model.eval()


def test_an_encoder_is_the_same_in_evaluation_and_in_training():
    model, x = tiny_vit(), torch.rand(2, 3, 32, 32)
    fast = make_fast(copy.deepcopy(model))
    assert list(fast.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x), atol=1e-5, rtol=1e-4)
    fast.train(), model.train()
    found, wanted = fast(x), model(x)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    change = torch.randn_like(wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found, list(fast.parameters()), change),
        torch.autograd.grad(wanted, list(model.parameters()), change),
        atol=1e-3,
        rtol=1e-3,
    )


def test_it_can_be_taken_back():
    model = tiny_vit()
    kinds = [type(module) for module in model.modules()]
    make_fast(make_fast(model))
    assert isinstance(model.patch_embed.seq[0], ConvNorm)
    assert type(model.neck[0]) is FastConv2d
    copy.deepcopy(model)
    assert [type(module) for module in make_plain(model).modules()] == kinds


@torch.no_grad()
def test_an_mlp_is_two_kernels(kernels):
    mlp, x = make_fast(MLP(4, 6)), torch.randn(2, 3, 4)
    wanted = mlp.lin2(F.gelu(mlp.lin1(x)))
    kernels.clear()
    torch.testing.assert_close(mlp(x), wanted)
    assert kernels == ["linear gelu", "linear"]
    assert list(mlp.state_dict()) == ["lin1.weight", "lin1.bias", "lin2.weight", "lin2.bias"]


@torch.no_grad()
@pytest.mark.parametrize("kind", [Shifted, Doubling])
def test_a_layer_of_ones_own_runs_its_own_forward(kind, kernels):
    mlp, x = MLP(4, 6), torch.randn(2, 3, 4)
    mlp.lin1 = kind(4, 6)
    wanted = mlp(x)
    torch.testing.assert_close(make_fast(mlp)(x), wanted)
    assert "linear gelu" not in kernels


@torch.no_grad()
def test_who_listens_to_a_layer_hears_it():
    mlp, heard = make_fast(MLP(4, 6)), []
    mlp.lin1.register_forward_hook(lambda *args: heard.append(args))
    mlp(torch.randn(3, 4))
    assert len(heard) == 1


@torch.no_grad()
def test_a_batch_norm_is_folded_while_it_is_still(kernels):
    layers, x = ConvNorm(3, 5, 3, gelu=True), torch.randn(2, 3, 6, 6)
    layers.bn.running_mean.normal_()
    layers.bn.running_var.uniform_(0.5, 2)
    plain, fast = copy.deepcopy(layers), make_fast(layers)
    for model in (plain, fast):
        model.eval()
    torch.testing.assert_close(fast(x), plain(x))
    assert kernels == ["convolve gelu"]
    for model in (plain, fast):  # its weights change, as those of a checkpoint that is loaded
        model.bn.running_mean.add_(1)
        model.c.weight.mul_(2)
    torch.testing.assert_close(fast(x), plain(x))
    for model in (plain, fast):  # it follows the data
        model.train()
    torch.testing.assert_close(fast(x), plain(x))
    torch.testing.assert_close(fast.bn.running_mean, plain.bn.running_mean)


@torch.no_grad()
def test_a_gelu_by_tanh_stays_one(kernels):
    layers, x = make_fast(nn.Sequential(nn.Linear(4, 4), nn.GELU("tanh"))), torch.randn(3, 4)
    torch.testing.assert_close(layers(x), F.gelu(layers[0](x), approximate="tanh"))
    assert "linear gelu" not in kernels


def test_one_line_says_so_and_only_on_a_cpu(monkeypatch):
    lines = []
    monkeypatch.setattr(
        "echozoo.models.passes.fast_cpu.print_log", lambda line, **_: lines.append(line)
    )
    elsewhere = nn.Sequential(nn.Linear(3, 3)).to("meta")
    use_fast_cpu(elsewhere)
    assert type(elsewhere[0]) is nn.Linear
    model = nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 3, 3))
    use_fast_cpu(model)
    assert [type(module) for module in model.modules()] == [FastSequential, FastLinear, FastConv2d]
    assert len(lines) == 1
    assert "1 linear layers, 1 convolutions" in lines[0]
    assert "--no-fast-cpu" in lines[0]


def test_what_does_not_fit_is_said_in_torchs_words():
    with pytest.raises(RuntimeError, match="2x6 and 4x3"):
        make_fast(nn.Sequential(nn.Linear(4, 3)))(torch.rand(2, 6))
