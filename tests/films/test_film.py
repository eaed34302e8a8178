from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from film_files import moving_disc, write_dicom, write_video
from PIL import Image

from echozoo.errors import DataError
from echozoo.films.film import NO_SPACING, open_film
from echozoo.films.io import read_volume, write_volume

FILM = moving_disc(7, (40, 48))
COLOUR = np.stack([FILM, FILM // 2, 255 - FILM], axis=-1)
LUMINANCE = COLOUR @ [0.299, 0.587, 0.114]


def write_itk(path: Path, array: np.ndarray, **options: object) -> Path:
    image = sitk.GetImageFromArray(array, isVector=options.get("vector", False))
    image.SetSpacing(options.get("spacing", (0.3, 0.15, 2.0))[: image.GetDimension()])
    if image.GetDimension() == 3:
        image.SetOrigin((10.0, -20.0, 5.0))
        image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mhd"])
def test_volumes_are_read_by_range_with_their_geometry(suffix: str, tmp_path: Path) -> None:
    path = write_itk(tmp_path / f"a{suffix}", FILM)
    film = open_film(path)
    assert (film.name, film.num_frames, film.size) == ("a", 7, (40, 48))
    assert film.spacing == pytest.approx((0.15, 0.3))
    assert film.geometry.origin == pytest.approx((10, -20, 5))
    np.testing.assert_array_equal(film.frames(2, 5), FILM[2:5])
    np.testing.assert_array_equal(film.frames(), read_volume(path).array)
    assert film.notes == []
    with pytest.raises(DataError, match="frames 5 to 7 wanted, it has 0 to 6"):
        film.frames(5, 8)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mhd"])
def test_other_pixel_types_follow_the_rules_of_read_volume(suffix: str, tmp_path: Path) -> None:
    fractions = write_itk(tmp_path / f"f{suffix}", (FILM / 255).astype(np.float32))
    shorts = write_itk(tmp_path / f"s{suffix}", FILM.astype(np.int16))
    for path in (fractions, shorts):
        np.testing.assert_array_equal(open_film(path).frames(), FILM)
    with pytest.raises(DataError, match=r"pixels from 0 to \d{3,}, wanted 8-bit"):
        open_film(write_itk(tmp_path / f"big{suffix}", FILM.astype(np.int16) * 3))


def test_nifti_with_a_slope_and_a_still_image(tmp_path: Path) -> None:
    path = write_itk(tmp_path / "a.nii", FILM.astype(np.int16) // 2)
    data = bytearray(path.read_bytes())
    data[112:116] = np.float32(2).tobytes()
    path.write_bytes(data)
    np.testing.assert_array_equal(open_film(path).frames(), FILM // 2 * 2)
    film = open_film(write_itk(tmp_path / "b.nii.gz", FILM[0]))
    assert (film.num_frames, len(film.geometry.spacing)) == (1, 2)


def test_colour_volumes_become_grey(tmp_path: Path) -> None:
    write_itk(tmp_path / "c.mhd", COLOUR, vector=True)
    header = bytearray(write_itk(tmp_path / "grey.nii", FILM).read_bytes()[:352])
    header[70:74] = np.array([128, 24], "<i2").tobytes()  # NIfTI's RGB24
    (tmp_path / "c.nii").write_bytes(header + COLOUR.tobytes())
    for name in ("c.nii", "c.mhd"):
        film = open_film(tmp_path / name)
        np.testing.assert_allclose(film.frames(3, 6), LUMINANCE[3:6], atol=1)
        assert film.notes == ["colour converted to grey"]


REGION = dict(PhysicalDeltaX=0.03, PhysicalDeltaY=-0.05)


def test_dicom_by_content_with_spacing_and_frame_time(tmp_path: Path) -> None:
    write_dicom(tmp_path / "IM_0001", FILM, REGION, FrameTime="40.0")
    film = open_film(tmp_path / "IM_0001")
    assert (film.name, film.num_frames, film.size) == ("IM_0001", 7, (40, 48))
    assert film.spacing == pytest.approx((0.5, 0.3))
    assert film.frame_time_ms == 40
    np.testing.assert_array_equal(film.frames(2, 5), FILM[2:5])


@pytest.mark.parametrize(
    ("tags", "time"),
    [
        (dict(CineRate="25"), 40),
        (dict(FrameTimeVector=[0, 32, 33, 32, 31, 32, 32]), 32),
        (dict(RecommendedDisplayFrameRate="50"), 20),
        (dict(FrameTime="0"), None),
        ({}, None),
    ],
)
def test_frame_times_of_dicom(tags: dict, time: float | None, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", FILM, REGION, **tags)
    assert open_film(tmp_path / "a.dcm").frame_time_ms == time


def test_dicom_without_a_spacing_that_can_be_used(tmp_path: Path) -> None:
    write_dicom(tmp_path / "none.dcm", FILM)
    seconds = REGION | dict(PhysicalUnitsXDirection=4)
    write_dicom(tmp_path / "doppler.dcm", FILM, seconds)
    write_dicom(tmp_path / "resized.dcm", FILM, REGION | dict(RegionLocationMaxX1=600))
    for name in ("none", "doppler", "resized"):
        film = open_film(tmp_path / f"{name}.dcm")
        assert film.spacing is None
        assert film.notes[-1] == NO_SPACING
    assert "ends at pixel (600, 39)" in film.notes[0]
    write_dicom(tmp_path / "spaced.dcm", FILM, PixelSpacing=[0.5, 0.4])
    assert open_film(tmp_path / "spaced.dcm").spacing == (0.5, 0.4)
    assert open_film(tmp_path / "none.dcm", spacing=(0.2, 0.1)).spacing == (0.2, 0.1)


def test_dicom_of_other_pixels(tmp_path: Path) -> None:
    write_dicom(tmp_path / "rgb.dcm", COLOUR, REGION)
    film = open_film(tmp_path / "rgb.dcm")
    np.testing.assert_allclose(film.frames(), LUMINANCE, atol=1)
    assert film.notes == ["colour converted to grey"]
    write_dicom(tmp_path / "inverse.dcm", FILM, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(
        open_film(tmp_path / "inverse.dcm").frames(0, 1)[0], 255 - FILM[0]
    )
    deep = FILM.astype(np.uint16) * 16 + 5
    tags = dict(BitsAllocated=16, BitsStored=12, HighBit=11, PixelData=deep.tobytes())
    write_dicom(tmp_path / "deep.dcm", FILM, **tags)
    film = open_film(tmp_path / "deep.dcm")
    np.testing.assert_array_equal(film.frames(), FILM)
    assert film.notes[0] == "12-bit pixels reduced to 8 bits"


def test_the_real_film_in_pydicom() -> None:
    data = pytest.importorskip("pydicom.data")
    path = data.get_testdata_file("examples_ybr_color.dcm", download=False)
    if path is None:
        pytest.skip("this pydicom carries no examples_ybr_color.dcm")
    film = open_film(path)
    assert (film.num_frames, film.size) == (30, (240, 320))
    assert film.frame_time_ms == pytest.approx(33.333)
    assert film.spacing is None  # its regions are those of a larger image
    assert film.frames(29, 30).max() > 150


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".avi", "mpeg4")])
def test_videos(suffix: str, codec: str, tmp_path: Path) -> None:
    write_video(tmp_path / f"v{suffix}", FILM, 25, codec)
    film = open_film(tmp_path / f"v{suffix}")
    assert (film.num_frames, film.size, film.frame_time_ms) == (7, (40, 48), 40)
    assert np.abs(film.frames(3, 6).astype(int) - FILM[3:6]).mean() < 12
    np.testing.assert_array_equal(film.frames(0, 1), film.frames()[:1])  # backwards
    assert film.notes == [NO_SPACING]
    shutil.copy(tmp_path / f"v{suffix}", tmp_path / "nameless")
    assert open_film(tmp_path / "nameless").num_frames == 7


def test_pictures(tmp_path: Path) -> None:
    Image.fromarray(FILM[0]).save(tmp_path / "a.png")
    Image.fromarray(COLOUR[0]).save(tmp_path / "b.PNG")
    Image.fromarray(FILM[0].astype(np.uint16) * 257).save(tmp_path / "c.png")
    Image.fromarray(FILM[0]).save(tmp_path / "d.jpg", quality=95)
    np.testing.assert_array_equal(open_film(tmp_path / "a.png").frames(), FILM[:1])
    np.testing.assert_allclose(open_film(tmp_path / "b.PNG").frames(), LUMINANCE[:1], atol=1)
    np.testing.assert_array_equal(open_film(tmp_path / "c.png").frames(), FILM[:1])
    assert open_film(tmp_path / "d.jpg").size == (40, 48)


def test_arrays() -> None:
    np.testing.assert_array_equal(open_film(FILM).frames(), FILM)
    np.testing.assert_array_equal(open_film(FILM[0]).frames(), FILM[:1])
    np.testing.assert_array_equal(open_film(FILM / 255).frames(), FILM)
    np.testing.assert_allclose(open_film(COLOUR).frames(), LUMINANCE, atol=1)
    film = open_film(FILM, spacing=(0.2, 0.3), frame_time_ms=20)
    assert (film.spacing, film.frame_time_ms, film.notes) == ((0.2, 0.3), 20, [])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(9), "shape (9,), wanted (H, W), (T, H, W)"),
        (np.zeros((2, 3, 20, 20)), "shape (2, 3, 20, 20), wanted"),
        (np.zeros((0, 20, 20)), "no frames"),
        (np.full((20, 20), np.nan), "400 pixels are NaN"),
        (np.full((20, 20), 256), "from 256 to 256, wanted 8-bit values, 0 to 255"),
        (np.full((20, 20), "a"), "type <U1, wanted whole or real numbers"),
        (np.zeros((20, 4)), "20 x 4 pixels, wanted 8 x 8 or more"),
    ],
)
def test_bad_arrays(array: np.ndarray, reason: str) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        open_film(array)


def bad_files(folder: Path) -> dict[str, str]:
    """Write files of every kind that cannot be read, and say which reason each has."""
    write_volume(folder / "v.nii.gz", FILM, (1, 1))
    whole = (folder / "v.nii.gz").read_bytes()
    packed = gzip.decompress(whole)
    write_itk(folder / "v.mhd", FILM)
    (folder / "v.raw").write_bytes((folder / "v.raw").read_bytes()[:-9])
    write_dicom(folder / "d.dcm", FILM)
    write_video(folder / "m.mp4", FILM)
    Image.fromarray(FILM[0]).save(folder / "p.png")
    nan = FILM.astype(np.float32)
    nan[3, 2, 2] = np.nan
    write_itk(folder / "nan.nii.gz", nan)
    sitk.WriteImage(sitk.Image([9, 9, 2, 2], sitk.sitkUInt8), str(folder / "four.nii.gz"))
    cut = {
        "empty.nii.gz": b"",
        "half.nii.gz": whole[: len(whole) // 2],
        "short.nii": packed[:-100],
        "short.nii.gz": gzip.compress(packed[:-100]),
        "stub.nii": packed[:100],
        "noise.nii.gz": b"no gzip at all",
        "half.dcm": (folder / "d.dcm").read_bytes()[:-3000],
        "noise.dcm": b"no dicom at all" * 20,
        "half.mp4": (folder / "m.mp4").read_bytes()[:400],
        "half.png": (folder / "p.png").read_bytes()[:-500],
        "noise.jpg": b"no picture at all",
        "notes.txt": b"text",
    }
    for name, data in cut.items():
        (folder / name).write_bytes(data)
    for name in ("v.nii.gz", "d.dcm", "m.mp4", "p.png"):
        (folder / name).unlink()
    write_dicom(folder / "report.dcm", FILM, Rows=0)
    return {
        "absent.nii.gz": "no such file",
        "empty.nii.gz": "empty file (0 bytes)",
        "half.nii.gz": "truncated or damaged",
        "short.nii": "truncated",
        "short.nii.gz": "truncated",
        "stub.nii": "truncated: 100 bytes",
        "noise.nii.gz": "of no known kind",
        "four.nii.gz": "4-D image",
        "nan.nii.gz": "1 pixels are NaN",
        "v.mhd": "truncated",
        "half.dcm": "truncated",
        "noise.dcm": "of no known kind",
        "report.dcm": "no frames",
        "half.mp4": "not readable as a video",
        "half.png": "not readable as a picture",
        "noise.jpg": "of no known kind",
        "notes.txt": "of no known kind",
    }


def test_bad_files_are_one_line_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, reason in bad_files(tmp_path).items():
        with pytest.raises(DataError) as error:
            open_film(tmp_path / name)
        assert reason in str(error.value), name
        assert name.split(".")[0] in str(error.value)
        assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""  # the decoders keep quiet


def test_real_films(shared: Path) -> None:
    paths = sorted((shared / "data/camus_mhd").rglob("*_2CH_ES.mhd"))[:1]
    paths += sorted((shared / "data/camus_mini").rglob("*_ED.nii.gz"))[:1]
    for path in paths:
        film, volume = open_film(path), read_volume(path)
        np.testing.assert_array_equal(film.frames(), volume.array)
        assert film.spacing == volume.spacing


def test_a_video_may_not_unpack_to_more_than_the_limit(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", FILM)
    assert open_film(tmp_path / "film.mp4", max_bytes=FILM.size).num_frames == len(FILM)
    with pytest.raises(DataError, match="film.mp4: .* more than the limit"):
        open_film(tmp_path / "film.mp4", max_bytes=FILM.size - 1)
