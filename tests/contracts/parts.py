"""Which parts there are: all that are registered, or those of a user's own file.

A part that is built with more than the sizes of `calls.SIZES` says so in `SMALL`, and one of a
user's file there: ``contract = dict(OwnEncoder=dict(width=8))``. Several dicts are several tests of
it. A data set says where its data is (``data_root``), or gives a function that writes some into a
folder and returns its arguments.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from calls import KINDS, E, K, Kind
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.registry import Registry
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from small_camus import CAMUSMaker
from torch import nn

from echozoo import registry
from echozoo.models.contracts import takes_frames
from echozoo.models.view_head import ViewHead
from echozoo.models.zoo_network import ZooNetwork
from echozoo.phantom import PhantomOptions, write_phantom

VIT = dict(embed_dims=16, depth=2, num_heads=2, global_attn_indexes=(1,), window_size=2)
VALUES = dict(stages=3, base_channels=4)
SPACE_TIME = dict(key_dims=6, value_dims=E, prompt_dims=E)

COARSE = dict(
    backbone=dict(type="HarDNet", num_maps=4, width=0.05),
    decode_head=dict(
        type="FusingSegformerHead",
        in_channels=(4, 10, 16, 36),
        in_index=(0, 1, 2, 3),
        channels=4,
        num_classes=2,
    ),
)


def camus(folder: Path) -> dict:
    """Films of five frames, all labelled."""
    return dict(data_root=str(CAMUSMaker(folder)(patients=10, frames=5)), split="ratio")


def generated(layout: str, folder: Path) -> dict:
    """Videos whose frames are labelled in part."""
    pytest.importorskip("av", reason="the extra video is not installed")
    pytest.importorskip("openpyxl", reason="the extra hmc_qu is not installed")
    root = folder.parent / f"generated_{layout}"  # once for all tests
    write_phantom(root, PhantomOptions(5, spacing=3.0, frames=(3, 3), layout=layout))
    return dict(data_root=str(root))


SMALL: dict[str, Any] = {
    "SAMViT": VIT | dict(img_size=64, out_channels=12),
    "MSA": VIT | dict(img_size=64, pos_embed_size=6, out_channels=12, over_frames=True),
    "SAMUS": VIT
    | dict(img_size=32, pos_embed_size=8, conv_channels=(4, 4, 8), out_channels=12)
    | dict(temporal=dict(type="STAdapter")),
    "TinyViT": dict(embed_dims=(8,) * 4, depths=(1,) * 4, num_heads=(1,) * 4, out_channels=12),
    "CENetEncoder": dict(layers=(1, 1, 1, 1), base_channels=4),
    "EfficientNetLite": dict(width=0.1),
    "ResNetTrunk": dict(depth=18, base_channels=4),
    "PlainConvEncoder": dict(widths=(2, 4, E)),
    "PlainConvHead": dict(widths=(E, E, E)),
    "UNet3D": dict(widths=(2, 4, E), up_widths=(4, E)),
    "PixelHead": dict(in_channels=E, in_index=0),
    "WarpConsistency": dict(in_channels=E, start_epoch=0),
    "NNSAMEncoder": dict(widths=(2, 2, 2, 2, E), sam_size=16)
    | dict(sam=dict(type="TinyViT", embed_dims=(4,) * 4, depths=(1,) * 4, num_heads=(1,) * 4)),
    "HarDNet": dict(num_maps=4, width=0.05),
    "MISSFormerEncoder": dict(embed_dims=4, depth=1, bridge_depth=1),
    "TempAtt": dict(num_heads=2),
    "TextPromptHead": dict(num_structures=2, text_dims=6),
    "PartPromptHead": dict(num_structures=2, text_dims=6, hidden_dims=4),
    "PrototypePromptHead": dict(num_structures=2, hidden_dims=4),
    "DownUpPromptHead": dict(num_structures=2, widths=(4, 6)),
    "ManualPromptHead": dict(prompts=("points", "boxes", "masks")),
    "APG": dict(num_structures=2, num_task_tokens=3, num_heads=2, head_dims=4, ffn_dims=8),
    "DenseNetPromptHead": dict(num_structures=2, net=dict(type="HarDNet", num_maps=4, width=0.05)),
    "CoarsePointPromptHead": dict(coarse=COARSE, num_structures=2),
    "LearntPromptHead": dict(num_structures=2, num_tokens=2),
    "UVSAMPromptHead": dict(coarse=COARSE, num_structures=2, fused_dims=4, min_side=2.0),
    **dict.fromkeys(
        (
            "SAMMaskDecoder",
            "MinMaxMaskDecoder",
            "UnitingMaskDecoder",
            "BestMaskDecoder",
            "MSAMaskDecoder",
            "UnplacedMaskDecoder",
            "PartWholeMaskDecoder",
        ),
        dict(num_heads=2, mlp_dims=8, iou_head_hidden=8),
    ),
    "ClassTokenHead": dict(in_channels=E, num_heads=2, mlp_dims=8, iou_head_hidden=8),
    "MISSFormerHead": dict(num_heads=(1, 2, 2)),
    "FusingSegformerHead": dict(in_index=(0, 1, 2, 3), channels=4),
    "MemoryMaskDecoder": dict(widths=(E, 4, 4), skip_channels=(E, E)),
    "UNetHead": dict(widths=(E, E, E)),
    "CENetHead": dict(channels=E),
    "SAMSemanticHead": dict(in_channels=E, num_heads=2, mlp_dims=8, iou_head_hidden=8),
    "LoRA": dict(rank=2),
    "FacT": dict(rank=2),
    "SpaceTimeMemory": (  # as in STM, XMem and MemSAM
        SPACE_TIME
        | dict(similarity="dot", keep_last=True, query_dims=4)
        | dict(value_encoder=dict(pair=True, base_channels=4, blocks=(1, 1, 1))),
        SPACE_TIME
        | dict(every=2, sensory_dims=4, sensory_maps=(E, E, E), value_encoder=VALUES)
        | dict(long_term=dict(longest=2, shortest=1, prototypes=4), top_k=5),
        SPACE_TIME
        | dict(similarity="l2", sensory_dims=4, feed="logits", deep_every=1)
        | dict(value_encoder=VALUES | dict(reinforce=4)),
    ),
    "DeltaMemory": (
        dict(embed_dims=E, key_dims=6, value_dims=E, prompt_dims=E, num_heads=2, num_structures=K)
        | dict(sensory_dims=4, sensory_maps=(E, E, E), value_encoder=VALUES)
    ),
    "CAMUSDataset": camus,
    "EchoNetDataset": partial(generated, "echonet"),
    "HMCQUDataset": partial(generated, "hmc_qu"),
}
# Folders of models/ whose parts are of one kind, but for heads and losses of mmseg's.
FOLDERS = {"backbones": "encoder", "necks": "neck", "decoders": "decoder", "losses": "loss"}
# Made of other parts and tested with them in whole runs; or fitted, by tests of its own.
WHOLES = (BaseModel, BaseDataPreprocessor, ViewHead, ZooNetwork)


@dataclass(frozen=True)
class Case:
    """A part of some kind, and how a small one is made."""

    kind: str
    name: str
    part: type
    arguments: dict | Callable[[Path], dict] = field(default_factory=dict)
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}{self.variant}"

    @property
    def of(self) -> Kind:
        """How parts of the kind are called."""
        return KINDS[self.kind]

    def build(self) -> nn.Module:
        """A small part in evaluation mode; its parameters are not those of its start."""
        arguments = {**self.of.given(self.part), **self.arguments}
        part = self.of.registry.build({**arguments, "type": self.part}).eval()
        for parameter in part.parameters():
            # Many start as identity, which would hide what they do.
            nn.init.normal_(parameter, std=0.2)
        return part

    def inputs(self, part: nn.Module, batch: int = 2, frames: int = 3) -> dict[str, torch.Tensor]:
        """Made-up inputs."""
        return self.of.inputs(part, batch, frames)

    def call(self, part: nn.Module, inputs: dict) -> tuple[torch.Tensor, ...]:
        """What the part makes of inputs."""
        return self.of.call(part, **inputs)


def cases(config: pytest.Config, kinds: tuple[str, ...]) -> list[Case]:
    """The parts of some kinds: of the package, or of the user's file alone where one is given."""
    module = own_file(config)
    return [case for case in _all_cases(module) if case.kind in kinds]


def own_file(config: pytest.Config) -> ModuleType | None:
    """The user's module of ``--part FILE``, imported once; None where none is given.

    Raises:
        pytest.UsageError: Nothing in it is tested here: passing would be a lie.
    """
    path = config.getoption("--part", default=None)
    if path is None or hasattr(config, "own_part"):
        return getattr(config, "own_part", None)
    if not Path(path).is_file():
        raise pytest.UsageError(f"--part {path}: no such file")
    name = f"own_part_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    # Its classes are looked up there by pickle and dataclasses, its neighbours by its imports.
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.append(str(Path(path).resolve().parent))
    spec.loader.exec_module(module)
    SMALL.update(getattr(module, "contract", {}))
    if not list(_all_cases(module)):
        raise pytest.UsageError(
            f"--part {path}: {', '.join(untested(module)) or 'no registered part'}: not tested"
            f" here; wanted one of: {', '.join(KINDS)}"
        )
    config.own_part = module
    return module


def untested(module: ModuleType | None = None) -> list[str]:
    """Names of the parts, of the package or of a user's module, that no test here takes."""
    tables = vars(registry).values() if module else {kind.registry for kind in KINDS.values()}
    return sorted(
        f"{name} ({table.name})"
        for table in tables
        if isinstance(table, Registry)
        for name, part in _parts(table, module)
        if _kind(table, part) is None and (module or not _is_a(part, WHOLES))
    )


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Equal but for the order of sums."""
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def _all_cases(module: ModuleType | None) -> Iterator[Case]:
    for table in dict.fromkeys(kind.registry for kind in KINDS.values()):
        for name, part in _parts(table, module):
            kind, small = _kind(table, part), SMALL.get(name, {})
            variants = small if isinstance(small, tuple) else (small,)
            for i, arguments in enumerate(variants if kind else ()):
                yield Case(kind, name, part, arguments, f"-{i}" if len(variants) > 1 else "")


def _parts(table: Registry, module: ModuleType | None) -> list[tuple[str, Any]]:
    table.import_from_location()
    owner = module.__name__ if module else "echozoo."
    parts = table.module_dict.items()
    return sorted((n, p) for n, p in parts if p.__module__.startswith(owner))


def _kind(table: Registry, part: type) -> str | None:
    """What a part is: its registry says it, or for MODELS the part itself, or its folder."""
    if table is not registry.MODELS:
        return next((name for name, kind in KINDS.items() if kind.registry is table), None)
    if not _is_a(part, nn.Module) or _is_a(part, WHOLES):
        return None
    if issubclass(part, BaseDecodeHead):
        return "decode_head"
    taken = inspect.signature(part.forward).parameters
    if hasattr(part, "output_tokens") or "labelled" in taken:
        return "decoder" if hasattr(part, "output_tokens") else "loss"
    if "probabilities" in taken:
        return "film_loss"
    if {"labels", "label", "target"} & {*taken}:
        return "map_loss"
    if part.__module__.startswith("echozoo."):
        return FOLDERS.get(part.__module__.split(".")[2])
    return "encoder" if _says_sizes(part) else "neck"


def _is_a(part: Any, classes: type | tuple[type, ...]) -> bool:
    return isinstance(part, type) and issubclass(part, classes)


def _says_sizes(part: type) -> bool:
    """Whether a user's part is an encoder, which says its sizes as a class or once it is built."""
    arguments = SMALL.get(part.__name__, {})
    try:
        built = part(**(arguments[0] if isinstance(arguments, tuple) else arguments))
    except Exception:  # a neck needs in_channels, say; what is wrong a test will show
        built = part
    sizes = ("out_channels", "stride", "sees")
    return any(hasattr(built, name) for name in sizes) or (
        isinstance(built, nn.Module) and takes_frames(built)
    )
