"""Whether an image file is whole, told from its bytes.

ITK reads a truncated NIfTI file without a word and fills it up with zeros, takes a spacing of 0
for 1, and makes zeros of NaN: what it would hide is refused here before it reads.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from echozoo.errors import DataError

_NIFTI_HEADER = 348
_NIFTI_FLOATS = {16: "f4", 64: "f8"}
_MET_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}


def source_files(path: Path) -> tuple[Path, ...]:
    """The files that hold an image: itself and, for .mhd, the data file that its header names.

    Raises:
        DataError: The file is absent or empty, or the data file is absent.
    """
    check_present(path)
    if path.suffix != ".mhd":
        return (path,)
    name = _mhd_header(path).get("ElementDataFile", "")
    if name in ("LOCAL", "LIST"):
        return (path,)
    if not name:
        raise DataError(
            f"{path}: no line 'ElementDataFile = …', the header is truncated; copy it again"
        )
    raw = path.parent / name
    if not raw.is_file():
        raise DataError(f"{path}: its data file {name} is not in {path.parent}; copy it there")
    return (path, raw)


def check_present(path: Path) -> None:
    """Refuse a file that is absent or empty.

    Raises:
        DataError: It is.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file (0 bytes); copy it again")


def check_complete(path: Path) -> None:
    """Refuse a file with less data than its header says, or with pixels that are no numbers.

    Raises:
        DataError: The file or its data file is absent, empty, truncated or damaged, has no
            spacing, or holds NaN or infinite pixels.
    """
    files = source_files(path)
    if path.suffix != ".mhd":
        _check_nifti(path)
    elif len(files) == 2:
        _check_raw(path, files[1])


def _check_nifti(path: Path) -> None:
    data = _read_nifti_bytes(path)
    for order in "<>":
        if len(data) < _NIFTI_HEADER or struct.unpack_from(f"{order}i", data)[0] != _NIFTI_HEADER:
            continue
        dims = struct.unpack_from(f"{order}8h", data, 40)
        datatype, bits = struct.unpack_from(f"{order}2h", data, 70)
        steps = struct.unpack_from(f"{order}3f", data, 76)
        offset = int(struct.unpack_from(f"{order}f", data, 108)[0])
        count = int(np.prod([max(size, 1) for size in dims[1 : max(dims[0], 0) + 1]]))
        _check_bytes(path, path, len(data), offset + count * bits // 8)
        if 0 in steps[1:]:
            raise DataError(f"{path}: spacing of 0 mm in its header, wanted a positive one")
        if datatype in _NIFTI_FLOATS:
            kind = f"{order}{_NIFTI_FLOATS[datatype]}"
            finite = np.isfinite(np.frombuffer(data, kind, count, offset))
            if not finite.all():
                raise DataError(
                    f"{path}: {int((~finite).sum())} pixels are NaN or infinite, wanted finite"
                    " values"
                )


def _read_nifti_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path}: truncated or damaged, not a whole gzip file ({error}); copy it again"
        ) from error


def _check_raw(path: Path, raw: Path) -> None:
    header = _mhd_header(path)
    sizes = header.get("DimSize", "").split()
    if not sizes or not all(size.isdigit() for size in sizes):
        raise DataError(f"{path}: DimSize is {' '.join(sizes)!r}, wanted whole numbers")
    kind = header.get("ElementType", "").removeprefix("MET_").removeprefix("U")
    wanted = int(np.prod([int(size) for size in sizes])) * _MET_BYTES.get(kind, 0)
    if header.get("CompressedData", "").lower() == "true":
        size = header.get("CompressedDataSize", "")
        wanted = int(size) if size.isdigit() else 0
    _check_bytes(path, raw, raw.stat().st_size, wanted)


def _check_bytes(path: Path, file: Path, found: int, wanted: int) -> None:
    if found < wanted:
        raise DataError(
            f"{file}: truncated: {found} bytes of data, the header of {path.name} wants {wanted};"
            " copy it again"
        )


def _mhd_header(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}
