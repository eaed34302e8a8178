"""The DICOM data set of an image: the elements that are looked at, and where its pixels are."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from echozoo.errors import DataError
from echozoo.films.files import FilmFile
from echozoo.films.readers import dicom_header as heads
from echozoo.films.readers.source import BoundedReader, temporary_file, write_spooled

_DEFLATED = "1.2.840.10008.1.2.1.99"
_EXPLICIT = "1.2.840.10008.1.2.1"
_BLOCK = 1 << 22
# All that is looked at: an element that is malformed elsewhere is passed over unread.
_PIXEL_ELEMENTS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
_OTHER_ELEMENTS = (
    *("SOPClassUID", "Modality", "SequenceOfUltrasoundRegions", "PixelSpacing"),
    *("SharedFunctionalGroupsSequence", "FrameIncrementPointer", "FrameTime", "FrameTimeVector"),
    *("CineRate", "RecommendedDisplayFrameRate"),
)


@dataclass
class Pixels:
    """The element with the pixels."""

    offset: int
    length: int
    representation: str


@contextmanager
def reading(file: FilmFile) -> Iterator[None]:
    """Whatever pydicom or a decoder of it raises is the file's fault, in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(
            f"{file.path}: not readable as DICOM ({reason}); wanted an image that pydicom decodes;"
            " copy it again, or convert it"
        ) from error


def read_data_set(file: FilmFile) -> tuple[Any, Pixels | None]:
    """The elements that are looked at, and where the pixels are, None where there are none."""
    import pydicom

    with reading(file):
        file.stream.seek(0)
        header = pydicom.dcmread(
            file.stream,
            stop_before_pixels=True,
            force=True,
            specific_tags=[*_PIXEL_ELEMENTS, *_OTHER_ELEMENTS],
        )
        if syntax_of(header) == _DEFLATED:
            file.stream = _inflated(file)
            return read_data_set(file)
        implicit, little = header.original_encoding
        order = "<" if little else ">"
        tag = file.stream.read(8)
        if len(tag) < 8 or struct.unpack(f"{order}HH", tag[:4]) != (0x7FE0, 0x0010):
            return header, None
        if implicit or not tag[4:6].isalpha():
            length, representation = struct.unpack(f"{order}L", tag[4:])[0], "OW"
        else:
            length = struct.unpack(f"{order}L", file.stream.read(4))[0]
            representation = tag[4:6].decode("ascii")
        return header, Pixels(file.stream.tell(), length, representation)


def syntax_of(header: Any) -> str:
    """The transfer syntax as a header tells it, or as its bytes are laid out."""
    meta = getattr(header, "file_meta", None)
    found = heads.text(meta, "TransferSyntaxUID") if meta is not None else ""
    if found:
        return found
    implicit = getattr(header, "original_encoding", (True, True))[0]
    return "1.2.840.10008.1.2" if implicit else _EXPLICIT


def _inflated(file: FilmFile) -> Any:
    """The same data set, not deflated, in a temporary file."""
    stream, out = file.stream, temporary_file()
    stream.seek(0)
    head = stream.read(144)
    if head[132:136] != b"\x02\x00\x00\x00":
        raise DataError(f"{file.path}: deflated, without the length of its header; copy it again")
    head += stream.read(int.from_bytes(head[140:144], "little"))
    # Of the same length: what is left of the value is filled up as values are.
    plain = _EXPLICIT.encode().ljust(len(_DEFLATED), b"\0")
    write_spooled(out, head.replace(_DEFLATED.encode(), plain))
    inflater, pending, total = zlib.decompressobj(-zlib.MAX_WBITS), b"", 0
    while not inflater.eof:
        pending = pending or stream.read(_BLOCK)
        if not pending:
            break
        block = inflater.decompress(pending, _BLOCK)
        total, pending = total + len(block), inflater.unconsumed_tail
        file.check_limit(total)
        write_spooled(out, block)
    stream = BoundedReader(out)
    file.size = stream.size
    return stream
