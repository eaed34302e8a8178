"""Which parts there are, how to make a small one of each, and parts of a user's own file.

A user's file may say how its parts are made small: ``contract = dict(MyEncoder=dict(width=8))``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmengine.registry import Registry
from torch import nn

from echozoo import registry

VIT = dict(embed_dims=16, depth=2, num_heads=2, global_attn_indexes=(1,), window_size=2)
SMALL = {
    "SAMViT": VIT | dict(img_size=64, out_channels=12),
    "SAMUS": VIT
    | dict(img_size=32, pos_embed_size=8, conv_channels=(4, 4, 8), out_channels=12)
    | dict(temporal=dict(type="STAdapter")),
    "TinyViT": dict(embed_dims=(8,) * 4, depths=(1,) * 4, num_heads=(1,) * 4, out_channels=12),
    "CENetEncoder": dict(layers=(1, 1, 1, 1), base_channels=4),
    "EfficientNetLite": dict(width=0.1),
    "ResNetTrunk": dict(depth=18, base_channels=4),
    "TempAtt": dict(num_heads=2),
    "ManualPromptHead": dict(prompts=("points", "boxes", "masks")),
    "APG": dict(num_structures=2, num_task_tokens=3, num_heads=2, head_dims=4, ffn_dims=8),
    "SAMMaskDecoder": dict(num_heads=2, mlp_dims=8, iou_head_hidden=8),
    "MSFF": dict(in_channels=8),
    "LIA": dict(in_channels=8),
    "LoRA": dict(rank=2),
}
# Parts of mmseg's contracts, or of a segmentor's own; they are tested where they are.
OTHERS = {"StructureDiceLoss", "ContextExtractor", "MemoryMaskDecoder"}
FOLDERS = {"encoder": "backbones", "neck": "necks", "loss": "losses"}


def own_file(config) -> ModuleType | None:
    """The user's module of ``--part FILE``, imported once; None where none is given."""
    path = config.getoption("--part", default=None)
    if path is None:
        return None
    if not hasattr(config, "own_part"):
        spec = importlib.util.spec_from_file_location(Path(path).stem, path)
        config.own_part = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(config.own_part)
        SMALL.update(getattr(config.own_part, "contract", {}))
        _refuse_what_nothing_tests(config.own_part)
    return config.own_part


def _refuse_what_nothing_tests(module: ModuleType) -> None:
    """Passing because nothing was tested would be a lie: say which parts no test here takes."""
    kinds = ("temporal", "head", "adapter", "model")
    tables = [_table(kind) for kind in kinds]
    others = (registry.DATASETS, registry.MEMORIES, registry.METRICS, registry.TRANSFORMS)
    own = [
        (part, table)
        for table in (*tables, *others)
        for part in table.module_dict.values()
        if getattr(part, "__module__", None) == module.__name__
    ]
    left = [p.__name__ for p, table in own if table in others or _kind_of(p, table) is None]
    if left or not own:
        raise pytest.UsageError(
            f"--part {module.__file__}: {', '.join(left) or 'no registered part'}: not tested here."
            " These tests take temporal modules, prompt heads, adapters, losses (forward takes"
            " labelled), decoders (output_tokens) and encoders (stride or sees on the class)"
        )


def names(config, kind: str) -> list[str]:
    """The parts of a kind: of the package, or of the user's file alone where one is given."""
    table, module = _table(kind), own_file(config)
    table.import_from_location()
    found = {name: part for name, part in table.module_dict.items() if isinstance(part, type)}
    if module is not None:
        found = {name: part for name, part in found.items() if part.__module__ == module.__name__}
        return sorted(name for name, part in found.items() if _kind_of(part, table) == kind)
    folder = FOLDERS.get(kind)
    return sorted(
        name
        for name, part in found.items()
        if part.__module__.startswith("echozoo.")
        and (folder is None or f".models.{folder}." in part.__module__)
        and name not in OTHERS
        and (kind != "decoder" or hasattr(part, "output_tokens"))
    )


def build(kind: str, name: str, **sizes) -> nn.Module:
    """A small part, with parameters that are not those of its start, in evaluation mode."""
    part = _table(kind).build(dict(type=name, **sizes, **SMALL.get(name, {}))).eval()
    for parameter in part.parameters():
        # Many start as identity, which would hide what they do.
        nn.init.normal_(parameter, std=0.2)
    return part


def _table(kind: str) -> Registry:
    return {
        "temporal": registry.TEMPORAL_MODULES,
        "head": registry.PROMPT_HEADS,
        "adapter": registry.ADAPTERS,
    }.get(kind, registry.MODELS)


def _kind_of(part: type, table: Registry) -> str | None:
    """A user's part of MODELS is what it says: sizes of an encoder, tokens of a decoder."""
    if table is not registry.MODELS:
        return {"temporal module": "temporal", "prompt head": "head"}.get(table.name, table.name)
    if hasattr(part, "output_tokens"):
        return "decoder"
    if "labelled" in part.forward.__code__.co_varnames:
        return "loss"
    return "encoder" if hasattr(part, "stride") or hasattr(part, "sees") else None


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Equal but for the order of sums."""
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
