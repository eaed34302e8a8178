"""Where films lie, and the clips that are cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from echozoo.datasets.info import Info


class FrameFiles(NamedTuple):
    """Where a frame of a film and its mask lie.

    Attributes:
        image: The image file; frames of one file share a grid.
        label: The mask file, or None for a frame without labels.
        index: Of the frame in the image file.
        label_index: Of its mask in the mask file; None where that has as many frames as the image,
            in the same order.
    """

    image: str
    label: str | None
    index: int
    label_index: int | None = None

    @property
    def aligned(self) -> bool:
        """Whether the mask file goes frame by frame with the image file."""
        return self.label_index is None

    @property
    def index_in_label(self) -> int:
        """Index of the mask in the mask file."""
        return self.index if self.label_index is None else self.label_index


@dataclass(frozen=True)
class FilmFiles:
    """Where the frames of one view of one patient and their masks lie, in temporal order.

    Attributes:
        patient, view: Where it is from.
        frame_files: For each frame its files.
        instants: For each frame "ED", "ES" or "".
        quality: "Good", "Medium", "Poor", or None where nobody says.
        sequence: Name of the film; patient and view where the patient has one film a view.
        info: What the data set says of it, its ejection fraction above all; None where nothing.
    """

    patient: str
    view: str
    frame_files: tuple[FrameFiles, ...]
    instants: tuple[str, ...]
    quality: str | None = None
    sequence: str = ""
    info: Info | None = None

    def __len__(self) -> int:
        return len(self.frame_files)

    @property
    def labelled(self) -> tuple[int, ...]:
        """The frames that have a mask."""
        return tuple(frame for frame, files in enumerate(self.frame_files) if files.label)

    @property
    def ends(self) -> tuple[int, int]:
        """The frames of ED and ES; the first and the last where it has not both."""
        if {"ED", "ES"} <= {*self.instants}:
            return self.instants.index("ED"), self.instants.index("ES")
        return 0, len(self) - 1

    def labelled_at_ends(self) -> FilmFiles:
        """The film without the masks of other frames than ED and ES."""
        files = tuple(
            one if frame in self.ends else one._replace(label=None)
            for frame, one in enumerate(self.frame_files)
        )
        return replace(self, frame_files=files)

    def clip(self, frames: tuple[int, ...]) -> dict:
        """The fields of a data sample that say which frames these are."""
        return {
            "patient": self.patient,
            "view": self.view,
            "sequence": self.sequence or f"{self.patient}_{self.view}",
            "quality": self.quality,
            "info": self.info,
            "frames": frames,
            "instants": tuple(self.instants[frame] for frame in frames),
            "frame_files": tuple(self.frame_files[frame] for frame in frames),
        }


def random_window(
    length: int,
    clip_length: int | None,
    stride: int,
    rng: np.random.Generator,
    wanted: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Frames of a clip at a random place of a film.

    Args:
        length: Frames of the film.
        clip_length: Frames of the clip; None for as many as the film has.
        stride: Frames from one to the next.
        rng: Where the place is drawn from.
        wanted: Frames of which the clip shows at least one; None for any.

    Returns:
        Indices; a film too short for the clip is played to and fro from its first frame.
    """

    def window(start: int) -> tuple[int, ...]:
        if clip_length is None:
            return tuple(range(start, length, stride))
        return _to_and_fro(range(start, start + clip_length * stride, stride), length)

    starts = range(min(stride, length))
    if clip_length is not None:
        starts = range(max(length - (clip_length - 1) * stride, 1))
    if wanted is not None and len(wanted) < length:
        # Where a long stride passes all of them by, the clip begins with one and comes back.
        starts = [start for start in starts if set(wanted) & {*window(start)}] or wanted
    return window(int(starts[int(rng.integers(len(starts)))]))


def spread_window(ends: tuple[int, int], clip_length: int | None) -> tuple[int, ...]:
    """Frames spread evenly from one end to the other, which may be the earlier one.

    Args:
        ends: First and last frame of the clip.
        clip_length: Frames of the clip; more than there are come twice. None for all.
    """
    count = clip_length or abs(ends[1] - ends[0]) + 1
    return tuple(np.rint(np.linspace(*ends, count)).astype(int).tolist())


def tiling_windows(
    length: int, clip_length: int | None, stride: int, reach: int | None = 0
) -> list[tuple[int, ...]]:
    """Clips that show every frame of a film at least once.

    With a stride s the film is taken apart into s films (frames 0, s, 2s, …; 1, s + 1, …), and
    each is tiled; the last clip of each is shifted back to end with it, so that only its frames
    and those of a film shorter than a clip come twice.

    Args:
        length: Frames of the film.
        clip_length: Frames of a clip; None for one clip a film.
        stride: Frames from one to the next.
        reach: Neighbours in time on each side that a frame's result depends on, where logits are
            smoothed: clips overlap by twice as many, so that testing and use give one result.
            None, or more than a clip has, is as many as leave one or two of its frames to count.

    Returns:
        Indices of each clip.
    """
    windows = []
    for phase in range(min(stride, length)):
        frames = tuple(range(phase, length, stride))
        size = clip_length or len(frames)
        if len(frames) <= size:
            places = _to_and_fro(range(size), len(frames))
            windows.append(tuple(frames[place] for place in places))
            continue
        most = (size - 1) // 2
        step = size - 2 * (most if reach is None else min(reach, most))
        starts = [*range(0, len(frames) - size, step), len(frames) - size]
        windows += [frames[start : start + size] for start in starts]
    return windows


def _to_and_fro(indices: range, length: int) -> tuple[int, ...]:
    """Reflect indices at the ends of a film: 0 1 2 1 0 1 … for three frames."""
    if length == 1:
        return (0,) * len(indices)
    period = 2 * (length - 1)
    return tuple(min(i % period, period - i % period) for i in indices)
