"""LoRA on any linear layer, and an adapter of one's own on a convolution."""

from __future__ import annotations

import copy

import torch

from echozoo.models.passes.fast_cpu import make_fast

PART = """
import torch
from torch import nn
from echozoo.registry import ADAPTERS


@ADAPTERS.register_module()
class OwnGain(nn.Conv2d):
    replaces = nn.Conv2d

    def __init__(self, layer):
        super().__init__(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, device="meta"
        )
        self.weight, self.bias = layer.weight, layer.bias
        self.gain = nn.ParameterList([torch.zeros(layer.out_channels, 1, 1)])

    def adapter_names(self):
        return ("gain",)

    def forward(self, x):
        return super().forward(x) * (1 + self.gain[0])
"""
CONFIG = """
adapters = [dict(type={adapter!r}, at={at!r}{settings})]
model = dict(adapters=adapters)
scales = dict(tiny=dict(model=dict(
    frozen=("backbone.*", "prompt_head.*", "decoder.*"), trainable=({own!r},),
)))
"""


def counts_in_use(model: torch.nn.Module, own: str) -> None:
    """What a CPU computes in its own way passes no adapter by."""
    model, images = model.eval(), torch.rand(2, 3, 96, 96)
    names = [name for name, _ in model.named_parameters() if own in name]
    for name in names:  # away from the start
        torch.nn.init.normal_(model.get_parameter(name))
    without = copy.deepcopy(model)
    for name in names:
        torch.nn.init.zeros_(without.get_parameter(name))
    with torch.no_grad():
        wanted, fast = (one.encode(images).embedding for one in (model, make_fast(model)))
        torch.testing.assert_close(fast, wanted, rtol=1e-3, atol=1e-3)
        assert (without.encode(images).embedding - wanted).abs().max() > 0.01


def test_lora_on_any_linear_layer(trained):
    config = CONFIG.format(
        adapter="LoRA", at="backbone.blocks.*.mlp.lin1", settings=", rank=2", own="*.lora_*"
    )
    run = trained("sam_finetune.py", "", config)
    assert run.changed
    assert all(".mlp.lin1.lora_" in name for name in run.changed)
    counts_in_use(run.runner.model, ".lora_")


def test_one_of_ones_own(trained):
    config = CONFIG.format(
        adapter="OwnGain", at="backbone.patch_embed.proj", settings="", own="*.gain.*"
    )
    run = trained("sam_finetune.py", PART, config)
    assert run.changed == {"backbone.patch_embed.proj.gain.0"}
    counts_in_use(run.runner.model, ".gain.")
