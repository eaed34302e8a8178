"""What a part says of itself, and the check that the parts of a model fit together.

An image encoder says ``out_channels`` (of the map that a decoder reads), ``stride`` (pixels of the
input for one place of it) and, where its ``forward`` takes ``num_frames``, what it ``sees``:
"frame", each by itself, or "clip". Another part of the path that lets frames see each other says
``sees = "clip"`` too. Prompt heads and decoders say ``embed_dims``, prompt heads also ``stride``.

A part whose weights are published under other names says so by ``published``, a tuple of `KeyMap`;
``fit_published(weights) -> weights`` of it, if there, fits them to its sizes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.registry import Registry
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.registry import parameters_of

SIGHTS = ("frame", "clip")


@dataclass(frozen=True)
class KeyMap:
    """How published files name weights of a part, and which of the part's weights they have.

    Attributes:
        claims: What the part's keys begin with in a file (a regular expression), and what they
            begin with in the part (as for `re.sub`); None: they have no effect here. The first
            that fits counts.
        renames: What stands anywhere else in these keys, and what stands for it in the part; all
            are replaced, in this order.
        holds: Which keys of the part (a regular expression) a file has all of, or none: then they
            stay as initialised. What no map of a part holds goes together by modules.
        name: Of these keys in the log; None is the part's.
        alone: A key by which a dictionary with the part alone is known, as some files have one for
            each part, and what its keys begin with in files that have all parts in one.
    """

    claims: Mapping[str, str | None] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)
    holds: str = ".*"
    name: str | None = None
    alone: Mapping[str, str] = field(default_factory=dict)


def takes_frames(encoder: nn.Module) -> bool:
    """Whether an encoder is called with ``num_frames``, which its forward or an insert takes."""
    return hasattr(encoder, "inserts") or "num_frames" in _parameters(type(encoder).forward)


def encode(encoder: nn.Module, images: Tensor, num_frames: int) -> Any:
    """Call an encoder on images (N, C, H, W), with ``num_frames`` where it takes that."""
    return encoder(images, num_frames=num_frames) if takes_frames(encoder) else encoder(images)


def sees(model: nn.Module) -> str:
    """Say "clip" where the result of a frame depends on other frames, else "frame"."""
    return "clip" if any(getattr(part, "sees", "") == "clip" for part in _parts(model)) else "frame"


def sized(cfg: dict, registry: Registry, encoder: nn.Module) -> dict:
    """Give a prompt head or a decoder the sizes of the encoder that its config does not give.

    Args:
        cfg: Of the part.
        registry: Where its type is found.
        encoder: Says ``out_channels`` and ``stride``, and ``img_size`` where it has one.

    Returns:
        The config with ``embed_dims``, ``img_size`` and ``embedding_size``, where the part takes
        them.
    """
    kind = cfg.get("type")
    part = registry.get(kind) if isinstance(kind, str) else kind
    channels, stride = getattr(encoder, "out_channels", None), getattr(encoder, "stride", None)
    sizes = {} if channels is None else {"embed_dims": channels}
    if stride is not None:
        # Only the stride matters where the encoder has no nominal size.
        size = cfg.get("img_size") or getattr(encoder, "img_size", 64 * stride)
        sizes |= {"img_size": size, "embedding_size": size // stride}
    taken = (parameters_of(part) or ()) if inspect.isclass(part) else ()
    return {**{name: size for name, size in sizes.items() if name in taken}, **cfg}


def check_parts(model: nn.Module) -> None:
    """Check that the parts of a segmentor fit together; the end of its constructor calls this.

    Args:
        model: Has ``backbone``; its ``prompt_head`` and ``decoder`` are compared with that.

    Raises:
        ConfigError: An encoder with prompts does not say its sizes, one that takes clips does not
            say what it sees, or two parts differ.
    """
    encoder = model.backbone
    name = type(encoder).__name__
    for part in model.children():
        published = getattr(part, "published", ())
        if not isinstance(published, tuple) or not all(isinstance(m, KeyMap) for m in published):
            raise ConfigError(
                f"{type(part).__name__}: found published={published!r}, wants a tuple of KeyMap"
            )
    if takes_frames(encoder) and getattr(encoder, "sees", None) not in SIGHTS:
        raise ConfigError(
            f"{name}: found sees={getattr(encoder, 'sees', None)!r}, wants one of {SIGHTS}, as its "
            "forward takes num_frames; say whether frames of a clip see each other"
        )
    for part_name in ("prompt_head", "decoder"):
        part = getattr(model, part_name, None)
        for own, theirs in (("embed_dims", "out_channels"), ("stride", "stride")):
            wanted = getattr(part, own, None)
            if wanted is None:
                continue
            found = getattr(encoder, theirs, None)
            if found is None:
                raise ConfigError(
                    f"{name}: does not say its {theirs}, wants {wanted}, {own} of the {part_name} "
                    f"{type(part).__name__}; set {theirs} in its constructor"
                )
            if found != wanted:
                raise ConfigError(
                    f"{name}: found {theirs}={found}, wants {wanted}, {own} of the {part_name} "
                    f"{type(part).__name__}; leave its sizes out of the config, they follow from "
                    "the backbone's"
                )


def _parts(model: nn.Module) -> list[nn.Module]:
    return [part for part in model.modules() if part is not model]


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)
