"""Frames that several clips of a film show: whose result counts, in tests and in use."""

from __future__ import annotations

from collections.abc import Sequence


def rank(clip: Sequence[int], frame: int) -> tuple:
    """How well a clip shows one of its frames; of several clips, the lowest rank counts.

    That is the clip that shows most frames on both sides of it, then the one that starts first: a
    rule that the order of clips does not enter.

    Args:
        clip: Places in the film of its T frames.
        frame: One of them.
    """
    place = tuple(clip).index(frame)
    return -min(place, len(clip) - 1 - place), tuple(clip)


def own_frames(clips: Sequence[Sequence[int]]) -> list[list[int]]:
    """For each of several clips the frames whose result is taken from it, in their order.

    Args:
        clips: Places in the film; every frame of the film is in one of them.
    """
    best: dict[int, int] = {}
    for number, clip in enumerate(clips):
        for frame in clip:
            other = best.get(frame)
            if other is None or rank(clip, frame) < rank(clips[other], frame):
                best[frame] = number
    own: list[list[int]] = [[] for _ in clips]
    for frame in sorted(best):
        own[best[frame]].append(frame)
    return own
