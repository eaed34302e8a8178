"""Published weights in this project's terms: key names, families, position tables.

Published files of SAM, SAMUS and LiteMedSAM name their three parts ``image_encoder``,
``prompt_encoder`` and ``mask_decoder``; here these are ``backbone``, ``prompt_head.encoder`` and
``decoder``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.backbones.sam_vit import resize_grid
from echozoo.models.backbones.samus import PUBLISHED_NAMES

_PREFIXES = {
    "image_encoder.": "backbone.",
    "prompt_encoder.": "prompt_head.encoder.",
    "mask_decoder.": "decoder.",
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


def own_key(key: str) -> str:
    """Rename a published key; one of this project's own stays as it is.

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
            return own + rest
    return key


def group_of(key: str) -> str:
    """Name the group of a model's key: a file has the whole of a group, or nothing of it.

    Args:
        key: A key of this project's.

    Returns:
        ``"backbone"`` (SAM's encoder, or LiteMedSAM's), ``"prompt_head"``, ``"decoder"``,
        ``"SAMUS"`` (all that SAMUS adds), or for other parts, such as temporal modules, the part
        and the module's name.
    """
    part, _, rest = key.partition(".")
    encoders = (_SAM_ENCODER, _TINY_VIT_ENCODER)
    if part == "backbone" and not any(keys.fullmatch(rest) for keys in encoders):
        names = [name for name in rest.split(".") if not name.isdigit() and name != "blocks"]
        return "SAMUS" if names[0] in _SAMUS_MODULES else f"backbone.{names[0]}"
    if part == "prompt_head" and not rest.startswith("encoder."):
        return f"prompt_head.{rest.split('.')[0]}"
    return part


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
