"""One side of a comparison in whichever process it runs: its network, its inputs, its memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from echozoo.benchmark import ours, reference
from echozoo.benchmark.inputs import make_batch
from echozoo.benchmark.memory import Memory, measure_memory
from echozoo.benchmark.reference import Reference, find_reference
from echozoo.benchmark.setting import Setting, Shape, Variant, build_model, outline
from echozoo.models import load_published
from echozoo.models.published_keys import group_of


@dataclass(frozen=True)
class Side:
    """A network that is ready to run.

    Attributes:
        network: With the weights that all sides share.
        run: Runs it once: a forward pass or a training step.
        own_parts: Parts of the config's model that the reference has no weights for.
    """

    network: nn.Module
    run: Callable[[], Tensor]
    own_parts: tuple[str, ...] = ()


def make_side(setting: Setting, variant: Variant | None, shape: Shape, share: bool = True) -> Side:
    """Build one side and its inputs.

    Args:
        setting: What is run.
        variant: Of the config's network; None is the reference.
        shape: Of the batch.
        share: Whether to give the network the weights that all sides share; where only memory is
            measured, those that it was made with do as well.
    """
    setting.enter()
    other = find_reference(setting)
    weights = _shared_weights(setting, other) if other and share else {}
    if variant is None:
        return _their_side(setting, other, shape, weights)
    model = build_model(setting)
    own_parts = _load(model, weights, other) if weights else ()
    ours.place_variant(model.train(setting.part == "train"), variant, setting)
    batch = make_batch(setting, model, shape)
    kind = ours.training_run if setting.part == "train" else ours.forward_run
    return Side(model, kind(model, batch, setting, variant), own_parts)


def side_memory(setting: Setting, variant: Variant | None, shape: Shape) -> Memory:
    """Measure the memory of one side in a process of its own.

    Args:
        setting: What is run.
        variant: Of the config's network; None is the reference.
        shape: Of the batch.
    """
    make = partial(_make_run, setting, variant, shape)
    return measure_memory(make, partial(_import_all, setting, variant), setting.device)


def _their_side(
    setting: Setting, other: Reference, shape: Shape, weights: dict[str, Tensor]
) -> Side:
    model = outline(setting)
    network = other.build(model)
    if weights:
        network.load_state_dict(weights)
    network.to(setting.device).train(setting.part == "train")
    batch = make_batch(setting, model, shape)
    if setting.part == "train":
        return Side(network, reference.training_run(other, network, batch, setting))

    @torch.no_grad()
    def run() -> Tensor:
        return other.forward(network, batch)

    return Side(network, run)


def _shared_weights(setting: Setting, other: Reference) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = other.build(outline(setting))
    return reference.random_weights(network, setting.seed)


def _load(model: nn.Module, weights: dict[str, Tensor], other: Reference) -> tuple[str, ...]:
    """Give the config's model the reference's weights; name the parts that have none."""
    named = {other.prefix + key: value for key, value in weights.items()}
    left = load_published(model, named, other.parts).left
    if other.parts:  # an encoder: what follows it is not run, except a neck
        left = tuple(key for key in left if key.startswith((*other.parts, "neck.")))
    return tuple(dict.fromkeys(map(group_of, left)))


def _make_run(setting: Setting, variant: Variant | None, shape: Shape) -> Callable[[], Tensor]:
    return make_side(setting, variant, shape, share=False).run


def _import_all(setting: Setting, variant: Variant | None) -> None:
    """Import what building and running a side imports, without memory for any weight."""
    setting.enter()
    other = find_reference(setting)
    model = outline(setting)
    if other:
        with torch.device("meta"):
            other.build(model)
    if variant and variant.compiled:
        torch.compile(torch.nn.Identity())(torch.ones(1))
