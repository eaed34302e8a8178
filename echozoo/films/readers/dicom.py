"""DICOM films, decoded frame by frame by pydicom."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Any

import numpy as np

from echozoo.errors import DataError, EchoZooError
from echozoo.films.files import FilmFile, kind_of
from echozoo.films.readers import dicom_header as heads
from echozoo.films.readers.dicom_data import Pixels, read_data_set, reading, syntax_of
from echozoo.films.readers.dicom_pixels import PixelRule, decoder_of
from echozoo.films.readers.source import (
    COLOUR_NOTE,
    BoundedReader,
    FrameSource,
    temporary_file,
    truncated,
    write_spooled,
)
from echozoo.films.readers.video import open_video

_RLE = "1.2.840.10008.1.2.5"
# MPEG-2, MPEG-4 and HEVC; those that end in 1 may be in several pieces.
_VIDEO = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(10[0-8])(\.1)?")
_UNDEFINED = 0xFFFFFFFF


def open_dicom(file: FilmFile) -> FrameSource:
    """Open a DICOM file with one frame or many; only frames that are wanted are decoded.

    Raises:
        EchoZooError: pydicom is not installed.
        DataError: The file is no whole DICOM image, is too large, or cannot be decoded.
    """
    _need_pydicom()
    file = file.unpacked()
    header, pixels = read_data_set(file)
    rows, columns = (heads.whole(header, key, 0) for key in ("Rows", "Columns"))
    if pixels is None or rows < 1 or columns < 1:
        raise DataError(
            f"{file.path}: no frames: DICOM without pixels ({_class(header)}), wanted a film"
        )
    syntax = syntax_of(header)
    if video := _VIDEO.fullmatch(syntax):
        return _open_encapsulated_video(file, header, pixels, int(video[1]))
    notes: list[str] = []
    options = _options(file, header, pixels, (rows, columns))
    count = _count_frames(file, header, pixels, options, notes)
    options["number_of_frames"] = count
    bytes_each = options["samples_per_pixel"] * -(-options["bits_allocated"] // 8)
    file.check_pixels(count, (rows, columns), bytes_each)
    rule = PixelRule(file, header, options)

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
        raise EchoZooError("DICOM files need pydicom: pip install 'echozoo[dicom]'") from error
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # whatever fails is our one line


def _options(file: FilmFile, header: Any, pixels: Pixels, size: tuple[int, int]) -> dict[str, Any]:
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
        "transfer_syntax_uid": _transfer_syntax(file, header),
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


def _transfer_syntax(file: FilmFile, header: Any) -> Any:
    from pydicom.uid import UID

    uid = UID(syntax_of(header))
    if not uid.is_transfer_syntax:
        raise DataError(
            f"{file.path}: pixels of transfer syntax {str(uid)!r}, which nobody knows; its header"
            " is damaged, or convert it"
        )
    return uid


def _count_frames(
    file: FilmFile, header: Any, pixels: Pixels, options: dict[str, Any], notes: list[str]
) -> int:
    """The frames that are there, whatever NumberOfFrames says; a note where it says otherwise.

    Native pixels that go on behind the frames that are told, and are no whole number of frames, are
    something else: those frames are all.
    """
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
        found, rest = divmod(pixels.length * 8, bits)
        if 0 < told < found and rest > 8:  # more than the byte that makes a length even
            found = told
            notes.append(f"{pixels.length - -(-found * bits // 8)} more bytes behind its frames")
    if found != told:
        says = told or heads.text(header, "NumberOfFrames") or "nothing"
        if told or found > 1:
            notes.append(f"{found} frames are there, its header says {says}: all of them are taken")
    return found


def _count_encapsulated(file: FilmFile, pixels: Pixels, options: dict[str, Any], told: int) -> int:
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    if extended := options.get("extended_offsets"):
        return len(extended[0]) // 8
    with reading(file):
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
    file: FilmFile, header: Any, pixels: Pixels, options: dict[str, Any], start: int, stop: int
) -> list[tuple[np.ndarray, str]]:
    """Frames start to stop as pydicom decodes them, each with what its colours are."""
    with reading(file):
        (decoder, plugin), frames = decoder_of(options), []
        for index in range(start, stop):
            file.stream.seek(pixels.offset)  # its iterator loses the place in subsampled colours
            frame, told = decoder.as_array(
                file.stream, index=index, decoding_plugin=plugin, **options
            )
            frames.append((frame, str(told["photometric_interpretation"])))
    if len(frames) != stop - start or any(
        frame.shape[:2] != (options["rows"], options["columns"]) for frame, _ in frames
    ):
        raise DataError(f"{file.path}: a frame is cut off or of another size; copy it again")
    return frames


def _class(header: Any) -> str:
    try:
        name = header.SOPClassUID.name
    except Exception:
        name = ""
    return name or heads.text(header, "Modality") or "of no stated kind"


def _open_encapsulated_video(file: FilmFile, header: Any, pixels: Pixels, kind: int) -> FrameSource:
    """Open a film that is one video inside of a DICOM file."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    out = temporary_file()
    with reading(file):
        file.stream.seek(pixels.offset)
        parse_basic_offsets(file.stream)
        for fragment in generate_fragments(file.stream):
            write_spooled(out, fragment)
    stream = BoundedReader(out)
    inside = kind_of(stream.read(1024)) or ""
    bare = "mpegvideo" if kind < 102 else "h264" if kind < 107 else "hevc"
    container = inside if inside.startswith("video:") else f"video:{bare}"
    film = open_video(replace(file, stream=stream, size=stream.size, kind=container))
    film.spacing = heads.spacing_of(header, film.size, film.notes)
    mean, times = heads.times_of(header, film.num_frames, film.notes)
    if mean is not None:
        film.frame_time_ms, film.frame_times_ms = mean, times
    return film
