"""Reading and writing images: the one user of SimpleITK.

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

from echozoo.errors import DataError
from echozoo.films.integrity import check_complete, check_present

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".mhd")

# Files are checked before ITK sees them; its own warnings would only break the screen.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


class Geometry(NamedTuple):
    """Where the pixels of a file lie in space, in ITK's order (x, y[, z]) and system (LPS).

    Attributes:
        spacing: mm a pixel, of 2 or 3 axes; the third is time where a film is stored as a volume.
        origin: Position of the centre of the first pixel in mm.
        direction: Unit vectors of the axes, row-major.
    """

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def upright(cls, spacing: tuple[float, float], dimensions: int = 3) -> Geometry:
        """The geometry of frames with spacing (dy, dx) that are nowhere in particular."""
        dy, dx = (float(step) for step in spacing)
        identity = tuple(np.eye(dimensions).ravel().tolist())
        return cls((dx, dy, 1.0)[:dimensions], (0.0,) * dimensions, identity)


class Volume(NamedTuple):
    """Frames on one grid: ``array`` (T, H, W) uint8 and ``spacing`` (dy, dx) in mm, or None."""

    array: np.ndarray
    spacing: tuple[float, float] | None


def read_volume(path: str | Path, label: bool = False) -> Volume:
    """Read a NIfTI or .mhd file; a 2-D image is one frame.

    Pixels become uint8 by fixed rules, so that two frames of one patient stay comparable: values
    in [0, 255] are rounded; an image of fractions in [0, 1] is multiplied by 255; any other range
    is refused, never stretched. Labels have to be whole numbers, of any data type.

    Args:
        path: A .nii.gz, .nii or .mhd file.
        label: Whether it holds labels.

    Returns:
        The array (T, H, W) uint8 and its spacing (dy, dx) in mm.

    Raises:
        DataError: The file is absent, empty, truncated, no image, not 2-D or 3-D, has several
            channels, or its pixels are NaN or do not fit uint8.
    """
    path = Path(path)
    check_complete(path)
    image = _execute(path, lambda reader: reader.Execute())
    array = sitk.GetArrayFromImage(image)
    _check_layout(path, image.GetDimension(), image.GetNumberOfComponentsPerPixel())
    if array.ndim == 2:
        array = array[None]  # (1, H, W)
    array = _to_labels(path, array) if label else _to_pixels(path, array)
    # NIfTI keeps 32-bit numbers: to a nanometre, 0.308 is 0.308.
    dx, dy = (round(step, 6) for step in image.GetSpacing()[:2])
    return Volume(array, (dy, dx))


def read_shape(path: str | Path) -> tuple[int, int, int]:
    """Read (T, H, W) from the header alone.

    Raises:
        DataError: As `read_volume`, for what a header can show.
    """
    path = Path(path)
    check_present(path)
    reader = _execute(path, lambda reader: (reader.ReadImageInformation(), reader)[1])
    size = reader.GetSize()
    _check_layout(path, len(size), reader.GetNumberOfComponents())
    return (size[2] if len(size) == 3 else 1, size[1], size[0])


def read_geometry(path: str | Path) -> tuple[tuple[int, int, int], Geometry]:
    """Read (T, H, W) and where the pixels of a NIfTI or .mhd file lie, from the header alone.

    Unlike `read_shape` it takes files with several channels.

    Raises:
        DataError: The file is absent, empty, no image, or not 2-D or 3-D.
    """
    path = Path(path)
    check_present(path)
    reader = _execute(path, lambda reader: (reader.ReadImageInformation(), reader)[1])
    _check_layout(path, reader.GetDimension(), 1)
    width, height, frames = (*reader.GetSize(), 1)[:3]
    geometry = Geometry(reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    return (frames, height, width), geometry


def read_frames(path: str | Path, start: int, stop: int) -> np.ndarray:
    """Read a range of frames as they are stored; of a plain .mhd only that range.

    Args:
        path: A .mhd file (NIfTI works too, but is read whole each time).
        start: First frame.
        stop: The frame after the last one.

    Returns:
        (n, H, W) of the type on disk, (n, H, W, C) where the file has C channels.

    Raises:
        DataError: The file cannot be read.
    """

    def extract(reader: sitk.ImageFileReader) -> sitk.Image:
        reader.ReadImageInformation()
        if reader.GetDimension() == 3:
            width, height, _ = reader.GetSize()
            reader.SetExtractIndex((0, 0, start))
            reader.SetExtractSize((width, height, stop - start))
        return reader.Execute()

    image = _execute(Path(path), extract)
    array = sitk.GetArrayFromImage(image)
    return array if image.GetDimension() == 3 else array[None]


class LabelWriter:
    """Writes the label maps of a film as .nii.gz while they come, never more than one chunk held.

    Used as a context manager; a file that was not finished is removed.

    Args:
        path: A .nii.gz file; folders are made.
        shape: (T, H, W); with T = 1 and a 2-D geometry the file is a 2-D image.
        geometry: Where the pixels lie.

    Raises:
        DataError: The file cannot be written.
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
            raise DataError(f"{path}: cannot be written ({error.strerror})") from error

    def append(self, labels: np.ndarray) -> None:
        """Write the next label maps (n, H, W) uint8."""
        if labels.shape[1:] != self.shape[1:]:
            raise DataError(f"{self.path}: labels {labels.shape}, wanted {self.shape} in all")
        try:
            self._file.write(np.ascontiguousarray(labels, np.uint8).data)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror})") from error
        self._count += len(labels)

    def __enter__(self) -> LabelWriter:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._file.close()
        self._raw.close()
        if kind is None and self._count == self.shape[0]:
            return
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


def _execute(path: Path, action):
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        return action(reader)
    except RuntimeError as error:
        raise DataError(
            f"{path}: not readable as an image ({_reason(error)}); wanted NIfTI or .mhd"
        ) from error


def _reason(error: Exception) -> str:
    """ITK's message without its source lines, addresses and the system's unrelated last error."""
    lines = [line for line in str(error).splitlines() if not line.startswith("Reason:")]
    return re.sub(r"^(sitk::ERROR|ITK ERROR): (\w+\(\w+\): )?", "", lines[-1])


def _check_layout(path: Path, dimensions: int, channels: int) -> None:
    if dimensions not in (2, 3):
        raise DataError(f"{path}: {dimensions}-D image, wanted (W, H) or (W, H, T)")
    if channels != 1:
        raise DataError(f"{path}: {channels} channels, wanted one (greyscale)")


def _check_finite(path: Path, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise DataError(f"{path}: {count} pixels are NaN or infinite, wanted finite values")


def _to_pixels(path: Path, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    _check_finite(path, array)
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        raise DataError(
            f"{path}: pixels from {low:g} to {high:g}, wanted 8-bit values, 0 to 255;"
            " rescale all images alike"
        )
    if array.dtype.kind == "f" and high <= 1 and (array != np.rint(array)).any():
        array = array * 255.0
    return np.rint(array).astype(np.uint8)


def _to_labels(path: Path, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    _check_finite(path, array)
    whole = np.rint(array)
    if np.abs(array - whole).max() > 1e-3 or whole.min() < 0 or whole.max() > 255:
        found = ", ".join(f"{value:g}" for value in np.unique(array)[:6])
        raise DataError(f"{path}: label values {found}, …, wanted whole numbers from 0 to 3")
    return whole.astype(np.uint8)
