"""NIfTI-1 and NIfTI-2 files, by nibabel, after a look at the header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echozoo.errors import DataError
from echozoo.films.files import FilmFile, read_packed
from echozoo.films.geometry import Geometry, believed_frame_time, believed_spacing, finite
from echozoo.films.readers.source import COLOUR_NOTE, FrameSource, truncated

if TYPE_CHECKING:  # it takes a while, and films of other kinds go without
    import nibabel

_TYPES = {  # code: (type, values a pixel)
    2: ("u1", 1),
    4: ("i2", 1),
    8: ("i4", 1),
    16: ("f4", 1),
    64: ("f8", 1),
    128: ("u1", 3),
    256: ("i1", 1),
    512: ("u2", 1),
    768: ("u4", 1),
    1024: ("i8", 1),
    1280: ("u8", 1),
    2304: ("u1", 4),
}
_MM = {1: 1000.0, 3: 0.001}  # metres and micrometres; all else is millimetres
_MS = {8: 1000.0, 16: 1.0, 24: 0.001}
_TO_LPS = np.array([-1.0, -1.0, 1.0])  # NIfTI's axes point right and to the front, ITK's do not


@dataclass
class NiftiHeader:
    """What of a header was checked: nothing else of it is used.

    Attributes:
        shape: (W, H, T) as stored, axes of one step dropped.
        channels: Values a pixel.
        dtype: Of a value.
        offset: Bytes before the pixels.
        scale: Slope and intercept, (1, 0) for none.
        about: The film's spacing, geometry, frame time and notes.
    """

    shape: tuple[int, int, int]
    channels: int
    dtype: np.dtype
    offset: int
    scale: tuple[float, float]
    about: dict

    @property
    def num_bytes(self) -> int:
        """Of the pixels."""
        return int(np.prod(self.shape, dtype=object)) * self.channels * self.dtype.itemsize


def read_nifti_header(file: FilmFile) -> NiftiHeader:
    """Check what a header says, pixels unread.

    Raises:
        DataError: It is short, contradicts itself, or is that of another thing than a film.
    """
    header = _raw_header(file)
    shape = _shape(file, header["dim"].tolist())
    kind, bits = int(header["datatype"]), int(header["bitpix"])
    if kind not in _TYPES:
        raise DataError(f"{file.path}: pixels of NIfTI type {kind}, wanted whole or real numbers")
    name, channels = _TYPES[kind]
    dtype = np.dtype(name).newbyteorder(header.endianness)
    if bits != dtype.itemsize * channels * 8:
        raise DataError(
            f"{file.path}: bitpix {bits} for NIfTI type {kind}, wanted"
            f" {dtype.itemsize * channels * 8}; its header is damaged"
        )
    offset, first = float(header["vox_offset"]), header.sizeof_hdr + 4
    if not finite(offset) or offset < first or offset != int(offset) or offset > 1 << 30:
        raise DataError(
            f"{file.path}: pixels at byte {offset:g} (vox_offset), wanted {first} or more; its"
            " header is damaged"
        )
    scale = _scale(file, float(header["scl_slope"]), float(header["scl_inter"]))
    return NiftiHeader(shape, channels, dtype, int(offset), scale, _about(header, shape))


def open_nifti(file: FilmFile) -> FrameSource:
    """Open a NIfTI file, packed or not.

    Raises:
        DataError: As `read_nifti_header`; or it is truncated, damaged or too large.
    """
    from nibabel.arrayproxy import ArrayProxy

    header = read_nifti_header(file)
    width, height, frames = header.shape
    file.check_pixels(frames, (height, width), header.num_bytes // (width * height * frames))
    file = file.unpacked()
    wanted = header.offset + header.num_bytes
    if file.size < wanted:
        raise truncated(file.path, file.size, wanted)
    notes = header.about["notes"]
    if file.size > wanted:
        notes.append(f"{file.size - wanted} bytes after the pixels that its header tells: not read")
    colour = header.channels > 1
    if colour:
        notes.append(COLOUR_NOTE)
    stored = ((header.channels,) if colour else ()) + header.shape
    pixels = ArrayProxy(
        file.stream, (stored, header.dtype, header.offset, *header.scale), mmap=False
    )

    def read(start: int, stop: int) -> np.ndarray:
        part = np.asanyarray(pixels[..., start:stop]).T  # (n, H, W[, C])
        return part[..., :3] if colour else part

    scaled = header.scale != (1.0, 0.0)
    dtype = np.dtype(np.float64) if scaled else header.dtype
    return FrameSource(frames, (height, width), read, dtype, **header.about)


def _raw_header(file: FilmFile) -> nibabel.Nifti1Header:
    """The fields as they stand, unchecked."""
    import nibabel

    head = read_packed(file.path, file.stream, 540)
    file.stream.seek(0)
    order = "<" if head[1] in (1, 2) else ">"
    second = int.from_bytes(head[:4], "little" if order == "<" else "big") == 540
    kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    size = kind.sizeof_hdr
    if len(head) < size:
        raise truncated(file.path, len(head), size)
    header = kind(head[:size], endianness=order, check=False)
    if header["magic"].item()[:3] != (b"n+2" if second else b"n+1"):
        raise DataError(
            f"{file.path}: a header of {size} bytes without the mark of a NIfTI file (n+1, n+2);"
            " wanted header and pixels in one file"
        )
    return header


def _shape(file: FilmFile, dim: list[int]) -> tuple[int, int, int]:
    """(W, H, T): a film has two axes and time, whichever axes of one step lie between."""
    count, sizes = dim[0], dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else []
    if count not in range(2, 8) or min(sizes) < 1:
        raise DataError(
            f"{file.path}: {count} axes of {' x '.join(map(str, dim[1:]))}, wanted 2 to 7 of 1 or"
            " more; its header is damaged"
        )
    longer = [size for size in sizes[2:] if size > 1]
    if len(longer) > 1:
        raise DataError(f"{file.path}: {count}-D image, wanted (W, H) or (W, H, T)")
    return (sizes[0], sizes[1], longer[0] if longer else 1)


def _scale(file: FilmFile, slope: float, intercept: float) -> tuple[float, float]:
    """Slope 0, or none, means values as they are stored; the intercept does not count then."""
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not finite(slope, intercept):
        raise DataError(
            f"{file.path}: values are to be scaled by {slope:g} and {intercept:g}, wanted finite"
            " numbers; its header is damaged"
        )
    return slope, intercept


def _about(header: nibabel.Nifti1Header, shape: tuple[int, int, int]) -> dict:
    """Spacing, geometry, frame time, notes."""
    notes: list[str] = []
    units = int(header["xyzt_units"])
    in_mm, in_ms = _MM.get(units & 7, 1.0), _MS.get(units & 56)
    steps = np.abs(header["pixdim"][1:4].astype(float)) * in_mm
    spacing = believed_spacing(steps[1::-1].tolist(), notes)
    # Stored as 32-bit numbers: to a nanometre, 0.308 is 0.308.
    spacing = spacing and (round(spacing[0], 6), round(spacing[1], 6))
    dim = header["dim"].tolist()
    time = float(header["pixdim"][4]) * in_ms if dim[0] > 3 and dim[3] == 1 and in_ms else None
    geometry = _geometry(header, steps, in_mm, 2 if dim[0] == 2 else 3, notes) if spacing else None
    return dict(
        spacing=spacing,
        geometry=geometry,
        frame_time_ms=believed_frame_time(time, notes) if shape[2] > 1 else None,
        notes=notes,
    )


def _geometry(
    header: nibabel.Nifti1Header, steps: np.ndarray, in_mm: float, dimensions: int, notes: list[str]
) -> Geometry:
    """Place and direction by the qform, else by the sform; the spacing is always pixdim."""
    steps[2] = steps[2] if finite(steps[2]) and steps[2] > 0 else 1.0
    header = header.copy()
    header["pixdim"][1:4] = steps / in_mm
    forms = [_form(header, name, in_mm) for name in ("qform", "sform")]
    qform, sform = (form if form is not None and finite(*form.ravel()) else None for form in forms)
    if sform is not None:
        lengths = np.linalg.norm(sform[:, :3], axis=0)
        if not np.allclose(lengths[:2], steps[:2], rtol=1e-2):
            notes.append(
                f"its sform says {lengths[1]:.4g} x {lengths[0]:.4g} mm, its pixdim"
                f" {steps[1]:.4g} x {steps[0]:.4g}: pixdim is taken"
            )
            sform = None
        elif qform is not None and not np.allclose(sform[:, :2], qform[:, :2], atol=1e-2):
            notes.append("its sform is directed unlike its qform: the qform is taken")
    form = qform if qform is not None else sform
    if form is None:
        form = np.c_[np.diag(steps * _TO_LPS), np.zeros(3)]
    form = form * _TO_LPS[:, None]  # (3, 4)
    direction = form[:, :3] / np.linalg.norm(form[:, :3], axis=0)
    n = dimensions
    if n == 2 and abs(np.linalg.det(direction[:2, :2])) < 0.5:  # a plane that stands upright
        n = 3
    return Geometry(
        tuple(round(step, 6) for step in steps[:n].tolist()),
        tuple(form[:n, 3].tolist()),
        tuple(direction[:n, :n].ravel().tolist()),
    )


def _form(header: nibabel.Nifti1Header, name: str, in_mm: float) -> np.ndarray | None:
    """The way from indices to mm (3, 4); None where the header has none that makes sense."""
    from nibabel.spatialimages import HeaderDataError

    try:
        form, code = getattr(header, f"get_{name}")(coded=True)
    except (HeaderDataError, ValueError, FloatingPointError):
        return None
    if not code or form is None or not np.linalg.norm(form[:3, :3], axis=0).all():
        return None
    return form[:3] * in_mm
