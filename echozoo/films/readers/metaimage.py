"""MetaImage files (.mhd with its data beside it, .mha with its data inside).

ITK's own reader trusts the header: some headers crash it, and data that end early leave it with
whatever was in memory. What is checked here is all that there is to such a file, so that numpy
and zlib read what follows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from echozoo.errors import DataError
from echozoo.films.files import FilmFile, open_regular
from echozoo.films.readers.metaimage_header import MetaHeader, read_meta_header
from echozoo.films.readers.source import (
    COLOUR_NOTE,
    FrameSource,
    temporary_file,
    truncated,
    write_spooled,
)

_BLOCK = 1 << 22


def open_metaimage(file: FilmFile) -> FrameSource:
    """Open a MetaImage file.

    Raises:
        DataError: As `read_meta_header`; or its data are short, damaged or too large.
    """
    file = file.unpacked()
    header = read_meta_header(file)
    frames, *size = header.shape
    file.check_pixels(frames, size, header.channels * header.dtype.itemsize)
    notes = header.about["notes"]
    parts = [_open_part(path) for path in header.files] or [(file.path, file.stream, file.size)]
    if frames % len(parts):
        raise DataError(f"{file.path}: {frames} frames in {len(parts)} data files, wanted alike")
    each = header.num_bytes // len(parts)
    places = [_place(header, part, each, notes) for part in parts]
    colour = header.channels > 1
    if colour:
        notes.append(COLOUR_NOTE)
    one = (*header.shape[1:], header.channels)[: 3 if colour else 2]
    values, in_part = int(np.prod(one)), frames // len(parts)

    def read(start: int, stop: int) -> np.ndarray:
        pieces = []
        while start < stop:  # (n, H, W[, C]) of each data file that the range reaches into
            number, first = divmod(start, in_part)
            count = min(stop - start, in_part - first)
            stream, place = places[number]
            stream.seek(place + first * values * header.dtype.itemsize)
            pieces.append(np.fromfile(stream, header.dtype, count * values))
            start += count
        frames = np.concatenate(pieces).reshape(-1, *one)
        return frames[..., :3] if colour else frames

    return FrameSource(frames, header.shape[1:], read, header.dtype, **header.about)


def _open_part(path: Path) -> tuple[Path, BinaryIO, int]:
    stream = open_regular(path)
    return path, stream, stream.seek(0, 2)


def _place(
    header: MetaHeader, part: tuple[Path, BinaryIO, int], wanted: int, notes: list[str]
) -> tuple[BinaryIO, int]:
    """Where the pixels of one data file are, unpacked where they were packed."""
    path, stream, size = part
    start = max(size - wanted, 0) if header.start < 0 else header.start
    if header.packed:
        return _inflated(path, stream, start, wanted), 0
    if size - start < wanted:
        raise truncated(path, max(size - start, 0), wanted)
    if size - start > wanted:
        notes.append(
            f"{size - start - wanted} bytes after the pixels that its header tells: not read"
        )
    return stream, start


def _inflated(path: Path, stream: BinaryIO, start: int, wanted: int) -> BinaryIO:
    file, count = temporary_file(), 0
    stream.seek(start)
    try:
        for block in _inflate(stream):
            count += len(block)
            if count > wanted:
                raise DataError(f"{path}: more than {wanted} bytes of data, as its header wants")
            write_spooled(file, block)
    except zlib.error as error:
        raise DataError(f"{path}: compressed data are damaged ({error}); copy it again") from error
    if count < wanted:
        raise truncated(path, count, wanted)
    return file


def _inflate(stream: BinaryIO) -> Iterator[bytes]:
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib's or gzip's header
    pending = b""
    while not inflater.eof:
        pending = pending or stream.read(_BLOCK)
        if not pending:
            raise zlib.error("they end early")
        yield inflater.decompress(pending, _BLOCK)
        pending = inflater.unconsumed_tail
