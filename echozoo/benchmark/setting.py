"""What is compared: a config, its variants, the shape of a batch."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import nn

from echozoo.engine import launch
from echozoo.errors import ConfigError
from echozoo.models.passes.fast_cpu import make_fast
from echozoo.registry import MODELS


@dataclass(frozen=True)
class Variant:
    """A way to run this project's network; without any, it is plain float32.

    Attributes:
        bf16: In autocast to bfloat16.
        compiled: With the image encoder (or the whole of a model without prompts) compiled.
        int8: With the image encoder's linear layers quantised, on the CPU.
    """

    bf16: bool = False
    compiled: bool = False
    int8: bool = False

    def __str__(self) -> str:
        """The variant's name in tables."""
        names = {"bf16": self.bf16, "compiled": self.compiled, "int8": self.int8}
        return " ".join(name for name, on in names.items() if on) or "float32"

    def autocast(self, device: str) -> contextlib.AbstractContextManager:
        """The context of its forward pass.

        Args:
            device: Where it computes.
        """
        if not self.bf16:
            return contextlib.nullcontext()
        return torch.autocast(torch.device(device).type, torch.bfloat16)


@dataclass(frozen=True)
class Shape:
    """A batch: ``clips`` clips of ``frames`` frames."""

    clips: int = 1
    frames: int = 1

    @property
    def images(self) -> int:
        """Frames in all."""
        return self.clips * self.frames


@dataclass(frozen=True)
class Setting:
    """What all sides have in common, in whichever process they run.

    Attributes:
        cfg: The config; its pretrained weights are not used.
        part: "forward" or "train".
        against: What it is compared with (see `echozoo.benchmark.reference`), or None.
        encoder_only: Whether the forward pass ends with the image encoder and its neck.
        device: Where all compute.
        threads: Threads of torch; None leaves torch's own number.
        seed: Of weights and inputs.
    """

    cfg: Config
    part: str = "forward"
    against: str | None = None
    encoder_only: bool = False
    device: str = "cpu"
    threads: int | None = None
    seed: int = 0

    def enter(self) -> None:
        """Bring a process into the state that its runs expect."""
        if self.threads:
            torch.set_num_threads(self.threads)
        init_default_scope(self.cfg.get("default_scope", "echozoo"))
        import_modules_from_strings(**(self.cfg.get("custom_imports") or {"imports": None}))


def build_model(setting: Setting) -> nn.Module:
    """Build the config's model with random weights, on torch's current default device.

    Args:
        setting: Its seed determines the weights.
    """
    launch.forget_pretrained(setting.cfg)
    torch.manual_seed(setting.seed)
    return make_fast(MODELS.build(setting.cfg.model))


def outline(setting: Setting) -> nn.Module:
    """Build the config's model without memory for its weights: sizes, names, numbers.

    Args:
        setting: Whose config is built.
    """
    with torch.device("meta"):
        return build_model(setting)


def image_size(setting: Setting) -> tuple[int, int]:
    """The (H, W) of the network's input.

    Args:
        setting: Its config's test data say it.

    Raises:
        ConfigError: They do not.
    """
    size = ((setting.cfg.get("test_dataloader") or {}).get("dataset") or {}).get("image_size")
    if size is None:
        raise ConfigError(
            f"{setting.cfg.filename}: no test_dataloader.dataset.image_size, which says how big "
            "the network's input is"
        )
    return int(size[0]), int(size[1])
