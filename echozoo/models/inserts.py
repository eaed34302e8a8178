"""Temporal modules put between the layers of any encoder, said in its config.

    backbone=dict(
        type="TinyViT",
        inserts=[dict(type="TRA", at="layers.3.blocks.*", when="before_attention")],
    )

``at`` names modules of the encoder; its ``*`` stands for one step of a name. ``when`` is
"before" or "after", which any module has, or a place within that the module names: a submodule
that does nothing, such as ``before_attention`` and ``before_mlp`` of the blocks here.

Inserts are hooks, so the encoder keeps the names of its parameters; their own are in its
``inserts``. How many frames a clip has, the encoder's `Clock` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.contracts import takes_frames
from echozoo.models.passes.patterns import modules_at
from echozoo.registry import TEMPORAL_MODULES

# Where channels are: "nchw" (N, C, H, W), "nhwc" (N, H, W, C), "nlc" (N, L, C).
LAYOUTS = {"nchw": 4, "nhwc": 4, "nlc": 3}


class Clock:
    """How many frames each clip has in the call of an encoder that goes on.

    Args:
        passes_on: Whether the encoder's own forward takes ``num_frames``.
    """

    def __init__(self, passes_on: bool) -> None:
        self.num_frames, self.passes_on = 1, passes_on

    def start(self, encoder: nn.Module, inputs: tuple, named: dict) -> tuple[tuple, dict] | None:
        """Note how many frames a clip has: a hook before the encoder's forward."""
        self.num_frames = named.get("num_frames", inputs[1] if len(inputs) > 1 else 1)
        return None if self.passes_on else (inputs[:1], {})

    @contextmanager
    def at(self, num_frames: int) -> Iterator[None]:
        """Let clips have T frames, as in a call that is computed again after others."""
        now, self.num_frames = self.num_frames, num_frames
        try:
            yield
        finally:
            self.num_frames = now


def clock_of(encoder: nn.Module) -> Clock:
    """The clock of an encoder, which counts from the first time that it is asked for."""
    if not hasattr(encoder, "clock"):
        encoder.clock = Clock(takes_frames(encoder))
        encoder.register_forward_pre_hook(encoder.clock.start, with_kwargs=True)
    return encoder.clock


class Insert(nn.Module):
    """A temporal module at a place of an encoder.

    Args:
        module: Maps ``(x (B * T, H, W, C), num_frames)`` to the shape of x.
        layout: Of what passes at its place, see `LAYOUTS`.
        clock: Says T.
        place: Name of the encoder's module that it is at.
    """

    def __init__(self, module: nn.Module, layout: str, clock: Clock, place: str) -> None:
        super().__init__()
        self.module, self.layout, self.clock, self.place = module, layout, clock, place

    def published_at(self, name: str, index: int) -> dict[str, str]:
        """How files call its weights, where its module says so by ``published_as(place)``."""
        encoder = name.rpartition(".inserts.")[0]
        said = getattr(self.module, "published_as", lambda place: {})(f"{encoder}.{self.place}")
        return {theirs: f"module.{ours}" for theirs, ours in said.items()}

    def forward(self, x: Tensor) -> Tensor:
        """Let frames exchange features: x (N, ...) in the layout, to the same shape."""
        if self.layout == "nchw":
            return self._mixed(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self._mixed(x[:, None])[:, 0] if self.layout == "nlc" else self._mixed(x)

    def before(self, host: nn.Module, inputs: tuple) -> tuple:
        """Change the first input of a module: a hook before its forward."""
        return (self(inputs[0]), *inputs[1:])

    def after(self, host: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        """Change the output of a module: a hook after its forward."""
        return self(output)

    def _mixed(self, x: Tensor) -> Tensor:
        return self.module(x, self.clock.num_frames)


class Inserts(nn.ModuleDict):
    """All inserts of an encoder by their places, as its submodule ``inserts``."""

    sees = "clip"

    def adapter_names(self) -> tuple[str, ...]:
        """Name the submodules whose parameters no published file of the encoder has: all."""
        return tuple(self)


def add_inserts(encoder: nn.Module, inserts: Sequence[dict]) -> None:
    """Put temporal modules into an encoder, in place; it sees clips from then on.

    Args:
        encoder: Any module that maps images (N, C, H, W).
        inserts: Configs of temporal modules, each with ``at`` and ``when``, see above, and, where
            it cannot be told (a map with channels last is taken for one with channels first unless
            its place says otherwise), ``layout``, one of `LAYOUTS`.

    Raises:
        ConfigError: A pattern matches nothing, or a place that images do not pass, or pass twice.
    """
    if not inserts:
        return
    clock, added = clock_of(encoder), Inserts()
    places = [(cfg, host, when) for cfg in inserts for host, when in _places(encoder, cfg).items()]
    shapes = _shapes(encoder, places)
    for (cfg, host, when), shape in zip(places, shapes, strict=True):
        settings = {k: v for k, v in cfg.items() if k not in ("at", "when", "layout")}
        layout = _layout(encoder, cfg, host, shape)
        channels = shape[1] if layout == "nchw" else shape[-1]
        module = TEMPORAL_MODULES.build({"embed_dims": channels, **settings})
        insert = Insert(module, layout, clock, host)
        added[f"{len(added)}_{host.replace('.', '_')}"] = insert
        _hook(encoder.get_submodule(host), when, insert)
    encoder.inserts, encoder.sees = added, "clip"


def _places(encoder: nn.Module, cfg: dict) -> dict[str, str]:
    """The names of the modules to hook, with "before" or "after"."""
    who, at, when = f"inserts: {cfg.get('type')}", cfg.get("at"), cfg.get("when", "after")
    if not isinstance(at, str):
        raise ConfigError(f"{who} has no at=..., a name pattern of modules of the backbone")
    pattern, side = (at, when) if when in ("before", "after") else (f"{at}.{when}", "after")
    names = [
        name for name in modules_at(encoder, pattern, who) if name.count(".") == pattern.count(".")
    ]
    if not names:
        raise ConfigError(
            f"{who}: at={at!r}, when={when!r} matches no module of {type(encoder).__name__}; a * "
            "stands for one step of a name"
        )
    for name in names:
        _refuse_recomputed(encoder, name, who)
    return dict.fromkeys(names, side)


def _refuse_recomputed(encoder: nn.Module, name: str, who: str) -> None:
    """Refuse what a block of mmseg's recomputes, which SAMUS's own recomputation takes care of."""
    for place in range(1, name.count(".") + 1):
        block = ".".join(name.split(".")[:place])
        if getattr(encoder.get_submodule(block), "with_cp", False):
            raise ConfigError(
                f"{who}: {name} lies in {block}, which runs twice in training (with_cp=True), and "
                "a batch would count twice; wants with_cp=False, or a place around that block"
            )


def _hook(module: nn.Module, when: str, insert: Any) -> Any:
    if when == "before":
        return module.register_forward_pre_hook(insert.before)
    return module.register_forward_hook(insert.after)


class _Probe:
    """Stands where an insert will, and notes the shape of what passes."""

    shape: tuple[int, ...] | None = None

    def before(self, host: nn.Module, inputs: tuple) -> None:
        self._note(inputs[0] if inputs else None)

    def after(self, host: nn.Module, inputs: tuple, output: Any) -> None:
        self._note(output)

    def _note(self, x: Any) -> None:
        self.shape = tuple(x.shape) if isinstance(x, Tensor) else None


def _shapes(encoder: nn.Module, places: Sequence[tuple]) -> list[tuple[int, ...]]:
    """The shapes at some places for two images, found by a call without numbers."""
    probes = [_Probe() for _ in places]
    handles = [
        _hook(encoder.get_submodule(host), when, probe)
        for (_, host, when), probe in zip(places, probes, strict=True)
    ]
    size = getattr(encoder, "img_size", 256)
    channels = next((m.in_channels for m in encoder.modules() if isinstance(m, nn.Conv2d)), 3)
    images = torch.zeros(2, channels, size, size, device="meta")
    try:
        # Weights that want gradients: what follows from them alone is then not kept.
        weights = {
            name: torch.empty_like(weight, device="meta", requires_grad=True)
            for name, weight in encoder.named_parameters()
        }
        buffers = {
            name: torch.empty_like(buffer, device="meta")
            for name, buffer in encoder.named_buffers()
        }
        with torch.enable_grad():
            torch.func.functional_call(encoder, weights | buffers, (images,))
    finally:
        for handle in handles:
            handle.remove()
    for (cfg, host, when), probe in zip(places, probes, strict=True):
        if probe.shape is None or len(probe.shape) not in LAYOUTS.values():
            raise ConfigError(
                f"inserts: {cfg['type']}: {when} {host} of {type(encoder).__name__}, found "
                f"{'no tensor' if probe.shape is None else probe.shape}, wants features "
                "(N, C, H, W), (N, H, W, C) or (N, L, C); name another place (at, when)"
            )
    return [probe.shape for probe in probes]


def _layout(encoder: nn.Module, cfg: dict, host: str, shape: tuple[int, ...]) -> str:
    said = cfg.get("layout") or getattr(encoder.get_submodule(host), "layout", None)
    layout = said or ("nlc" if len(shape) == 3 else "nchw")
    if LAYOUTS.get(layout) != len(shape):
        raise ConfigError(
            f"inserts: {cfg['type']}: found layout={layout!r} for {host} with {shape}, wants one "
            f"of {', '.join(name for name, dims in LAYOUTS.items() if dims == len(shape))}"
        )
    return layout
