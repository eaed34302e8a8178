"""TinyViT equals timm's, block by block and whole; its windows and biases are what they say."""

from __future__ import annotations

import zlib

import pytest
import torch
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.backbones.tiny_vit import TinyViT, WindowAttention
from echozoo.registry import MODELS

SMALL = dict(
    embed_dims=(8, 16, 20, 40),
    depths=(1, 2, 2, 1),
    num_heads=(1, 2, 5, 4),
    window_sizes=(7, 7, 5, 3),
)


def fill(model: nn.Module) -> nn.Module:
    """Give a model weights that the names of its entries alone determine."""
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            place = torch.arange(value.numel(), dtype=torch.float64).reshape(value.shape)
            wave = torch.sin(12.9898 * place + zlib.crc32(key.encode()) % 1000)
            fan_in = value[0].numel() if value.dim() > 1 else 16
            # Scales of norms, and running variances, are near 1; biases of attention are large.
            near_one = value.dim() == 1 and key.endswith(("weight", "running_var"))
            scale = 1.0 if key.endswith("attention_biases") else fan_in**-0.5
            value.copy_(1 + 0.3 * wave if near_one else scale * wave)
    return model.eval()


def picture(height: int, width: int) -> torch.Tensor:
    """An image (1, 3, H, W) without chance."""
    place = torch.arange(3 * height * width, dtype=torch.float64)
    return torch.sin(0.37 * place).float().reshape(1, 3, height, width)


@torch.no_grad()
def test_equals_timm():
    # Mean, deviation and three values after each stage of timm 1.0.31's TinyVit, made once: the
    # same sizes, these weights under its own names, its last step set to keep the grid as
    # MobileSAM's does. No grid of attention is a whole number of windows.
    encoder = fill(TinyViT(**SMALL, stem_stride=4))
    x = encoder.patch_embed(picture(96, 160))
    found = []
    for stage in encoder.layers:
        x = stage(x)
        found.append([x.mean(), x.std(), x[0, 0, 0, 0], x[0, -1, -1, -1], x[0, 3, 2, 1]])
    wanted = [
        [0.137685, 0.544128, 0.341321, 1.03647, 0.494767],
        [-0.104555, 1.44563, -0.718764, 0.907912, -1.34332],
        [-0.0157832, 0.378472, 0.515605, -0.0867923, -0.0800423],
        [-0.00152, 0.958049, 0.83124, 0.196178, 0.888502],
    ]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("stem_stride", "size"), [(1, (32, 48)), (4, (128, 192))])
def test_shapes(stem_stride, size):
    encoder = MODELS.build(dict(type="TinyViT", **SMALL, stem_stride=stem_stride, out_channels=6))
    assert encoder(torch.rand(2, 1, *size), num_frames=2).shape == (2, 6, 8, 12)


def test_published_sizes():
    encoder = TinyViT()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 5_726_740
    assert len(encoder.state_dict()) == 298


@torch.no_grad()
def test_frames_are_encoded_each_by_itself_and_grey_stands_for_three_channels():
    encoder = fill(TinyViT(**SMALL, out_channels=6))
    frames = torch.rand(3, 1, 32, 48)
    together = encoder(frames, num_frames=3)
    torch.testing.assert_close(together[1:2], encoder(frames[1:2]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together, encoder(frames.expand(-1, 3, -1, -1)))
    assert (together[0] - together[1]).abs().max() > 1e-3


@torch.no_grad()
def test_attention_of_a_window_by_its_definition():
    attention = fill(WindowAttention(embed_dims=6, num_heads=2, window_size=3))
    x = picture(9, 2).reshape(1, 9, 6)  # row by row
    found = attention(x.reshape(1, 3, 3, 6)).reshape(9, 6)
    heads = attention.qkv(attention.norm(x[0])).reshape(9, 2, 3, 3)  # token, head, q k v, d
    mixed = torch.empty(9, 2, 3)
    for head in range(2):
        for i in range(9):
            logits = torch.empty(9)
            for j in range(9):
                distance = 3 * abs(i // 3 - j // 3) + abs(i % 3 - j % 3)
                dot = heads[i, head, 0] @ heads[j, head, 1]
                logits[j] = dot / 3**0.5 + attention.attention_biases[head, distance]
            mixed[i, head] = logits.softmax(0) @ heads[:, head, 2]
    torch.testing.assert_close(found, attention.proj(mixed.reshape(9, 6)), rtol=1e-5, atol=1e-6)


def test_every_parameter_gets_a_gradient():
    encoder = TinyViT(**SMALL, out_channels=6).train()
    encoder(torch.rand(2, 1, 32, 32)).square().mean().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(depths=(1, 1, 1)), r"depths=\(1, 1, 1\), wants one for 4 stages"),
        (dict(num_heads=(1, 3, 5, 4)), r"num_heads=\(1, 3, 5, 4\), wants divisors of embed_dims"),
        (dict(stem_stride=2), r"stem_stride=2, wants one of \(1, 4\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_one_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        TinyViT(**SMALL | change)
    assert "\n" not in str(caught.value)


def test_images_off_the_grid_are_refused():
    with pytest.raises(ConfigError, match="30 x 32 pixels, wants multiples of 4"):
        TinyViT(**SMALL)(torch.rand(1, 1, 30, 32))
