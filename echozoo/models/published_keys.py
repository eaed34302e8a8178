"""Published weights in this project's terms: key names, families, position tables.

Published files of SAM, SAMUS and LiteMedSAM name their three parts ``image_encoder``,
``prompt_encoder`` and ``mask_decoder``; here these are ``backbone``, ``prompt_head.encoder`` and
``decoder``. Those of AutoSAMUS have ``prompt_generator`` and ``feature_adapter`` too, which are
the rest of ``prompt_head``. Those of torchvision's ResNets and of EfficientNet-Lite are a
``backbone`` without a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.backbones.sam_vit import resize_grid
from echozoo.models.backbones.samus import PUBLISHED_NAMES
from echozoo.models.memories.published import memory_keys

_PREFIXES = {
    "image_encoder.": "backbone.",
    "prompt_encoder.": "prompt_head.encoder.",
    "mask_decoder.": "decoder.",
    "prompt_generator.": "prompt_head.",
    "feature_adapter.": "prompt_head.dense_prompt.",
}
_SAM_ENCODER = re.compile(
    r"(pos_embed|patch_embed\.proj\.\w+|neck\.\d\.\w+"
    r"|blocks\.\d+\.(norm[12]\.\w+|attn\.(qkv|proj)\.\w+|attn\.rel_pos_[hw]|mlp\.lin[12]\.\w+))"
)
# The same of LiteMedSAM and MobileSAM; their necks have the keys of SAM's.
_TINY_VIT_ENCODER = re.compile(
    r"(patch_embed\.seq\.[02]\.(c|bn)\.\w+|layers\.\d+\.(downsample\.conv[123]\.(c|bn)\.\w+"
    r"|blocks\.\d+\.((conv[123]|local_conv)\.(c|bn)\.\w+"
    r"|attn\.(attention_biases|(norm|qkv|proj)\.\w+)|mlp\.(norm|fc[12])\.\w+)))"
)
_SAMUS_MODULES = frozenset(
    ("cnn_branch", "pos_adapter", "input_adapter", "feature_adapter", "cross_attn", "refine")
)
_APG_MODULES = frozenset(
    ("task_tokens", "token_coupling", "token_proj", "image_coupling", "dense_prompt")
)
# A layer of AutoSAMUS's couplings lists the attentions of both directions, then their MLPs.
_COUPLING = re.compile(r"cross_(token|image)_token\.layers\.(\d+)\.([0-3])\.(.+)")
_COUPLING_NAMES = (
    ("norm1.", "norm_x."),
    ("norm2.", "norm_source."),
    ("norm.", "norm_mlp."),
    ("fn.to_q.", "attn.q."),
    ("fn.to_kv.", "attn.kv."),
    ("fn.to_out.0.", "out."),
    ("fn.net.0.", "mlp.0."),
    ("fn.net.3.", "mlp.2."),
)
# What the published AutoSAMUS computes and never reads: the APG does without.
_DEAD = re.compile(r"prompt_generator\.cross_token_token\.layers\.1\.[13]\..+")
_EFFICIENT_NET_HEAD = re.compile(r"_(conv_head|bn1|fc)\..+")
_EFFICIENT_NET_NAMES = (
    ("_conv_stem.", "stem.conv."),
    ("_blocks.", "blocks."),
    ("._expand_conv.", ".expand.conv."),
    ("._bn0.", ".expand.norm."),
    ("._depthwise_conv.", ".depthwise.conv."),
    ("._bn1.", ".depthwise.norm."),
    ("._project_conv.", ".project.conv."),
    ("._bn2.", ".project.norm."),
    ("_bn0.", "stem.norm."),
)
_RESNET = re.compile(r"(conv1|bn1|layer[1-4]|fc)\..+")


def own_keys(keys: Iterable[str]) -> dict[str, str]:
    """Rename the keys of a file.

    Args:
        keys: As in the file.

    Returns:
        This project's keys with those of the file. Left out is what no model here has a place
        for: the classifiers of image networks, and weights of other systems that have no effect.
    """
    keys = list(keys)
    if is_resnet(keys):
        return {f"backbone.{key}": key for key in keys if not key.startswith("fc.")}
    if is_efficient_net(keys):
        kept = (key for key in keys if not _EFFICIENT_NET_HEAD.fullmatch(key))
        return {f"backbone.{_own_efficient_net_key(key)}": key for key in kept}
    memory = memory_keys(keys)
    alive = [key for key in keys if not _DEAD.fullmatch(key) and memory.get(key, "") is not None]
    return {memory.get(key) or own_key(key): key for key in alive}


def is_resnet(keys: Iterable[str]) -> bool:
    """Whether these are the keys of one of torchvision's ResNets, whose weights are a backbone."""
    keys = list(keys)
    return "conv1.weight" in keys and all(map(_RESNET.fullmatch, keys))


def is_efficient_net(keys: Iterable[str]) -> bool:
    """Whether these are the keys of a published EfficientNet-Lite, whose weights are a backbone."""
    return "_conv_stem.weight" in keys


def _own_efficient_net_key(key: str) -> str:
    for theirs, ours in _EFFICIENT_NET_NAMES:
        key = key.replace(theirs, ours)
    return key


def own_key(key: str) -> str:
    """Rename a published key of the SAM family; one of this project's own stays as it is.

    Args:
        key: Such as ``image_encoder.blocks.2.Space_Adapter.q.weight``.

    Returns:
        Such as ``backbone.blocks.2.cross_attn.q.weight``.
    """
    for published, own in _PREFIXES.items():
        if key.startswith(published):
            rest = key[len(published) :]
            if published == "image_encoder.":
                for theirs, ours in PUBLISHED_NAMES:
                    rest = rest.replace(theirs, ours)
            elif published == "prompt_generator.":
                rest = _own_generator_key(rest)
            elif published == "feature_adapter.":
                rest = _own_dense_key(rest)
            return own + rest
    return key


def _own_generator_key(key: str) -> str:
    coupling = _COUPLING.fullmatch(key)
    if coupling is None:
        return key.replace("object_token", "task_tokens")
    kind, layer, place, name = coupling.groups()
    for theirs, ours in _COUPLING_NAMES:
        name = name.replace(theirs, ours)
    return f"{kind}_coupling.{('first', 'second')[int(place) % 2]}.{layer}.{name}"


def _own_dense_key(key: str) -> str:
    # Convolution, norm and GELU of each stage in one row.
    place, _, name = key.partition(".")
    if not place.isdigit() or int(place) % 3 == 2:
        return key
    return f"{int(place) // 3}.{('conv', 'norm')[int(place) % 3]}.{name}"


def group_of(key: str) -> str:
    """Name the group of a model's key: a file has the whole of a group, or nothing of it.

    Args:
        key: A key of this project's.

    Returns:
        ``"backbone"`` (SAM's encoder, or LiteMedSAM's), ``"prompt_head"``, ``"decoder"``,
        ``"SAMUS"`` (all that SAMUS adds), ``"APG"`` (all that AutoSAMUS adds to SAM's prompt
        encoder), or for other parts, such as temporal modules, the part and the module's name.
    """
    part, _, rest = key.partition(".")
    encoders = (_SAM_ENCODER, _TINY_VIT_ENCODER)
    if part == "backbone" and not any(keys.fullmatch(rest) for keys in encoders):
        names = [name for name in rest.split(".") if not name.isdigit() and name != "blocks"]
        return "SAMUS" if names[0] in _SAMUS_MODULES else f"backbone.{names[0]}"
    if part == "prompt_head" and not rest.startswith("encoder."):
        name = rest.split(".")[0]
        return "APG" if name in _APG_MODULES else f"prompt_head.{name}"
    return part


def add_counters(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give batch norms their counters of batches, which files of old versions of torch lack.

    Args:
        weights: Weights under any keys.

    Returns:
        The weights, with counters of 0, as torch itself takes such files.
    """
    counters = {
        f"{key.removesuffix('running_mean')}num_batches_tracked": torch.tensor(0)
        for key in weights
        if key.endswith(".running_mean")
    }
    return {**weights, **{key: zero for key, zero in counters.items() if key not in weights}}


def fit_position_tables(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Resize SAM's position tables to those of a model made for another image size.

    Absolute positions are resized bilinearly, relative ones of the global blocks linearly along
    their rows. Which blocks are global the model says, by index; tables of windowed blocks do not
    depend on the image size and are never touched.

    Args:
        weights: Weights under this project's keys.
        model: Has the backbone as its attribute ``backbone``.

    Returns:
        The weights with tables that fit, where resizing is what they need.
    """
    fitted = dict(weights)
    wanted = model.state_dict()
    key = "backbone.pos_embed"
    if _differ(fitted, wanted, key, fixed_dims=(0, 3)):
        fitted[key] = resize_grid(fitted[key].float(), wanted[key].shape[1:3])
    for index in getattr(getattr(model, "backbone", None), "global_attn_indexes", ()):
        for axis in "hw":
            key = f"backbone.blocks.{index}.attn.rel_pos_{axis}"
            if _differ(fitted, wanted, key, fixed_dims=(1,)):
                fitted[key] = _resize_rows(fitted[key].float(), len(wanted[key]))
    return fitted


def _differ(
    weights: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    key: str,
    fixed_dims: tuple[int, ...],
) -> bool:
    if key not in weights or key not in wanted:
        return False
    have, want = weights[key].shape, wanted[key].shape
    resizable = len(have) == len(want) and all(have[dim] == want[dim] for dim in fixed_dims)
    return resizable and have != want


def _resize_rows(table: Tensor, rows: int) -> Tensor:
    table = table.T[None]  # (rows, C) -> (1, C, rows)
    return F.interpolate(table, rows, mode="linear", align_corners=False)[0].T
