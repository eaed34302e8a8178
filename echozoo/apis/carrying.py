"""Masks of one frame carried through a film: each frame is prompted by its neighbour."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import cv2
import numpy as np

from echozoo.apis.prompts import StructurePrompt, check_frame, prompts_from_masks
from echozoo.datasets.anatomy import join_masks, split_labels
from echozoo.errors import ConfigError
from echozoo.films.film import EchoFilm

Prompts = Mapping[str, StructurePrompt]
Masks = Mapping[str, np.ndarray]
Segment = Callable[[int, Prompts], np.ndarray]


def carry(
    film: EchoFilm,
    segment: Segment,
    kinds: Sequence[str],
    frame: int,
    masks: Mapping[str, np.ndarray],
    prompts: Prompts | None = None,
    others: Mapping[int, Masks] | None = None,
    reach: range | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Carry masks through a film: forwards from a frame to the end, then backwards.

    Where other frames are marked too, each frame is reached from the marked one that is nearest to
    it: between two of them, each is carried half the way.

    Of a mask in pieces, the piece that was prompted is carried; further on, the piece that lies
    most on the mask before. A structure that is lost keeps the mask of the last frame it was seen
    in, and is found again where it comes back.

    Args:
        film: The film.
        segment: Gives the label map (H0, W0) of a frame from prompts by structure.
        kinds: Of "points", "boxes", "masks": what a mask is turned into for the next frame.
        frame: The frame that the masks belong to; it keeps them as they are.
        masks: (H0, W0) bool by structure; empty ones are left out.
        prompts: What the masks were made from; a structure without one is carried whole.
        others: Masks (H0, W0) bool of other frames that a person has marked; these keep them. They
            count where they have all structures that are carried, empty or not.
        reach: The frames to go through, ``frame`` among them; None is the whole film.

    Yields:
        Frame index and label map (H0, W0) uint8 with CAMUS's labels, the given frame first, every
        frame of the reach once.

    Raises:
        ConfigError: There is no such frame, or all masks are empty.
    """
    check_frame(film, frame)
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    if not masks:
        raise ConfigError(f"{film.name}: frame {frame} has no mask to carry; segment it")
    reach = range(film.num_frames) if reach is None else reach
    known = {
        index: {name: marked[name] for name in masks}
        for index, marked in (others or {}).items()
        if index in reach and masks.keys() <= marked.keys()
    }
    known[frame] = masks
    for start in sorted(known, key=lambda index: abs(index - frame)):
        yield start, join_masks(known[start])
        given = dict(known[start])
        for name in given.keys() & (prompts or {}) if start == frame else ():
            given[name] = prompted_piece(given[name], prompts[name])
        for way in (1, -1):
            before = dict(given)
            for index in _stretch(start, way, known, reach):
                labels = segment(index, prompts_from_masks(before, kinds))
                yield index, labels
                for name, mask in split_labels(labels, tuple(masks)).items():
                    piece = same_structure(mask, before[name])
                    before[name] = piece if piece.any() else before[name]


def _stretch(start: int, way: int, known: Collection[int], reach: range) -> range:
    """Frames on one side of a known one that are nearer to it than to the next known one."""
    next_ones = [way * (index - start) for index in known if way * (index - start) > 0]
    edge = reach[-1] - start if way > 0 else start - reach[0]
    # A frame in the middle is reached from the earlier one.
    steps = (min(next_ones) - (way < 0)) // 2 if next_ones else edge
    return range(start + way, start + way * (steps + 1), way)


def prompted_piece(mask: np.ndarray, prompt: StructurePrompt) -> np.ndarray:
    """Keep the piece of a mask (H0, W0) that was clicked on, or lies most in the box.

    Where no piece was, all of the mask.
    """
    meant = np.zeros_like(mask) if prompt.mask is None else prompt.mask.copy()
    if prompt.box is not None:
        x1, y1, x2, y2 = np.rint(prompt.box).astype(int).clip(0)
        meant[y1 : y2 + 1, x1 : x2 + 1] = True
    clicks = prompt.points[prompt.labels == 1]
    for x, y in np.rint(clicks).astype(int).clip(0, np.array(mask.shape[::-1]) - 1):
        meant[y, x] = True
    piece = same_structure(mask, meant)
    return piece if piece.any() else mask


def same_structure(mask: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Keep the piece of a mask (H0, W0) that lies most on the mask of the frame before.

    Returns:
        (H0, W0) bool, empty where no piece touches that mask.
    """
    pieces = cv2.connectedComponents(mask.astype(np.uint8))[1]  # (H0, W0), 0 outside
    shared = np.bincount(pieces[before & mask], minlength=1)
    return pieces == shared.argmax() if shared.any() else np.zeros_like(mask)
