"""DICOM films, decoded frame by frame by pydicom."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from echozoo.errors import DataError, EchoZooError
from echozoo.films.files import FilmFile, kind_of
from echozoo.films.readers import dicom_header as heads
from echozoo.films.readers.source import (
    COLOUR_NOTE,
    FrameSource,
    temporary_file,
    truncated,
    write_spooled,
)
from echozoo.films.readers.video import open_video

_DEFLATED = "1.2.840.10008.1.2.1.99"
_EXPLICIT = "1.2.840.10008.1.2.1"
_RLE = "1.2.840.10008.1.2.5"
# MPEG-2, MPEG-4 and HEVC, by the last number of their transfer syntax.
_VIDEOS = {"100": "mpegvideo", "101": "mpegvideo"}
_VIDEOS |= {str(number): "h264" for number in range(102, 107)} | {"107": "hevc", "108": "hevc"}
_UNDEFINED = 0xFFFFFFFF
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
class _Pixels:
    """The element with the pixels."""

    offset: int
    length: int
    representation: str


def open_dicom(file: FilmFile) -> FrameSource:
    """Open a DICOM file with one frame or many; only frames that are wanted are decoded.

    Raises:
        EchoZooError: pydicom is not installed.
        DataError: The file is no whole DICOM image, is too large, or cannot be decoded.
    """
    _need_pydicom()
    file = file.unpacked()
    header, pixels = _read_header(file)
    rows, columns = (heads.whole(header, key, 0) for key in ("Rows", "Columns"))
    if pixels is None or rows < 1 or columns < 1:
        raise DataError(
            f"{file.path}: no frames: DICOM without pixels ({_class(header)}), wanted a film"
        )
    syntax = _syntax(header)
    if syntax.rpartition(".")[0].endswith("1.2.4") and syntax.rpartition(".")[2] in _VIDEOS:
        return _open_encapsulated_video(file, header, pixels, syntax.rpartition(".")[2])
    notes: list[str] = []
    options = _options(file, header, pixels, (rows, columns))
    count = _count_frames(file, header, pixels, options, notes)
    options["number_of_frames"] = count
    bytes_each = options["samples_per_pixel"] * -(-options["bits_allocated"] // 8)
    file.check_pixels(count, (rows, columns), bytes_each)
    rule = _PixelRule(file, header, options)

    def read(start: int, stop: int) -> np.ndarray:
        return np.stack(
            [rule(*frame) for frame in _decode(file, header, pixels, options, start, stop)]
        )

    first = read(0, 1)
    read(count - 1, count)  # what was cut off shows at the end
    if first.ndim == 4 or rule.converted == "palette":
        notes.append(COLOUR_NOTE)
    spacing = heads.spacing_of(header, (rows, columns), notes)
    mean, times = heads.times_of(header, count, notes)
    return FrameSource(
        *(count, (rows, columns), read, first.dtype),
        depth=rule.depth,
        converted=rule.converted,
        inverse=rule.inverse,
        spacing=spacing,
        frame_time_ms=mean,
        frame_times_ms=times,
        notes=notes,
    )


def _need_pydicom() -> None:
    try:
        import pydicom
    except ImportError as error:
        raise EchoZooError(
            "DICOM files need pydicom: pip install -e .[dicom] (in echozoo's folder)"
        ) from error
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@contextmanager
def _reading(file: FilmFile) -> Iterator[None]:
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


def _read_header(file: FilmFile) -> tuple[Any, _Pixels | None]:
    """The elements that are looked at, and where the pixels are, None where there are none."""
    import pydicom

    with _reading(file):
        file.stream.seek(0)
        header = pydicom.dcmread(
            file.stream,
            stop_before_pixels=True,
            force=True,
            specific_tags=[*_PIXEL_ELEMENTS, *_OTHER_ELEMENTS],
        )
        if _syntax(header) == _DEFLATED:
            file.stream = _inflated(file)
            return _read_header(file)
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
        return header, _Pixels(file.stream.tell(), length, representation)


def _syntax(header: Any) -> str:
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
    file.size = out.tell()
    out.seek(0)
    return out


def _options(file: FilmFile, header: Any, pixels: _Pixels, size: tuple[int, int]) -> dict[str, Any]:
    """What pydicom's decoders have to know, all of it checked."""
    allocated = heads.whole(header, "BitsAllocated", 8)
    # Values that are shifted up to a higher last bit have that many bits.
    stored = heads.whole(header, "BitsStored", allocated)
    stored = max(stored, min(heads.whole(header, "HighBit", 0) + 1, allocated))
    samples = heads.whole(header, "SamplesPerPixel", 1)
    photometric = heads.text(header, "PhotometricInterpretation")
    if allocated not in (1, 8, 16, 32) or not 1 <= stored <= allocated or samples not in (1, 3):
        raise DataError(
            f"{file.path}: {samples} samples of {stored} bits in {allocated}, wanted 1 or 3 of 1 to"
            " 16 bits in 1, 8, 16 or 32; its header is damaged"
        )
    options: dict[str, Any] = {
        "transfer_syntax_uid": _uid(_syntax(header)),
        "rows": size[0],
        "columns": size[1],
        "samples_per_pixel": samples,
        "bits_allocated": allocated,
        "bits_stored": stored,
        "pixel_representation": int(heads.whole(header, "PixelRepresentation", 0) == 1),
        "photometric_interpretation": photometric or ("RGB" if samples == 3 else "MONOCHROME2"),
        "pixel_keyword": "PixelData",
        "pixel_vr": pixels.representation,
    }
    if samples == 3:
        options["planar_configuration"] = heads.whole(header, "PlanarConfiguration", 0) & 1
    tables = [header.get(f"ExtendedOffsetTable{end}") for end in ("", "Lengths")]
    if all(isinstance(table, bytes) and table for table in tables):
        options["extended_offsets"] = tuple(tables)
    return options


def _uid(value: str) -> Any:
    from pydicom.uid import UID

    return UID(value)


def _count_frames(
    file: FilmFile, header: Any, pixels: _Pixels, options: dict[str, Any], notes: list[str]
) -> int:
    """The frames that are there, whatever NumberOfFrames says; a note where it says otherwise."""
    told = heads.whole(header, "NumberOfFrames", 0)
    if options["transfer_syntax_uid"].is_encapsulated:
        found = _count_encapsulated(file, pixels, options, told)
    else:
        if pixels.length == _UNDEFINED:
            raise DataError(f"{file.path}: pixels of no length; its header is damaged")
        left = file.size - pixels.offset
        if left < pixels.length:
            raise truncated(file.path, left, pixels.length)
        samples = options["samples_per_pixel"]
        if options["photometric_interpretation"] == "YBR_FULL_422":
            samples = 2  # two pixels share their colour
        bits = options["rows"] * options["columns"] * samples * options["bits_allocated"]
        if pixels.length * 8 < bits:
            raise truncated(file.path, pixels.length, -(-bits // 8))
        found = pixels.length * 8 // bits
    if found != told:
        says = told or heads.text(header, "NumberOfFrames") or "nothing"
        if told or found > 1:
            notes.append(f"{found} frames are there, its header says {says}: all of them are taken")
    return found


def _count_encapsulated(file: FilmFile, pixels: _Pixels, options: dict[str, Any], told: int) -> int:
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    if extended := options.get("extended_offsets"):
        return len(extended[0]) // 8
    with _reading(file):
        file.stream.seek(pixels.offset)
        offsets = parse_basic_offsets(file.stream)
        if offsets:
            return len(offsets)
        fragments = ends = 0
        for fragment in generate_fragments(file.stream):
            fragments += 1
            ends += b"\xff\xd9" in fragment[-10:]
    if not fragments:
        raise DataError(f"{file.path}: no frames: its pixels are empty; copy it again")
    if fragments == told or options["transfer_syntax_uid"] == _RLE:
        return fragments
    return ends or 1  # a frame in several pieces ends with the mark of its end


def _decode(
    file: FilmFile, header: Any, pixels: _Pixels, options: dict[str, Any], start: int, stop: int
) -> list[tuple[np.ndarray, str]]:
    """Frames start to stop as pydicom decodes them, each with what its colours are."""
    from pydicom.pixels import get_decoder

    with _reading(file):
        decoder, frames = get_decoder(options["transfer_syntax_uid"]), []
        for index in range(start, stop):
            file.stream.seek(pixels.offset)  # its iterator loses the place in subsampled colours
            frame, told = decoder.as_array(file.stream, index=index, **options)
            frames.append((frame, str(told["photometric_interpretation"])))
    if len(frames) != stop - start or any(
        frame.shape[:2] != (options["rows"], options["columns"]) for frame, _ in frames
    ):
        raise DataError(f"{file.path}: a frame is cut off or of another size; copy it again")
    return frames


class _PixelRule:
    """Turns a decoded frame into values (H, W) or RGB, by what the header says."""

    def __init__(self, file: FilmFile, header: Any, options: dict[str, Any]) -> None:
        self.header, self.depth, self.converted = header, options["bits_stored"], ""
        self.inverse = False
        self._steps: list[Callable[[np.ndarray], np.ndarray]] = []
        self._file = file
        photometric = options["photometric_interpretation"]
        if photometric == "PALETTE COLOR":
            self._add(self._palette, "palette")
            self.depth = 16
        elif options["samples_per_pixel"] == 1:
            self._add_display(photometric == "MONOCHROME1")

    def __call__(self, frame: np.ndarray, photometric: str) -> np.ndarray:
        if frame.ndim == 3 and photometric.startswith("YBR"):
            return frame[..., 0]  # pydicom left it as it was: its first value is the luminance
        with _reading(self._file):
            for step in self._steps:
                frame = step(frame)
        return frame

    def _add(self, step: Callable[[np.ndarray], np.ndarray], name: str) -> None:
        self._steps.append(step)
        self.converted = name

    def _palette(self, frame: np.ndarray) -> np.ndarray:
        from pydicom.pixels import apply_color_lut

        colours = apply_color_lut(frame, self.header)
        return colours[..., :3]

    def _add_display(self, inverse: bool) -> None:
        """Rescale, window and inversion, where the header has them."""
        from pydicom.pixels import apply_modality_lut

        header = self.header
        scale = tuple(heads.number(header, f"Rescale{part}") for part in ("Slope", "Intercept"))
        if header.get("ModalityLUTSequence") or (None not in scale and scale != (1.0, 0.0)):
            self._add(lambda frame: apply_modality_lut(frame, header), "rescaled")
        widths, centres = (heads.numbers(header, f"Window{end}") for end in ("Width", "Center"))
        windowed = len(widths) == len(centres) > 0 and min(widths) >= 1
        if windowed or header.get("VOILUTSequence"):
            self._add(self._window, "windowed")
            self.depth = 8
        self.inverse = inverse
        if inverse:
            self.converted = "inverted"

    def _window(self, frame: np.ndarray) -> np.ndarray:
        """Apply the header's window or table; what it spans becomes 0 to 255."""
        from pydicom.pixels import apply_voi_lut, apply_windowing

        tables = self.header.get("VOILUTSequence")
        if tables:
            darkest, brightest = 0, 2 ** tables[0].LUTDescriptor[2] - 1
        else:
            darkest, brightest = apply_windowing(np.array([-1e12, 1e12]), self.header)
        shown = apply_voi_lut(frame, self.header)
        return np.clip((shown - darkest) * (255 / (brightest - darkest)), 0, 255)


def _class(header: Any) -> str:
    try:
        name = header.SOPClassUID.name
    except Exception:
        name = ""
    return name or heads.text(header, "Modality") or "of no stated kind"


def _open_encapsulated_video(
    file: FilmFile, header: Any, pixels: _Pixels, kind: str
) -> FrameSource:
    """Open a film that is one video inside of a DICOM file."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    out = temporary_file()
    with _reading(file):
        file.stream.seek(pixels.offset)
        parse_basic_offsets(file.stream)
        for fragment in generate_fragments(file.stream):
            write_spooled(out, fragment)
    size = out.tell()
    out.seek(0)
    inside = kind_of(out.read(1024)) or ""
    out.seek(0)
    container = inside if inside.startswith("video:") else f"video:{_VIDEOS[kind]}"
    film = open_video(replace(file, stream=out, size=size, kind=container))
    film.spacing = heads.spacing_of(header, film.size, film.notes)
    mean, times = heads.times_of(header, film.num_frames, film.notes)
    if mean is not None:
        film.frame_time_ms, film.frame_times_ms = mean, times
    return film
