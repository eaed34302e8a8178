"""Kinds of videos that machines and phones write: the frames that PyAV decodes in them."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from film_files import moving_disc, write_video

from echozoo.errors import DataError
from echozoo.films.film import NO_SPACING, open_film

av = pytest.importorskip("av")
FILM = moving_disc(12, (64, 96))
SUFFIXES = [
    *((".mkv", "libx264"), (".webm", "libvpx-vp9"), (".mkv", "ffv1"), (".wmv", "wmv2")),
    *((".mpg", "mpeg2video"), (".ts", "mpeg2video"), (".m2v", "mpeg2video"), (".avi", "mjpeg")),
    *((".avi", "rawvideo"), (".mov", "prores_ks")),
]
FORMATS = {"mjpeg": "yuvj420p", "rawvideo": "bgr24", "prores_ks": "yuv422p10le"}


def pyavs_frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


@pytest.mark.parametrize(("suffix", "codec"), SUFFIXES)
def test_containers_and_codecs(suffix, codec, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_video(path, FILM, codec=codec, pixels=FORMATS.get(codec, "yuv420p"))
    film = open_film(path)
    np.testing.assert_array_equal(film.frames(), pyavs_frames(path))
    assert (film.num_frames, film.frame_time_ms, film.notes) == (12, 40, [NO_SPACING])


def test_interlaced(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, FILM, options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    np.testing.assert_array_equal(open_film(path).frames(), pyavs_frames(path))


def test_a_palette_of_colours(tmp_path):
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 0], colours[:, 1:] = 255, np.arange(256)[::-1, None]  # of an index, ARGB
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "pal8"
        for frame in FILM:
            picture = av.VideoFrame.from_ndarray((frame, colours), format="pal8")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    np.testing.assert_allclose(open_film(path).frames(), 255 - FILM, atol=1)


TURNS = {  # a, b, c, d of the container: a stored (x, y) is shown at (a x + c y, b x + d y)
    (0, 1, -1, 0): lambda frames: np.rot90(frames, -1, (1, 2)),
    (-1, 0, 0, -1): lambda frames: np.rot90(frames, 2, (1, 2)),
    (0, -1, 1, 0): lambda frames: np.rot90(frames, 1, (1, 2)),
    (-1, 0, 0, 1): lambda frames: frames[:, :, ::-1],
    (1, 0, 0, -1): lambda frames: frames[:, ::-1],
    (0, 1, 1, 0): lambda frames: frames.swapaxes(1, 2),
    (0, 0, 0, 0): lambda frames: frames,
}


@pytest.mark.parametrize("matrix", TURNS, ids=str)
def test_turned_and_mirrored(matrix, tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, FILM)
    wanted = TURNS[matrix](open_film(path).frames())
    whole = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = (value << 16 for value in matrix)
    at = path.read_bytes().index(whole, path.read_bytes().index(b"tkhd"))
    data = bytearray(path.read_bytes())
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    np.testing.assert_array_equal(open_film(path).frames(), wanted)


@pytest.mark.parametrize(
    ("name", "codec", "note"),
    [
        ("a.avi", "mjpeg", r"\d frames can be decoded, its header says 12: \d are missing"),
        ("a.mkv", "libx264", r"its frames end at \d+ ms, its header says 480: the end is missing"),
        ("a.wmv", "wmv2", r"\d+ bytes, its header says \d+: the end is missing"),
    ],
)
def test_what_is_cut_off_is_said(name, codec, note, tmp_path):
    path = tmp_path / name
    write_video(path, FILM, codec=codec, pixels=FORMATS.get(codec, "yuv420p"))
    wanted, data = pyavs_frames(path), path.read_bytes()
    path.write_bytes(data[: int(0.6 * len(data))])
    film = open_film(path)
    assert 0 < film.num_frames < 12
    assert any(re.fullmatch(note, line) for line in film.notes)
    np.testing.assert_array_equal(film.frames(0, 1)[0], wanted[0])


def test_uneven_times(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(path, FILM[:5], times=[0, 40, 80, 120, 250])
    film = open_film(path)
    assert film.frame_times_ms.tolist() == [0, 40, 80, 120, 250]
    assert film.frame_time_ms == 62.5
    assert "uneven frame times, 40 to 130 ms" in film.notes[0]


def test_pixels_that_are_no_squares(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, FILM, options={"x264-params": "sar=4/3"})
    assert open_film(path).notes[0].startswith("its pixels are shown 1.333 times as wide as high")


def test_a_playlist_plays_nothing(tmp_path):
    write_video(tmp_path / "inner.avi", FILM, codec="mpeg4")
    assert open_film(tmp_path / "inner.avi").num_frames == 12
    for text in ("ffconcat version 1.0\nfile inner.avi\n", "#EXTM3U\n#EXTINF:1,\ninner.avi\n"):
        (tmp_path / "list.mp4").write_text(text)
        with pytest.raises(DataError, match=r"list.mp4: of no known kind"):
            open_film(tmp_path / "list.mp4")
