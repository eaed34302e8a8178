"""Films from files of any kind, or from arrays, read a range of frames at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echozoo.errors import DataError
from echozoo.films.integrity import check_present
from echozoo.films.io import Geometry
from echozoo.films.readers.dicom import is_dicom, open_dicom
from echozoo.films.readers.pictures import open_array, open_picture, open_video
from echozoo.films.readers.source import FrameSource
from echozoo.films.readers.volumes import open_mhd, open_nifti

SUFFIXES = (
    *(".nii.gz", ".nii", ".mhd", ".dcm", ".dicom", ".ima"),
    *(".avi", ".mp4", ".m4v", ".mov", ".png", ".jpg", ".jpeg"),
)
NO_SPACING = "no spacing known: pixels reported, no ml"
_SMALLEST = 8
_MAGIC = (
    (0, b"\x89PNG", "picture"),
    (0, b"\xff\xd8\xff", "picture"),
    (4, b"ftyp", "video"),
    (8, b"AVI ", "video"),
)
_OPENERS = {
    "nifti": open_nifti,
    "mhd": open_mhd,
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
        frame_time_ms: Time from one frame to the next, None where unknown.
        geometry: Where label maps of it lie in space.
        notes: What a user should know, one line each.
    """

    name: str
    path: Path | None
    num_frames: int
    size: tuple[int, int]
    spacing: tuple[float, float] | None
    frame_time_ms: float | None
    geometry: Geometry
    notes: list[str] = field(default_factory=list)
    _source: FrameSource | None = field(default=None, repr=False)

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
        if self._source is None:
            raise DataError(f"{self.name}: this film was closed; open it again")
        return self._source.read(start, stop)

    def close(self) -> None:
        """Let go of the file and of what was unpacked from it; what is known of it stays."""
        self._source = None


def open_film(
    source: str | Path | np.ndarray,
    spacing: tuple[float, float] | None = None,
    frame_time_ms: float | None = None,
    max_video_bytes: int | None = None,
) -> EchoFilm:
    """Open a film or a still image.

    The suffix says what a file is; without a known one its first bytes do (a DICOM file often has
    none). Videos and .nii.gz files are unpacked once, into a temporary file of H * W bytes a
    frame that nobody sees; nothing else is read before it is wanted.

    Args:
        source: NIfTI, .mhd, DICOM, AVI, MP4, PNG or JPEG, or an array (H, W) or (T, H, W).
        spacing: (dy, dx) mm a pixel, in place of what the file says.
        frame_time_ms: Time from one frame to the next, in place of what the file says.
        max_video_bytes: The most that a video may take unpacked; None sets no limit.

    Raises:
        DataError: It is absent, empty, truncated, has no frames, other dimensions or NaN pixels,
            or is of no known kind.
        EchoZooError: A package that reads this kind is not installed.
    """
    if isinstance(source, np.ndarray):
        path, name, frames = None, "array", open_array(source)
    else:
        path = Path(source).expanduser()
        kind = _kind_of(path)
        limit = {"max_bytes": max_video_bytes} if kind == "video" else {}
        name, frames = film_name(path), _OPENERS[kind](path, **limit)
    if min(frames.size) < _SMALLEST:
        raise DataError(
            f"{path or name}: frames of {frames.size[0]} x {frames.size[1]} pixels, wanted"
            f" {_SMALLEST} x {_SMALLEST} or more"
        )
    for value in (*(spacing or ()), frame_time_ms or 1):
        if not (np.isfinite(value) and value > 0):
            raise DataError(f"{path or name}: spacing or frame time of {value:g}, wanted above 0")
    return _film(name, path, frames, spacing, frame_time_ms)


def _film(
    name: str,
    path: Path | None,
    frames: FrameSource,
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
        geometry=geometry,
        notes=notes,
        _source=frames,
    )


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
    try:
        return ("." not in name or name.rsplit(".", 1)[1].isdigit()) and is_dicom(path)
    except OSError:
        return False


def _kind_of(path: Path) -> str:
    check_present(path)
    name = path.name.lower()
    for kind, suffixes in (
        ("nifti", (".nii.gz", ".nii")),
        ("mhd", (".mhd",)),
        ("dicom", (".dcm", ".dicom", ".ima")),
        ("video", (".avi", ".mp4", ".m4v", ".mov")),
        ("picture", (".png", ".jpg", ".jpeg")),
    ):
        if name.endswith(suffixes):
            return kind
    if is_dicom(path):
        return "dicom"
    with path.open("rb") as file:
        head = file.read(16)
    for place, magic, kind in _MAGIC:
        if head[place:].startswith(magic):
            return kind
    raise DataError(
        f"{path}: of no known kind, wanted one of {' '.join(SUFFIXES)}, or DICOM of any name"
    )
