"""Damaged films: bytes of whole ones, changed as disks, networks and other people change them."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel
import numpy as np
from film_files import encapsulate, moving_disc, transcode, write_dicom, write_itk, write_video
from PIL import Image

FRAMES = moving_disc(5, (40, 48))
_HEAD = 512  # bytes in which most headers are
_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WORDS = (b"-1", b"0", b"abc", b"nan", b"inf", b"1e400", b"99999999999", b"1A", b"", b"\\", b"%d")


def whole_films(folder: Path) -> dict[str, Path]:
    """A film or a still of every kind, by name; a .mhd has its pixels beside it."""
    folder.mkdir()
    colour = np.stack([FRAMES, FRAMES // 2, 255 - FRAMES], axis=-1)  # (T, H, W, 3)
    region = dict(PhysicalDeltaX=0.03, PhysicalDeltaY=0.05)
    write_itk(folder / "plain.nii", FRAMES)
    write_itk(folder / "packed.nii.gz", FRAMES)
    write_itk(folder / "deep.nii", FRAMES.astype(np.int16))
    write_itk(folder / "real.nii", FRAMES.astype(np.float32))
    nibabel.save(nibabel.Nifti2Image(FRAMES.T, np.eye(4)), folder / "second.nii")
    write_itk(folder / "plain.mhd", FRAMES)
    write_itk(folder / "whole.mha", FRAMES)
    write_dicom(folder / "grey.dcm", FRAMES, region, FrameTime="20")
    write_dicom(folder / "colour.dcm", colour, FrameTimeVector=["0", "20", "20", "20", "20"])
    video = io.BytesIO()
    write_video(video, FRAMES, format="mp4")
    for name, pieces in (("JPEGBaseline8Bit", None), ("MPEG4HP41", [video.getvalue()])):
        write_dicom(folder / f"{name}.dcm", FRAMES, region, FrameTime="20")
        encapsulate(folder / f"{name}.dcm", name, pieces)
    for name in ("JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless"):
        write_dicom(folder / f"{name}.dcm", FRAMES, region, FrameTime="20")
        transcode(folder / f"{name}.dcm", name)
    twelve = dict(BitsAllocated=16, BitsStored=12, HighBit=11)
    write_dicom(folder / "jpeg12.dcm", FRAMES, PixelData=FRAMES.astype("<u2").tobytes(), **twelve)
    transcode(folder / "jpeg12.dcm", "JPEGExtendedProcess2_4")
    palette = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    tables = {f"{name}Descriptor": [256, 0, 16] for name in palette}
    tables |= {f"{name}Data": np.arange(256, dtype=np.uint16).tobytes() for name in palette}
    write_dicom(folder / "palette.dcm", FRAMES, PhotometricInterpretation="PALETTE COLOR", **tables)
    write_video(folder / "film.mp4", FRAMES)
    write_video(folder / "film.mkv", FRAMES)
    write_video(folder / "film.wmv", FRAMES, codec="wmv2")
    write_video(folder / "film.avi", FRAMES, codec="mpeg4")
    Image.fromarray(FRAMES[0]).save(folder / "still.png")
    Image.fromarray(FRAMES[0].astype(np.uint16) * 256).save(folder / "deep.png")
    Image.fromarray(colour[0]).save(folder / "still.jpg")
    Image.fromarray(colour[0]).quantize(64).save(folder / "palette.png")
    cv2.imwrite(str(folder / "deep_colour.png"), colour[0].astype(np.uint16) * 257)
    return {path.name: path for path in sorted(folder.iterdir()) if path.suffix != ".raw"}


def mutate(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Change a file's bytes in one to three ways: their names, and what comes out."""
    names = []
    for _ in range(int(rng.integers(1, 4))):
        name = str(rng.choice(list(_WAYS)))
        data = _WAYS[name](data, rng) if data else data
        names.append(name)
    return "+".join(names), data


def mutate_packed(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """The same inside a gzip file, whose checksum then says nothing."""
    name, content = mutate(gzip.decompress(data), rng)
    return f"inside {name}", gzip.compress(content, 1, mtime=0)


def _place(data: bytes, rng: np.random.Generator, width: int = 1) -> int:
    """A place in a file, in its head three times of four."""
    end = len(data) if rng.random() < 0.25 else min(_HEAD, len(data))
    return int(rng.integers(0, max(end - width, 1)))


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _number(data: bytes, rng: np.random.Generator) -> bytes:
    """An extreme number over 1, 2 or 4 aligned bytes, in either order."""
    width = int(rng.choice([1, 2, 4]))
    value = int(rng.choice(_EXTREMES)) & (256**width - 1)
    at = _place(data, rng, width) // width * width
    piece = value.to_bytes(width, str(rng.choice(["little", "big"])))
    return data[:at] + piece + data[at + width :]


def _real(data: bytes, rng: np.random.Generator) -> bytes:
    value = rng.choice([np.nan, np.inf, -1.0, 0.0, 1e-30, 1e30]).astype("<f4").tobytes()
    at = _place(data, rng, 4) // 4 * 4
    return data[:at] + value + data[at + 4 :]


def _word(data: bytes, rng: np.random.Generator) -> bytes:
    """Another word in place of a number that is written in digits."""
    found = list(re.finditer(rb"[0-9][0-9.]*", data[:4096]))
    if not found:
        return _flip(data, rng)
    one = found[int(rng.integers(len(found)))]
    return data[: one.start()] + bytes(rng.choice(_WORDS)) + data[one.end() :]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _grow(data: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.integers(0, 256, int(rng.integers(1, 5000)), dtype=np.uint8).tobytes()


def _move(data: bytes, rng: np.random.Generator) -> bytes:
    """A block is lost, or comes twice."""
    start, size = _place(data, rng), int(rng.integers(1, 64))
    block = data[start : start + size]
    return data[:start] + block * int(rng.choice([0, 2])) + data[start + size :]


def _noise(data: bytes, rng: np.random.Generator) -> bytes:
    start, size = _place(data, rng), int(rng.integers(4, 64))
    piece = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
    return data[:start] + piece + data[start + size :]


_WAYS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "flip": _flip,
    "number": _number,
    "real": _real,
    "word": _word,
    "cut": _cut,
    "grow": _grow,
    "move": _move,
    "noise": _noise,
}
