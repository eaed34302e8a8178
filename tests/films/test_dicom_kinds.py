"""Kinds of DICOM files that scanners and archives write: the frames that pydicom reads in them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from film_files import encapsulate, moving_disc, transcode, write_dicom, write_video

from echozoo.errors import DataError
from echozoo.films.film import NO_SPACING, open_film

pydicom = pytest.importorskip("pydicom")
FILM = moving_disc(5, (40, 48))
COLOUR = np.stack([FILM, FILM // 2, 255 - FILM], axis=-1)
DEEP = FILM.astype(np.uint16) * 16 + 5
BITS_12 = dict(BitsAllocated=16, BitsStored=12, HighBit=11, PixelData=DEEP.tobytes())
REGION = dict(PhysicalDeltaX=0.03, PhysicalDeltaY=0.05)
LUMINANCE = [0.299, 0.587, 0.114]


def pydicoms_frames(path: Path) -> np.ndarray:
    frames = pydicom.pixels.pixel_array(path)
    return frames @ LUMINANCE if frames.shape[-1] == 3 else frames


def patch(path: Path, old: bytes, new: bytes) -> Path:
    """Put other bytes in a file: values that pydicom would not write."""
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    return path


@pytest.mark.parametrize("frames", [FILM, DEEP, COLOUR], ids=["grey", "deep", "colour"])
@pytest.mark.parametrize(
    "syntax",
    [
        *("ImplicitVRLittleEndian", "ExplicitVRBigEndian", "RLELossless"),
        *("JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"),
    ],
)
def test_transfer_syntaxes(syntax, frames, tmp_path):
    path = tmp_path / "a.dcm"
    write_dicom(path, frames if frames is COLOUR else FILM, **BITS_12 if frames is DEEP else {})
    transcode(path, syntax)
    wanted = pydicoms_frames(path)
    if frames is DEEP:
        np.testing.assert_array_equal(wanted, DEEP)
        wanted = wanted // 16
    np.testing.assert_allclose(open_film(path).frames(), wanted, atol=frames is COLOUR)


def test_deflated_and_a_limit_on_it(tmp_path):
    path = tmp_path / "a.dcm"
    write_dicom(path, FILM)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    data.save_as(path)
    np.testing.assert_array_equal(open_film(path).frames(), FILM)
    data.PixelData, data.NumberOfFrames = bytes(40 * 48 * 5000), 5000
    data.save_as(path)
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match="more than the limit"):
        open_film(path, max_bytes=10**6)


def test_two_pixels_that_share_their_colour(tmp_path):
    halved = np.empty((5, 40, 48, 2), np.uint8)  # Y Y Cb Cr of each two pixels
    halved[..., 0::2, 0], halved[..., 0::2, 1] = FILM[..., 0::2], FILM[..., 1::2]
    halved[..., 1::2, 0], halved[..., 1::2, 1] = 120, 140
    tags = dict(PhotometricInterpretation="YBR_FULL_422", PixelData=halved.tobytes())
    write_dicom(tmp_path / "a.dcm", COLOUR, **tags)
    film = open_film(tmp_path / "a.dcm")
    np.testing.assert_allclose(film.frames(), pydicoms_frames(tmp_path / "a.dcm"), atol=1)
    assert film.num_frames == 5


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_values_of_more_bits(bits, tmp_path):
    deep = FILM.astype(np.uint16) * 2 ** (bits - 8)
    for name, stored in (("told", bits), ("untold", 16)):
        tags = dict(BitsAllocated=16, BitsStored=stored, HighBit=stored - 1)
        write_dicom(tmp_path / f"{name}.dcm", FILM, PixelData=deep.tobytes(), **tags)
        np.testing.assert_array_equal(open_film(tmp_path / f"{name}.dcm").frames(), FILM)
    write_dicom(
        tmp_path / "few.dcm", FILM, PixelData=FILM.astype(np.uint16).tobytes(), **tags,
        PhotometricInterpretation="MONOCHROME1",
    )  # fmt: skip
    np.testing.assert_array_equal(open_film(tmp_path / "few.dcm").frames(), 255 - FILM)


def test_jpeg_of_12_bits(tmp_path):
    write_dicom(tmp_path / "a.dcm", FILM, **BITS_12)
    transcode(tmp_path / "a.dcm", "JPEGExtendedProcess2_4")
    film = open_film(tmp_path / "a.dcm")
    assert np.abs(film.frames().astype(int) - FILM).max() <= 1
    assert film.notes == ["12-bit pixels reduced to 8 bits", NO_SPACING]
    path = pydicom.data.get_testdata_file("JPGExtended.dcm", download=False)
    if path is None:
        pytest.skip("this pydicom carries no JPGExtended.dcm")
    # Other decoders read 244 and 95 of 12 bits there.
    frame = open_film(path).frames()[0]
    assert [frame[420, 140], frame[230, 120]] == [244 // 16, 95 // 16]


def test_windows_and_rescaling(tmp_path):
    window = dict(WindowCenter=1024, WindowWidth=2048)
    write_dicom(tmp_path / "a.dcm", FILM, **BITS_12, **window)
    wanted = np.clip(DEEP // 16 * 2.0, 0, 255)
    assert np.abs(open_film(tmp_path / "a.dcm").frames() - wanted).max() <= 1
    scale = dict(RescaleSlope=2, RescaleIntercept=-100, WindowCenter=156, WindowWidth=512)
    write_dicom(tmp_path / "b.dcm", FILM, **scale)
    assert np.abs(open_film(tmp_path / "b.dcm").frames() - FILM.astype(int)).max() <= 1


@pytest.mark.parametrize("scale", [1, 257], ids=["of 8 bits", "of 16 bits"])
def test_palettes_with_entries_of_16_bits(scale, tmp_path):
    tables = [np.arange(256), np.arange(256)[::-1], np.full(256, 90)]
    tags = dict(PhotometricInterpretation="PALETTE COLOR")
    for name, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        entries = (table * scale).astype(np.uint16)
        tags[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    write_dicom(tmp_path / "a.dcm", FILM, **tags)
    colours = pydicom.pixels.apply_color_lut(FILM, pydicom.dcmread(tmp_path / "a.dcm"))
    film = open_film(tmp_path / "a.dcm")
    np.testing.assert_allclose(film.frames(), colours / scale @ LUMINANCE, atol=1)
    assert "colour converted to grey" in film.notes
    del tags["RedPaletteColorLookupTableData"]
    write_dicom(tmp_path / "b.dcm", FILM, **tags)
    with pytest.raises(DataError, match="b.dcm: not readable as DICOM"):
        open_film(tmp_path / "b.dcm")


VIDEOS = [
    ("MPEG4HP41", "libx264", "mp4"),
    ("MPEG4HP41", "libx264", "h264"),
    ("MPEG4HP41F", "libx264", "mp4"),
    ("MPEG4HP41BD", "libx264", "mpegts"),
    ("MPEG2MPML", "mpeg2video", "mpeg2video"),
    ("MPEG2MPHL", "mpeg2video", "mpeg"),
    ("MPEG2MPHL", "mpeg2video", "mpegts"),
]


@pytest.mark.parametrize(("syntax", "codec", "container"), VIDEOS)
def test_videos_inside(syntax, codec, container, tmp_path):
    av = pytest.importorskip("av")
    write_dicom(tmp_path / "a.dcm", COLOUR, REGION, CineRate="20", PixelSpacing=[9, 9])
    video = io.BytesIO()
    write_video(video, FILM, codec=codec, format=container)
    encapsulate(tmp_path / "a.dcm", syntax, [video.getvalue()], fragments=1 + ("F" in syntax[-1:]))
    video.seek(0)
    with av.open(video, format=container) as stream:
        wanted = [frame.to_ndarray(format="gray") for frame in stream.decode(video=0)]
    film = open_film(tmp_path / "a.dcm")
    np.testing.assert_array_equal(film.frames(), wanted)
    assert film.num_frames == 5
    assert (film.spacing, film.frame_time_ms) == ((0.5, 0.3), 50)


@pytest.mark.parametrize("told", [None, 9, 1234])
def test_the_frames_that_are_there(told, tmp_path):
    path = tmp_path / "a.dcm"
    write_dicom(path, FILM, **{} if told is None else dict(NumberOfFrames=told))
    if told is None:
        data = pydicom.dcmread(path)
        del data.NumberOfFrames
        data.save_as(path)
        np.testing.assert_array_equal(data.pixel_array, FILM)
    elif told == 1234:
        patch(path, b"IS\x04\x001234", b"IS\x04\x00abc ")
    film = open_film(path)
    np.testing.assert_array_equal(film.frames(), FILM)
    says = {None: "nothing", 9: "9", 1234: "abc"}[told]
    assert film.notes[0] == f"5 frames are there, its header says {says}: all of them are taken"


def test_bytes_behind_the_frames_are_no_frames(tmp_path):
    write_dicom(tmp_path / "a.dcm", FILM, PixelData=FILM.tobytes() * 9 + bytes(700))
    film = open_film(tmp_path / "a.dcm")
    np.testing.assert_array_equal(film.frames(), FILM)
    assert film.notes[0] == f"{FILM.size * 8 + 700} more bytes behind its frames"


@pytest.mark.parametrize("constant", [None, "33"])
def test_uneven_frame_times(constant, tmp_path):
    tags = dict(FrameTimeVector=[0, 40, 40, 40, 90], FrameIncrementPointer=0x00181065)
    write_dicom(tmp_path / "a.dcm", FILM, **tags, **{} if constant is None else dict(FrameTime=33))
    film = open_film(tmp_path / "a.dcm")
    assert film.frame_times_ms.tolist() == [0, 40, 80, 120, 210]
    assert film.frame_time_ms == 52.5
    assert "uneven frame times, 40 to 90 ms" in film.notes[0]
    write_dicom(tmp_path / "b.dcm", FILM, **tags | dict(FrameTimeVector=[0, 40]))
    assert "FrameTimeVector has 2 values for 5 frames" in open_film(tmp_path / "b.dcm").notes[0]


def test_values_that_are_no_numbers(tmp_path):
    path = tmp_path / "a.dcm"
    write_dicom(path, FILM, REGION, FrameTime="4321", BitsStored=[8, 8])
    patch(path, b"DS\x04\x004321", b"DS\x04\x00abc ")
    film = open_film(path)
    np.testing.assert_array_equal(film.frames(), FILM)
    assert (film.spacing, film.frame_time_ms, film.notes) == ((0.5, 0.3), None, [])
    write_dicom(path, FILM, REGION | dict(PhysicalDeltaX=float("nan")))
    film = open_film(path)
    assert film.spacing is None
    assert "without finite PhysicalDeltaX and Y" in film.notes[0]
    write_dicom(path, FILM)
    patch(path, b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")
    with pytest.raises(DataError, match=r"a.dcm: pixels of transfer syntax '1.2.840.10008.9.9.9'"):
        open_film(path)


def test_two_regions(tmp_path):
    for other in (0.05, 0.02):
        path = tmp_path / f"{other}.dcm"
        write_dicom(path, FILM, dict(PhysicalDeltaX=0.05, PhysicalDeltaY=0.05))
        data = pydicom.dcmread(path)
        second = pydicom.Dataset()
        second.update(data.SequenceOfUltrasoundRegions[0])
        second.PhysicalDeltaX = second.PhysicalDeltaY = other
        data.SequenceOfUltrasoundRegions.append(second)
        data.save_as(path)
    assert open_film(tmp_path / "0.05.dcm").spacing == (0.5, 0.5)
    film = open_film(tmp_path / "0.02.dcm")
    assert film.spacing is None
    assert "2 ultrasound regions of different spacing (0.5 x 0.5, 0.2 x 0.2 mm)" in film.notes[0]


def test_labels_survive_no_losses(tmp_path):
    write_dicom(tmp_path / "a.dcm", FILM // 64)
    np.testing.assert_array_equal(open_film(tmp_path / "a.dcm", labels=True).frames(), FILM // 64)
    encapsulate(tmp_path / "a.dcm", "JPEGBaseline8Bit")
    with pytest.raises(DataError, match="changed by being read .compressed with losses"):
        open_film(tmp_path / "a.dcm", labels=True)
