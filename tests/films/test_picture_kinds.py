"""Kinds of pictures: the pixels that Pillow sees in them, none of them lost."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from film_files import moving_disc
from PIL import Image, ImageOps

from echozoo.errors import DataError
from echozoo.films.film import open_film

GREY = moving_disc(1, (40, 48))[0]
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
LUMINANCE = COLOUR @ [0.299, 0.587, 0.114]


def frame_of(path: Path) -> np.ndarray:
    return open_film(path).frames()[0]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_as_pillow_turns_it(orientation, suffix, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GREY).save(path, exif=exif)
    with Image.open(path) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(frame_of(path), wanted)


@pytest.mark.parametrize("mode", ["LA", "P", "RGBA", "1", "CMYK", "RGB"])
def test_modes_as_pillow_shows_them(mode, tmp_path):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(COLOUR).convert(mode).save(path)
    with Image.open(path) as image:
        wanted = np.asarray(image.convert("RGB")) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(frame_of(path), wanted, atol=1)


@pytest.mark.parametrize("factor", [1, 4, 16, 64, 257])
def test_grey_of_16_bits(factor, tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * factor).save(tmp_path / "a.png")
    np.testing.assert_array_equal(frame_of(tmp_path / "a.png"), GREY)


@pytest.mark.parametrize("factor", [1, 257])
@pytest.mark.parametrize("alpha", [False, True])
def test_colours_of_16_bits(alpha, factor, tmp_path):
    pixels = COLOUR[..., ::-1].astype(np.uint16) * factor  # OpenCV's order
    if alpha:
        pixels = np.dstack([pixels, np.full(GREY.shape, 65535, np.uint16)])
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    np.testing.assert_allclose(frame_of(tmp_path / "a.png"), LUMINANCE, atol=1)


def test_an_animation_is_said(tmp_path):
    frames = [Image.fromarray(frame) for frame in (GREY, 255 - GREY, GREY)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    film = open_film(tmp_path / "a.png")
    assert film.notes[0] == "an animation of 3 pictures: the first is taken"
    np.testing.assert_array_equal(film.frames()[0], GREY)


def test_labels_that_a_jpeg_has_changed(tmp_path):
    for name in ("a.png", "a.jpg"):
        Image.fromarray(GREY // 64).save(tmp_path / name)
    np.testing.assert_array_equal(
        open_film(tmp_path / "a.png", labels=True).frames()[0], GREY // 64
    )
    with pytest.raises(DataError, match=r"a.jpg: labels in colour or changed by being read .JPEG."):
        open_film(tmp_path / "a.jpg", labels=True)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_hostile_pictures(tmp_path):
    size = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(13_000), 9)
    large = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    hostile = {
        "large.png": (large, "frames of 13000 x 13000 pixels, wanted 8192 x 8192 at most"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "no known kind"),
        "cut.png": (large[:60], "not readable as a picture|wanted 8192"),
    }
    for name, (data, reason) in hostile.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=reason):
            open_film(tmp_path / name)
