"""Films in temporal order, from ED to ES, and the clips that are cut from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echozoo.datasets.info import Info
from echozoo.datasets.layout import ViewFiles
from echozoo.films.io import read_shape


@dataclass(frozen=True)
class Film:
    """The labelled frames of one view of one patient, in temporal order.

    Attributes:
        patient, view: Where it is from.
        quality: "Good", "Medium", "Poor", or None where no Info file says.
        frame_files: For each frame the image file, the mask file and the index in both.
        instants: For each frame "ED", "ES" or "".
    """

    patient: str
    view: str
    quality: str | None
    frame_files: tuple[tuple[str, str, int], ...]
    instants: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frame_files)

    def clip(self, frames: tuple[int, ...]) -> dict:
        """The fields of a data sample that say which frames these are."""
        return {
            "patient": self.patient,
            "view": self.view,
            "sequence": f"{self.patient}_{self.view}",
            "quality": self.quality,
            "frames": frames,
            "instants": tuple(self.instants[frame] for frame in frames),
            "frame_files": tuple(self.frame_files[frame] for frame in frames),
        }


def still_film(files: ViewFiles, info: Info) -> Film:
    """The ED and ES images that have masks, as a film of at most two frames (0 ED, 1 ES)."""
    stills = {key: pair for key, pair in files.stills.items() if pair.label}
    return Film(
        files.patient,
        files.view,
        info.quality,
        tuple((str(pair.image), str(pair.label), 0) for pair in stills.values()),
        tuple(stills),
    )


def sequence_film(files: ViewFiles, info: Info) -> tuple[Film, bool]:
    """The sequence of a view that has one, with masks; from ED to ES, whichever way it is stored.

    Frame 0 of the film is its first frame in time after flipping. Where the Info file says ED
    after ES, the film is stored backwards.

    Returns:
        The film, and whether ED and ES are where the Info file says. Where it says nothing, or
        frames that the film does not have, they are its first and last frame.

    Raises:
        DataError: The sequence's header cannot be read.
    """
    length = read_shape(files.film.image)[0]
    ed, es = info.ed, info.es
    known = ed is not None and es is not None and ed != es and max(ed, es) < length
    flipped = ed is not None and es is not None and ed > es
    order = range(length)[::-1] if flipped else range(length)
    marks = {order.index(ed): "ED", order.index(es): "ES"} if known else {length - 1: "ES", 0: "ED"}
    image, label = (str(path) for path in files.film)
    film = Film(
        files.patient,
        files.view,
        info.quality,
        tuple((image, label, index) for index in order),
        tuple(marks.get(position, "") for position in range(length)),
    )
    return film, known


def random_window(
    length: int, clip_length: int | None, stride: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """Frames of a clip at a random place of a film.

    Args:
        length: Frames of the film.
        clip_length: Frames of the clip; None for as many as the film has.
        stride: Frames from one to the next.
        rng: Where the place is drawn from.

    Returns:
        Indices; a film too short for the clip is played to and fro from its first frame.
    """
    if clip_length is None:
        return tuple(range(int(rng.integers(min(stride, length))), length, stride))
    span = (clip_length - 1) * stride + 1
    start = int(rng.integers(max(length - span, 0) + 1))
    return _to_and_fro(range(start, start + span, stride), length)


def tiling_windows(length: int, clip_length: int | None, stride: int) -> list[tuple[int, ...]]:
    """Clips that show every frame of a film at least once.

    With a stride s the film is taken apart into s films (frames 0, s, 2s, …; 1, s + 1, …), and
    each is tiled; the last clip of each is shifted back to end with it, so that only its frames
    and those of a film shorter than a clip come twice.

    Args:
        length: Frames of the film.
        clip_length: Frames of a clip; None for one clip a film.
        stride: Frames from one to the next.

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
        starts = [*range(0, len(frames) - size, size), len(frames) - size]
        windows += [frames[start : start + size] for start in starts]
    return windows


def _to_and_fro(indices: range, length: int) -> tuple[int, ...]:
    """Reflect indices at the ends of a film: 0 1 2 1 0 1 … for three frames."""
    if length == 1:
        return (0,) * len(indices)
    period = 2 * (length - 1)
    return tuple(min(i % period, period - i % period) for i in indices)
