"""The header of a MetaImage file: all that there is to it, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echozoo.errors import DataError
from echozoo.films.files import HEAD, FilmFile, read_packed
from echozoo.films.geometry import Geometry, believed_spacing, finite

_TYPES = {
    "CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "LONG": "i4",
    "ULONG": "u4",
    "LONG_LONG": "i8",
    "ULONG_LONG": "u8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}
_LINE = re.compile(rb"\s*([A-Za-z_]+)\s*[=:]\s*(.*?)\s*$")
_PATTERN = re.compile(r"[^%]*%0?\d?d[^%]*")  # a longer width is a longer name
_MOST_LINES = 100_000  # of a header that lists its data files
_ORIGIN, _MATRIX = ("Offset", "Position", "Origin"), ("TransformMatrix", "Rotation", "Orientation")


@dataclass
class MetaHeader:
    """What of a header was checked: nothing else of it is used.

    Attributes:
        shape: (T, H, W).
        channels: Values a pixel.
        dtype: Of a value.
        files: The data files; none where the data follow the header.
        start: Bytes before the data in each file; -1 where they are its last ones.
        packed: Whether the data are compressed.
        about: The film's spacing, geometry and notes.
    """

    shape: tuple[int, int, int]
    channels: int
    dtype: np.dtype
    files: list[Path]
    start: int
    packed: bool
    about: dict = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Of the pixels."""
        return int(np.prod(self.shape, dtype=object)) * self.channels * self.dtype.itemsize


def read_meta_header(file: FilmFile) -> MetaHeader:
    """Check what a header says, data unread.

    Raises:
        DataError: It is short, contradicts itself, names data files that are not there, or is
            that of another thing than a film.
    """
    fields, tail, end = _fields(file)
    sizes = _numbers(file, fields, "DimSize", int)
    if _numbers(file, fields, "NDims", int) != [len(sizes)] or min(sizes) < 1 or len(sizes) < 2:
        raise DataError(
            f"{file.path}: NDims {fields.get('NDims')}, DimSize {fields.get('DimSize')!r}, wanted"
            " 2 or more sizes of 1 or more"
        )
    longer = [size for size in sizes[2:] if size > 1]
    if len(longer) > 1:
        raise DataError(f"{file.path}: {len(sizes)}-D image, wanted (W, H) or (W, H, T)")
    shape = (longer[0] if longer else 1, sizes[1], sizes[0])
    kind = fields.get("ElementType", "")
    name = kind.removeprefix("MET_").removesuffix("_ARRAY")
    channels = _numbers(file, fields, "ElementNumberOfChannels", int, "1")
    if name not in _TYPES or channels not in ([1], [3], [4]):
        raise DataError(
            f"{file.path}: ElementType {kind or '(none)'} of {channels} channels, wanted one of"
            f" {', '.join(_TYPES)} of 1, 3 or 4"
        )
    if not _flag(fields, "BinaryData", True):
        raise DataError(f"{file.path}: BinaryData is False (numbers as text); convert it")
    big = _flag(fields, "BinaryDataByteOrderMSB", _flag(fields, "ElementByteOrderMSB", False))
    dtype = np.dtype(_TYPES[name]).newbyteorder(">" if big else "<")
    packed = _flag(fields, "CompressedData", False)
    files = _data_files(file, fields, tail, sizes)
    start = end if not files else _numbers(file, fields, "HeaderSize", int, "0")[0]
    if start < -1 or (packed and (start < 0 or len(files) > 1)):
        raise DataError(
            f"{file.path}: HeaderSize {start} of {len(files)} data files, compressed: {packed};"
            " wanted one place for one block of data"
        )
    header = MetaHeader(shape, channels[0], dtype, files, start, packed)
    header.about = _about(fields, len(sizes))
    return header


def _fields(file: FilmFile) -> tuple[dict[str, str], list[str], int]:
    """The header's lines; those after a LIST; and where it ends."""
    fields: dict[str, str] = {}
    file.stream.seek(0)
    length, tail = 0, []
    for _ in range(_MOST_LINES):
        line = read_packed(file.path, file.stream, HEAD, line=True)
        length += len(line)
        if "ElementDataFile" in fields:
            if not line:
                return fields, tail, length
            tail.append(line.decode(errors="surrogateescape").strip())
            continue
        found = _LINE.match(line)
        if not line or (line.strip() and not found):
            break
        if found:
            key, value = (part.decode(errors="surrogateescape") for part in found.groups())
            fields.setdefault(key, value)
            if key == "ElementDataFile" and value.split()[:1] != ["LIST"]:
                return fields, [], length
    raise DataError(
        f"{file.path}: no line 'ElementDataFile = …', the header is truncated or damaged; copy it"
        " again"
    )


def _numbers(file: FilmFile, fields: dict, key: str, kind: type, default: str = "") -> list:
    words = fields.get(key, default).split()
    try:
        numbers = [kind(word) for word in words]
        if numbers and len(numbers) <= 64 and finite(*numbers):
            return numbers
    except (ValueError, OverflowError):
        pass
    raise DataError(f"{file.path}: {key} is {' '.join(words)[:80]!r}, wanted numbers")


def _flag(fields: dict[str, str], key: str, default: bool) -> bool:
    value = fields.get(key, "").lower()
    return default if not value else value in ("true", "1", "yes", "t")


def _data_files(
    file: FilmFile, fields: dict[str, str], tail: list[str], sizes: list[int]
) -> list[Path]:
    name = fields["ElementDataFile"]
    if name in ("LOCAL", "Local", "local"):
        return []
    words = name.split()
    if words[:1] == ["LIST"]:
        names = [line for line in tail if line]
        dims = int(words[1]) if len(words) > 1 and words[1].isdigit() else len(sizes) - 1
        wanted = int(np.prod(sizes[dims:], dtype=object))
        if len(names) != wanted:
            raise DataError(f"{file.path}: {len(names)} data files listed, wanted {wanted}")
    elif _PATTERN.fullmatch(words[0] if words else "") and len(words) in (3, 4):
        first, last, step = (int(word) if word.isdigit() else 0 for word in (*words[1:], "1")[:3])
        if step < 1 or not 0 < (last - first) // step + 1 <= sizes[-1]:
            raise DataError(f"{file.path}: data files {name!r}, wanted NAME%d first last step")
        names = [words[0] % number for number in range(first, last + 1, step)]
    else:
        names = [name]
    for name in names:
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(
                f"{file.path}: names a data file {name!r} outside of its folder; put it beside it"
            )
        if not (file.path.parent / name).is_file():
            raise DataError(
                f"{file.path}: its data file {name} is not beside it; put both in one folder"
            )
    return [file.path.parent / name for name in names]


def _about(fields: dict[str, str], count: int) -> dict:
    """Spacing, geometry, notes."""
    notes: list[str] = []
    steps = _floats(fields, ("ElementSpacing", "ElementSize"), count)
    spacing = None
    if steps:
        # To a nanometre, as NIfTI: written as text, the digits behind are noise.
        steps = [round(abs(step), 6) for step in steps]
        spacing = believed_spacing((steps[1], steps[0]), notes)
    if spacing is None:
        return dict(spacing=None, geometry=None, notes=notes)
    n = min(count, 3)
    origin = _floats(fields, _ORIGIN, count) or [0.0] * count
    # Each axis has a row of its own; ITK's matrices have a column for each.
    matrix = np.reshape(_floats(fields, _MATRIX, count**2) or np.eye(count), (count, count)).T
    lengths = np.linalg.norm(matrix, axis=0)
    if not np.allclose(lengths, 1, atol=1e-2):
        matrix = np.eye(count)
        notes.append("its TransformMatrix is none of unit vectors: not used")
    third = steps[2] if n == 3 and steps[2] > 0 else 1.0
    geometry = Geometry(
        (*steps[:2], third)[:n], tuple(origin[:n]), tuple(matrix[:n, :n].ravel().tolist())
    )
    return dict(spacing=spacing, geometry=geometry, notes=notes)


def _floats(fields: dict[str, str], keys: tuple[str, ...], count: int) -> list[float] | None:
    """Numbers under the first of some keys that has them; None where none has ``count``."""
    for key in keys:
        try:
            numbers = [float(word) for word in fields.get(key, "").split()]
        except ValueError:
            continue
        if len(numbers) == count and finite(*numbers):
            return numbers
    return None
