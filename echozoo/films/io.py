"""Whole films and label maps: reading them at once, and writing them (the one user of SimpleITK).

Arrays are (T, H, W) with the time axis first and upright images; spacing is (dy, dx) in mm. The
grid is the one on disk: the NIfTI files of 2023 are isotropic (0.308 mm), the older .mhd files
have twice as many rows (0.154 x 0.308 mm).
"""

from __future__ import annotations

import gzip
import re
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from echozoo.errors import DataError, StorageError
from echozoo.films.film import open_film
from echozoo.films.geometry import Geometry
from echozoo.films.headers import read_volume_header
from echozoo.films.labels import on_grid_of

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".mhd", ".mha")

# Its warnings would only break the screen.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


class Volume(NamedTuple):
    """Frames on one grid: ``array`` (T, H, W) uint8 and ``spacing`` (dy, dx) in mm, or None."""

    array: np.ndarray
    spacing: tuple[float, float] | None


def read_volume(path: str | Path, label: bool = False, image: str | Path | None = None) -> Volume:
    """Read all of a film, a still image (one frame) or label maps; see `open_film`.

    Args:
        path: A file of any kind that `open_film` reads.
        label: Whether it holds labels.
        image: The file of the image that the labels are of: they are put on its grid, see
            `on_grid_of`.

    Returns:
        The array (T, H, W) uint8 and its spacing (dy, dx) in mm, None where unknown.

    Raises:
        DataError: As `open_film` and `on_grid_of`.
    """
    return read_noted(path, label, image)[0]


def read_noted(
    path: str | Path, label: bool = False, image: str | Path | None = None
) -> tuple[Volume, list[str]]:
    """As `read_volume`, with what a user should know of the file, one line each."""
    film = open_film(path, labels=label)
    array, spacing, notes = film.frames(), film.spacing, list(film.notes)
    if image is not None:
        array, spacing = on_grid_of(Path(image), Path(path), array, spacing, notes)
    return Volume(array, spacing), notes


def read_shape(path: str | Path) -> tuple[int, int, int]:
    """Read (T, H, W), from the header alone where it can be believed.

    Raises:
        DataError: As `open_film`, for what a header can show.
    """
    header = read_volume_header(Path(path))
    if header is not None:
        return header.shape
    film = open_film(path)
    return (film.num_frames, *film.size)


class LabelWriter:
    """Writes the label maps of a film as .nii.gz while they come, never more than one chunk held.

    Used as a context manager; a file that was not finished is removed.

    Args:
        path: A .nii.gz file; folders are made.
        shape: (T, H, W); with T = 1 and a 2-D geometry the file is a 2-D image.
        geometry: Where the pixels lie.

    Raises:
        StorageError: The file cannot be written.
    """

    def __init__(self, path: str | Path, shape: tuple[int, int, int], geometry: Geometry) -> None:
        self.path, self.shape, self._count = Path(path), shape, 0
        header = _nifti_header(self.path, shape, geometry)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # No name and no time in the file: the same labels give the same bytes.
            self._raw = self.path.open("wb")
            self._file = gzip.GzipFile("", "wb", 6, self._raw, mtime=0)
            self._file.write(header)
        except OSError as error:
            raise StorageError.of(path, error) from error

    def append(self, labels: np.ndarray) -> None:
        """Write the next label maps (n, H, W) uint8."""
        if labels.shape[1:] != self.shape[1:]:
            raise DataError(f"{self.path}: labels {labels.shape}, wanted {self.shape} in all")
        try:
            self._file.write(np.ascontiguousarray(labels, np.uint8).data)
        except OSError as error:
            raise StorageError.of(self.path, error) from error
        self._count += len(labels)

    def __enter__(self) -> LabelWriter:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            with self._raw:
                self._file.close()
            if kind is None and self._count == self.shape[0]:
                return
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise StorageError.of(self.path, error) from error
        self.path.unlink(missing_ok=True)
        if kind is None:
            raise DataError(f"{self.path}: {self._count} label maps, wanted {self.shape[0]}")


def _nifti_header(path: Path, shape: tuple[int, int, int], geometry: Geometry) -> bytes:
    """ITK's own header for a film, made from one frame: only the number of frames is changed."""
    dimensions = len(geometry.spacing)
    one = sitk.GetImageFromArray(np.zeros((1, *shape[1:])[-dimensions:], np.uint8))
    one.SetSpacing(geometry.spacing)
    one.SetOrigin(geometry.origin)
    one.SetDirection(geometry.direction)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "header.nii")
        try:
            sitk.WriteImage(one, str(file), False)
        except RuntimeError as error:
            raise DataError(f"{path}: cannot be written ({_reason(error)})") from error
        data = bytearray(file.read_bytes())
    offset = int(struct.unpack_from("<f", data, 108)[0])
    if dimensions == 3:
        # dim[0..3]; ITK drops a third axis of length 1 in its first number only.
        struct.pack_into("<4h", data, 40, 3, shape[2], shape[1], shape[0])
    return bytes(data[:offset])


def write_volume(path: str | Path, array: np.ndarray, spacing: tuple[float, float]) -> None:
    """Write an image or a sequence as NIfTI or .mhd, by the suffix; folders are made.

    Args:
        path: A .nii.gz, .nii or .mhd file (the latter with its .raw beside it).
        array: (H, W) or (T, H, W), of a numeric type or bool. Time is the file's last axis.
        spacing: (dy, dx) in mm.

    Raises:
        DataError: The suffix or the shape is another, or the file cannot be written.
    """
    path = Path(path)
    if not path.name.endswith(IMAGE_SUFFIXES):
        raise DataError(f"{path}: wanted a name ending in one of {', '.join(IMAGE_SUFFIXES)}")
    if array.ndim not in (2, 3):
        raise DataError(f"{path}: array of shape {array.shape}, wanted (H, W) or (T, H, W)")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    dy, dx = (float(step) for step in spacing)
    image.SetSpacing((dx, dy, 1.0)[: array.ndim])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path), path.name.endswith(".gz"))
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be written ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """ITK's message without its source lines, addresses and the system's unrelated last error."""
    lines = [line for line in str(error).splitlines() if not line.startswith("Reason:")]
    return re.sub(r"^(sitk::ERROR|ITK ERROR): (\w+\(\w+\): )?", "", lines[-1])
