"""Prompts of a film: what a person clicked, or what a mask says, checked and ready to decode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from echozoo.apis.model import Embedding, LoadedModel
from echozoo.datasets.anatomy import label_values
from echozoo.datasets.transforms.prompts import BoxPrompts, PointPrompts
from echozoo.errors import ConfigError
from echozoo.films.film import EchoFilm

# A structure moves a little from frame to frame, and may be growing.
_BOX_MARGIN = 0.03


@dataclass(frozen=True)
class StructurePrompt:
    """What is known of one structure in one frame, in native pixels.

    Attributes:
        points: (P, 2), (x, y); P may be 0.
        labels: (P,): 1 foreground, 0 background.
        box: (x1, y1, x2, y2), or None.
        mask: (H0, W0) bool, or None.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None = None
    mask: np.ndarray | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of prompts that are given."""
        given = {
            "points": len(self.points) > 0,
            "boxes": self.box is not None,
            "masks": self.mask is not None,
        }
        return tuple(kind for kind, there in given.items() if there)


def make_prompt(
    points: Sequence | np.ndarray = (),
    labels: Sequence | np.ndarray | None = None,
    box: Sequence | np.ndarray | None = None,
    mask: np.ndarray | None = None,
    name: str = "prompt",
) -> StructurePrompt:
    """Make a prompt of numbers that a person gave.

    Args:
        points: P pairs (x, y).
        labels: P labels, 1 foreground or 0 background; all foreground where None.
        box: (x1, y1, x2, y2), corners in any order.
        mask: (H0, W0) bool.
        name: What the prompt is called in errors.

    Raises:
        ConfigError: They are no numbers of that form.
    """
    try:
        points = np.array(points, np.float32).reshape(-1, 2)
        labels = np.ones(len(points)) if labels is None else np.array(labels, float).reshape(-1)
        box = None if box is None else np.array(box, np.float32).reshape(4)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name}: wanted points as pairs (x, y), a label each, and a box as four numbers"
            f" (x1, y1, x2, y2): {error}"
        ) from error
    if len(labels) != len(points) or not np.isin(labels, (0, 1)).all():
        raise ConfigError(
            f"{name}: {len(points)} points and labels {labels.tolist()}, wanted one label a point,"
            " 1 for the structure or 0 for what is not"
        )
    if box is not None:
        corners = box.reshape(2, 2)
        box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return StructurePrompt(points, labels.astype(np.int64), box, mask)


def check_prompt(
    loaded: LoadedModel, film: EchoFilm, frame: int, structure: str, prompt: StructurePrompt
) -> None:
    """Refuse a prompt that the model or the film cannot take.

    Raises:
        ConfigError: The film has no such frame, the model does not know the structure or this
            kind of prompt, a click lies outside the image, or there is no prompt at all.
    """
    check_frame(film, frame)
    if structure not in loaded.structures:
        raise ConfigError(
            f"{film.name}: no structure {structure!r} in this model; it knows"
            f" {', '.join(loaded.structures)}"
        )
    unknown = [kind for kind in prompt.kinds if kind not in loaded.understands]
    if unknown or not prompt.kinds:
        found = " and ".join(unknown) or "nothing"
        raise ConfigError(
            f"{film.name}: {found} given for {structure}, this model was trained with"
            f" {' or '.join(loaded.understands)}"
        )
    height, width = film.size
    places = [*prompt.points, *([] if prompt.box is None else prompt.box.reshape(2, 2))]
    for x, y in places:
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise ConfigError(
                f"{film.name}: ({x:g}, {y:g}) for {structure} lies outside the image of"
                f" {width} x {height} pixels; (x, y) count from (0, 0) at the top left"
            )
    if prompt.box is not None and (prompt.box[2:] - prompt.box[:2] < 1).any():
        raise ConfigError(f"{film.name}: the box for {structure} is empty; give two corners")
    if prompt.mask is not None and prompt.mask.shape != film.size:
        raise ConfigError(
            f"{film.name}: mask of {prompt.mask.shape} for {structure}, wanted {film.size}"
        )


def check_frame(film: EchoFilm, frame: int) -> None:
    """Refuse a frame that a film does not have.

    Raises:
        ConfigError: It has not.
    """
    if isinstance(frame, bool) or not isinstance(frame, (int, np.integer)):
        raise ConfigError(f"{film.name}: frame {frame!r}, wanted a whole number")
    if not 0 <= frame < film.num_frames:
        raise ConfigError(f"{film.name}: frame {frame} wanted, it has 0 to {film.num_frames - 1}")


def prompts_from_masks(
    masks: Mapping[str, np.ndarray], kinds: Sequence[str], margin: float = _BOX_MARGIN
) -> dict[str, StructurePrompt]:
    """Turn masks into the prompts that would have led to them.

    A point lies where the mask is widest; a box is a little larger than the mask.

    Args:
        masks: (H0, W0) bool by structure; empty ones give no prompt.
        kinds: Of "points", "boxes", "masks": what to make.
        margin: What a box adds on each side, as a part of its size.
    """
    prompts = {}
    for name, mask in masks.items():
        if mask.any():
            clip = {"images": mask[None], "labels": mask[None].astype(np.uint8)}
            clip |= {"structures": (name,), "sequence": "", "rng": None}
            PointPrompts("farthest_from_edge").transform(clip)
            BoxPrompts().transform(clip)
            points = clip["points"][0, 0] if "points" in kinds else ()
            box = _wider(clip["boxes"][0, 0], margin, mask.shape) if "boxes" in kinds else None
            prompts[name] = make_prompt(points, None, box, mask if "masks" in kinds else None)
    return prompts


def _wider(box: np.ndarray, margin: float, size: tuple[int, int]) -> np.ndarray:
    extra = margin * np.tile(box[2:] - box[:2], 2) * [-1, -1, 1, 1]
    last = np.array([size[1] - 1, size[0] - 1] * 2)
    # A structure of one pixel has a box too.
    return np.clip(box + extra + [-0.5, -0.5, 0.5, 0.5], 0, last)


def decode_frame(
    loaded: LoadedModel, embedding: Embedding, prompts: Mapping[str, StructurePrompt]
) -> dict[str, Tensor]:
    """Decode the prompted structures of one frame.

    Returns:
        Logits (H0, W0) on the film's grid, by structure.
    """
    # Points are not padded to the most of a frame: a mask depends on its own prompt alone.
    groups: dict[tuple, list[str]] = {}
    for name, prompt in prompts.items():
        groups.setdefault((prompt.kinds, len(prompt.points)), []).append(name)
    logits = {}
    for (kinds, _), names in groups.items():
        stacked = _stack([prompts[name] for name in names], kinds)
        low = loaded.decode(embedding, **stacked, structures=names)
        native = loaded.to_native(low, embedding.meta)
        logits |= dict(zip(names, native[0], strict=True))  # (1, K, H0, W0)
    return logits


def _stack(prompts: Sequence[StructurePrompt], kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """Prompts of the same kinds, with equally many points, for the K structures of one frame."""
    fields = {"points": ("points", "labels"), "boxes": ("box",), "masks": ("mask",)}
    arguments = {"points": "points", "labels": "labels", "box": "boxes", "mask": "masks"}
    return {
        arguments[field]: np.stack([getattr(prompt, field) for prompt in prompts])[None]
        for kind in kinds
        for field in fields[kind]
    }


def label_map(loaded: LoadedModel, film: EchoFilm, logits: Mapping[str, Tensor]) -> np.ndarray:
    """Join logits (H0, W0) by structure into one map of CAMUS's labels, (H0, W0) uint8.

    The model's postprocessing of masks is done; where masks overlap, the structure with the
    highest logit stands.
    """
    if not logits:
        return np.zeros(film.size, np.uint8)
    values = np.array([label_values([name])[1] for name in logits], np.uint8)
    scores = torch.stack(list(logits.values())).cpu().numpy()  # (K, H0, W0)
    chain = loaded.model.postprocessing
    masks = chain.clean(scores[None] > 0, tuple(logits), film.spacing)[0]  # (K, H0, W0)
    best = np.where(masks, scores, -np.inf).argmax(axis=0)  # (H0, W0)
    return np.where(masks.any(axis=0), values[best], 0).astype(np.uint8)
