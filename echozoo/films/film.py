"""Films from files of any kind, or from arrays, read a range of frames at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echozoo.errors import DataError
from echozoo.films.facts import Facts
from echozoo.films.files import is_dicom_file, open_file
from echozoo.films.geometry import Geometry
from echozoo.films.levels import Reader, as_grey, as_labels
from echozoo.films.readers.arrays import open_array
from echozoo.films.readers.dicom import open_dicom
from echozoo.films.readers.metaimage import open_metaimage
from echozoo.films.readers.nifti import open_nifti
from echozoo.films.readers.pictures import open_picture
from echozoo.films.readers.source import COLOUR_NOTE, FrameSource, share_of_colour
from echozoo.films.readers.video import open_video

SUFFIXES = (
    *(".nii.gz", ".nii", ".mhd", ".mha", ".dcm", ".dicom", ".ima"),
    *(".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".ts", ".m2ts"),
    *(".png", ".jpg", ".jpeg"),
)
NO_SPACING = "no spacing known: pixels reported, no ml"
_SMALLEST = 8
_LOOKED_AT = 8  # frames that are searched for colour
_OPENERS: dict[str, Callable[..., FrameSource]] = {
    "nifti": open_nifti,
    "metaimage": open_metaimage,
    "dicom": open_dicom,
    "video": open_video,
    "picture": open_picture,
}


@dataclass
class EchoFilm:
    """A film whose frames are read when they are wanted; a still image has one.

    Attributes:
        name: Name of its file without the suffix.
        path: Its file, None for an array.
        num_frames: T.
        size: (H, W).
        spacing: (dy, dx) mm a pixel, None where unknown.
        frame_time_ms: Time from one frame to the next, the mean where it is uneven, None where
            unknown.
        geometry: Where label maps of it lie in space.
        notes: What a user should know, one line each.
        frame_times_ms: When each frame begins (T,), from 0, where that is uneven; else None.
        coloured: Share of pixels with a strong colour, in the most coloured of some frames.
        facts: What its header says of it besides, None where it has none.
        whole: The film that this one is the sector of, None where it is the whole of its file's.
        place: Row and column of its first pixel in that.
    """

    name: str
    path: Path | None
    num_frames: int
    size: tuple[int, int]
    spacing: tuple[float, float] | None
    frame_time_ms: float | None
    geometry: Geometry
    notes: list[str] = field(default_factory=list)
    frame_times_ms: np.ndarray | None = field(default=None, repr=False)
    _read: Reader | None = field(default=None, repr=False)
    coloured: float = 0.0
    facts: Facts | None = field(default=None, repr=False)
    whole: EchoFilm | None = field(default=None, repr=False)
    place: tuple[int, int] = (0, 0)

    def inside(self, images: np.ndarray) -> np.ndarray:
        """The part (..., H, W) of images or labels of its file's size that this film shows."""
        (top, left), (height, width) = self.place, self.size
        return images[..., top : top + height, left : left + width]

    def put_back(self, labels: np.ndarray) -> np.ndarray:
        """Label maps (..., H, W) of this film as those of its file's size, 0 all around."""
        if self.whole is None:
            return labels
        all_of_it = np.zeros((*labels.shape[:-2], *self.whole.size), labels.dtype)
        self.inside(all_of_it)[...] = labels
        return all_of_it

    def frames(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Read frames; only this range is in memory.

        Args:
            start: First frame, from 0.
            stop: The frame after the last one; None for the end of the film.

        Returns:
            (n, H, W) uint8.

        Raises:
            DataError: The film has no such frames, or they cannot be decoded.
        """
        stop = self.num_frames if stop is None else stop
        if not 0 <= start < stop <= self.num_frames:
            raise DataError(
                f"{self.name}: frames {start} to {stop - 1} wanted, it has 0 to"
                f" {self.num_frames - 1}"
            )
        if self._read is None:
            raise DataError(f"{self.name}: this film was closed; open it again")
        return self._read(start, stop)

    def time_ms(self, frame: int) -> float | None:
        """When a frame begins, from 0 at the first one; None where unknown."""
        if self.frame_times_ms is not None:
            return float(self.frame_times_ms[frame])
        return frame * self.frame_time_ms if self.frame_time_ms else None

    def close(self) -> None:
        """Let go of the file and of what was unpacked from it; what is known of it stays."""
        self._read = None
        if self.whole is not None:
            self.whole.close()


def open_film(
    source: str | Path | np.ndarray,
    spacing: tuple[float, float] | None = None,
    frame_time_ms: float | None = None,
    max_bytes: int | None = None,
    labels: bool = False,
) -> EchoFilm:
    """Open a film, a still image, or the label maps of one: for training and for inference.

    The first bytes say what a file is, its name does not. What its header says is checked and
    limited before its pixels are read; docs/files.md has the rules. Videos and packed files are
    unpacked once, into a temporary file that nobody sees; nothing else is read before it is
    wanted.

    Args:
        source: NIfTI, MetaImage (.mhd, .mha), DICOM, a video, PNG or JPEG, any of them packed by
            gzip; or an array (H, W) or (T, H, W).
        spacing: (dy, dx) mm a pixel, in place of what the file says.
        frame_time_ms: Time from one frame to the next, in place of what the file says.
        max_bytes: The most bytes that its pixels may take; None is the environment's
            ECHOZOO_MAX_FILM_GB, or 2 GB.
        labels: Whether it holds labels: its frames are the values as stored.

    Raises:
        DataError: It is absent, empty, damaged, too large, of no known kind, has no frames, other
            dimensions, or values that are no grey levels (or no labels).
        EchoZooError: A package that reads this kind is not installed.
    """
    if isinstance(source, np.ndarray):
        path, name, frames = None, "array", open_array(source)
    else:
        path = Path(source).expanduser()
        file = open_file(path, max_bytes)
        name, frames = film_name(path), _OPENERS[file.kind.partition(":")[0]](file)
    if min(frames.size) < _SMALLEST:
        raise DataError(
            f"{path or name}: frames of {frames.size[0]} x {frames.size[1]} pixels, wanted"
            f" {_SMALLEST} x {_SMALLEST} or more"
        )
    for value in (*(spacing or ()), frame_time_ms or 1):
        if not (np.isfinite(value) and value > 0):
            raise DataError(f"{path or name}: spacing or frame time of {value:g}, wanted above 0")
    read = (as_labels if labels else as_grey)(path or name, frames)
    return _film(name, path, frames, read, spacing, frame_time_ms)


def _film(
    name: str,
    path: Path | None,
    frames: FrameSource,
    read: Reader,
    told: Sequence[float] | None,
    frame_time_ms: float | None,
) -> EchoFilm:
    notes, geometry = list(frames.notes), frames.geometry
    spacing = (float(told[0]), float(told[1])) if told else frames.spacing
    if spacing is None:
        notes.append(NO_SPACING)
    if geometry is None:
        geometry = Geometry.upright(spacing or (1.0, 1.0), 3 if frames.num_frames > 1 else 2)
    elif told:
        geometry = geometry._replace(spacing=(spacing[1], spacing[0], *geometry.spacing[2:]))
    return EchoFilm(
        name=name,
        path=path,
        num_frames=frames.num_frames,
        size=tuple(frames.size),
        spacing=spacing,
        frame_time_ms=frame_time_ms or frames.frame_time_ms,
        frame_times_ms=None if frame_time_ms else frames.frame_times_ms,
        geometry=geometry,
        notes=notes,
        coloured=frames.coloured or _coloured(frames),
        _read=read,
    )


def _coloured(frames: FrameSource) -> float:
    """Look at some frames of a source that gives colours."""
    if COLOUR_NOTE not in frames.notes:
        return 0.0
    places = np.unique(np.linspace(0, frames.num_frames - 1, _LOOKED_AT).round().astype(int))
    some = (frames.read(place, place + 1)[0] for place in places)
    return max((share_of_colour(frame) for frame in some if frame.ndim == 3), default=0.0)


def film_name(path: Path) -> str:
    """The name of a file without the suffix of a film."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return path.name


def is_film_file(path: Path) -> bool:
    """Whether a file of a folder is taken for a film: by its suffix, or by being DICOM."""
    name = path.name.lower()
    if name.endswith(SUFFIXES):
        return True
    return ("." not in name or name.rsplit(".", 1)[1].isdigit()) and is_dicom_file(path)
