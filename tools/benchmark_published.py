"""What tools/benchmark.py compares with: published code from a checkout, or segment-anything.

Nothing of a checkout is copied: its code is imported under a name of its own, and built with the
sizes of the config's model.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.structures import EchoDataSample

_SAMUS = Path("models", "segment_anything_samus", "build_sam_us.py")
_LITE_MEDSAM = Path("tiny_vit_sam.py")
# What published files import besides torch, as far as they use it; the first two are stray lines.
_STAND_INS = {
    "turtle": dict(shape=None),
    "einops": dict(rearrange=None),
    "timm": {},
    "timm.models": {},
    "timm.models.layers": dict(
        DropPath=nn.Identity, to_2tuple=lambda x: (x, x), trunc_normal_=nn.init.trunc_normal_
    ),
    "timm.models.registry": dict(register_model=lambda function: function),
}


class Published(NamedTuple):
    """Published code.

    Attributes:
        build: From the outline of the config's model to a network of the same sizes.
        forward: From network, clips (B, T, C, H, W) and B samples to logits or embedding.
        prefix: What its keys lack of those in published files.
        parts: Parts of the config's model that its weights are for; None is all of it.
    """

    build: Callable[[nn.Module], nn.Module]
    forward: Callable[[nn.Module, Tensor, Sequence[EchoDataSample]], Tensor]
    prefix: str = ""
    parts: tuple[str, ...] | None = None


def find_published(against: str | None, part: str) -> Published | None:
    """Find what ``--against`` names, for the part "forward" or "train"; None without it.

    Raises:
        ConfigError: There is no such code, or it has no such part.
    """
    if against is None:
        return None
    folder = Path(against).expanduser()
    if (folder / _SAMUS).is_file():
        return Published(partial(_samus, folder), _run_samus)
    if against != "segment-anything" and not (folder / _LITE_MEDSAM).is_file():
        raise ConfigError(
            f"--against {against}: no {_SAMUS} or {_LITE_MEDSAM} in it; give a checkout of "
            "https://github.com/xianlin7/SAMUS or LiteMedSAM, or segment-anything"
        )
    if part != "forward":
        raise ConfigError(f"--against {against}: it is an image encoder: measure forward alone")
    build = _sam if against == "segment-anything" else partial(_tiny_vit, folder)
    return Published(build, _encode, "image_encoder.", ("backbone",))


def random_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a network moved a little, so that no table stays at its initial zeros."""
    draw, weights = torch.Generator().manual_seed(0), network.state_dict()
    for key, value in weights.items():
        if value.is_floating_point():
            weights[key] = value + 0.02 * torch.randn(value.shape, generator=draw)
    return weights


def _sam(model: nn.Module) -> nn.Module:
    from segment_anything.modeling import ImageEncoderViT

    backbone = model.backbone
    return ImageEncoderViT(
        img_size=backbone.grid_size * backbone.patch_size,
        patch_size=backbone.patch_size,
        embed_dim=backbone.embed_dims,
        depth=len(backbone.blocks),
        num_heads=backbone.num_heads,
        out_chans=backbone.neck[0].out_channels,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=backbone.use_rel_pos,
        window_size=backbone.window_size,
        global_attn_indexes=backbone.global_attn_indexes,
    )


def _tiny_vit(folder: Path, model: nn.Module) -> nn.Module:
    sizes = dict(embed_dims=[64, 128, 160, 320], num_heads=[2, 4, 5, 10])  # its own, no defaults
    return _load(folder / _LITE_MEDSAM).TinyViT(img_size=256, drop_path_rate=0.0, **sizes)


def _encode(network: nn.Module, clips: Tensor, samples: Sequence[EchoDataSample]) -> Tensor:
    return network(clips.flatten(0, 1).expand(-1, 3, -1, -1))


def _samus(folder: Path, model: nn.Module) -> nn.Module:
    if getattr(model.prompt_head, "names", None) is not None:
        raise ConfigError(
            "--against: the published SAMUS takes one click an image, the config's model one a "
            "structure; leave --scale out or set --cfg-options model.prompt_head.num_structures=0"
        )
    backbone = model.backbone
    size = types.SimpleNamespace(encoder_input_size=backbone.grid_size * backbone.patch_stride)
    return _load(folder / _SAMUS)._build_samus(
        size,
        encoder_embed_dim=backbone.embed_dims,
        encoder_depth=len(backbone.blocks),
        encoder_num_heads=backbone.num_heads,
        encoder_global_attn_indexes=list(backbone.global_attn_indexes),
    )


def _run_samus(network: nn.Module, clips: Tensor, samples: Sequence[EchoDataSample]) -> Tensor:
    points = torch.cat([sample.points[:, 0] for sample in samples])  # (N, 1, 2)
    labels = torch.cat([sample.point_labels[:, 0] for sample in samples])  # (N, 1)
    return network(clips.flatten(0, 1), (points, labels))["low_res_logits"]


def _load(file: Path) -> types.ModuleType:
    """Import a file of a checkout as part of a package that nobody else has the name of."""
    package = f"_published_{abs(hash(file.resolve().parent))}"
    absent = {one for one in _STAND_INS if importlib.util.find_spec(one.split(".")[0]) is None}
    for one in absent:
        sys.modules[one] = types.ModuleType(one)
        vars(sys.modules[one]).update(_STAND_INS[one], __path__=[])
    sys.modules.setdefault(package, types.ModuleType(package)).__path__ = [str(file.parent)]
    try:
        return importlib.import_module(f"{package}.{file.stem}")
    except ModuleNotFoundError as error:
        raise ConfigError(f"--against: {file} needs the package {error.name}") from error
    finally:
        for one in absent:
            del sys.modules[one]
