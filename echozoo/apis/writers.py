"""What a film's results become on disk: label maps, tables, summaries, pictures, films."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echozoo.apis.measuring import Measures
from echozoo.apis.sources import GREY_FILE, LABEL_FILE, SEG_FILE, SUMMARY_FILE
from echozoo.datasets.anatomy import STRUCTURES, Structure, choose_structures, palette
from echozoo.errors import EchoZooError, StorageError
from echozoo.films.film import EchoFilm
from echozoo.studies.page import THUMBNAIL_FILE
from echozoo.visualization.film import display_size, write_gif
from echozoo.visualization.overlay import overlay, resize_labels
from echozoo.whole_files import written_whole

# What a film's folder may hold, the summary last: where it is, the others are whole.
RESULT_FILES = (
    *(LABEL_FILE, GREY_FILE, SEG_FILE, "labels.txt", "frames.csv", "curves.png"),
    *("overlay.gif", "overlay.png", "overlay.mp4", THUMBNAIL_FILE, SUMMARY_FILE),
)
_LONGEST_GIF = 90  # frames
_PAPER, _INK, _FAINT = (18, 18, 20), (235, 235, 235), (150, 150, 155)
_BAR = 30
_THUMBNAIL = 160  # pixels wide


def write_label_description(path: Path, structures: Sequence[str]) -> None:
    """Write what the labels mean, in the form that ITK-SNAP loads (Segmentation menu)."""
    lines = [
        "# Labels of echozoo, for ITK-SNAP: Segmentation > Import Label Descriptions",
        "# index, red, green, blue, opacity, visible, in 3-D, name",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for structure in choose_structures(structures):
        red, green, blue = structure.colour
        lines.append(
            f"{int(structure):5d} {red:5d} {green:4d} {blue:4d}        1  1  1"
            f'    "{structure.full_name}"'
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all; numbers that are none become null."""
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            part.write_text(text, "utf-8", errors="backslashreplace")
    except OSError as error:
        raise StorageError.of(path, error) from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


class OverlayWriter:
    """Draws the label maps over the film: a GIF, or a PNG of a still; an MP4 where wanted.

    And a thumbnail of end diastole, for the page over all films.

    A GIF holds up to 90 frames, evenly chosen, at the film's own pace; the MP4 has all.

    Args:
        folder: Where ``overlay.gif``, ``overlay.png`` and ``overlay.mp4`` go.
        film: The film.
        measures: Its measures: ED and ES stand in the caption.
        mp4: Whether to write the MP4.
    """

    def __init__(self, folder: Path, film: EchoFilm, measures: Measures, mp4: bool) -> None:
        self.folder, self.film, self.measures = folder, film, measures
        self.size = display_size(film.size, film.spacing)
        self._step = math.ceil(film.num_frames / _LONGEST_GIF)
        self._pictures: list[np.ndarray] = []
        self._video = _Mp4(folder / "overlay.mp4", film) if mp4 else None
        self._next = 0

    def append(self, frames: np.ndarray, labels: np.ndarray) -> None:
        """Take the next frames (n, H, W) uint8 and their label maps (n, H, W) uint8."""
        for frame, label in zip(frames, labels, strict=True):
            in_gif = self._next % self._step == 0
            if self._next == (self.measures.ed or 0):
                self._thumbnail(frame, label)
            if in_gif or self._video:
                picture = self._draw(frame, label)
                if in_gif:
                    self._pictures.append(picture)
                if self._video:
                    self._video.append(picture)
            self._next += 1

    def close(self) -> None:
        """Write the files."""
        if self._video:
            self._video.close()
        if self.film.num_frames == 1:
            Image.fromarray(self._pictures[0]).save(self.folder / "overlay.png")
            return
        pace = 1000 / (self.film.frame_time_ms or 1000 / 15)
        write_gif(self.folder / "overlay.gif", self._pictures, min(pace / self._step, 50))

    def _thumbnail(self, frame: np.ndarray, labels: np.ndarray) -> None:
        height, width = self.size
        small = (round(height * _THUMBNAIL / width), _THUMBNAIL)
        gray = cv2.resize(frame, small[::-1], interpolation=cv2.INTER_AREA)
        picture = overlay(gray, resize_labels(labels, small), palette(STRUCTURES))
        Image.fromarray(picture).save(self.folder / THUMBNAIL_FILE, quality=75)

    def _draw(self, frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
        interpolation = cv2.INTER_AREA if self.size[0] < frame.shape[0] else cv2.INTER_CUBIC
        gray = cv2.resize(frame, self.size[::-1], interpolation=interpolation)
        picture = overlay(gray, resize_labels(labels, self.size), palette(STRUCTURES))
        canvas = Image.new("RGB", (self.size[1], self.size[0] + _BAR), _PAPER)
        canvas.paste(Image.fromarray(picture), (0, 0))
        draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
        middle, left = self.size[0] + _BAR / 2, 10
        for structure in choose_structures(self.measures.structures):
            draw.ellipse((left, middle - 5, left + 10, middle + 5), structure.colour)
            draw.text((left + 15, middle), structure.short.upper(), _INK, font, anchor="lm")
            left += 62
        words = [self.measures.instant(self._next)]
        if self.film.num_frames > 1:
            words.append(f"{self._next + 1} / {self.film.num_frames}")
        place = "  ".join(filter(None, words))
        draw.text((canvas.width - 10, middle), place, _FAINT, font, anchor="rm")
        return np.asarray(canvas)


class _Mp4:
    """Encodes pictures as they come; the picture's size becomes even, as H.264 wants it."""

    def __init__(self, path: Path, film: EchoFilm) -> None:
        try:
            import av
        except ImportError as error:
            raise EchoZooError("an MP4 needs PyAV: pip install 'echozoo[video]'") from error
        self._av = av
        self._container = av.open(str(path), "w")
        rate = Fraction(1000 / (film.frame_time_ms or 1000 / 15)).limit_denominator(1000)
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.pix_fmt = "yuv420p"
        self._stream.thread_count = 1  # each thread holds frames of its own
        self._started = False

    def append(self, picture: np.ndarray) -> None:
        height, width = (side + side % 2 for side in picture.shape[:2])
        padded = np.zeros((height, width, 3), np.uint8)
        padded[: picture.shape[0], : picture.shape[1]] = picture
        if not self._started:
            self._stream.width, self._stream.height, self._started = width, height, True
        frame = self._av.VideoFrame.from_ndarray(padded, format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def write_curves(path: Path, measures: Measures) -> None:
    """Draw areas over time, and volumes of the left ventricle where they are known."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second: not for stills
    from matplotlib.figure import Figure

    time, label = np.arange(len(measures.areas), dtype=float), "frame"
    if measures.frame_time_ms:
        time, label = time * measures.frame_time_ms / 1000, "time (s)"
    rows = 1 if measures.volumes_ml is None else 2
    figure = Figure(figsize=(7, 2.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, squeeze=False)[:, 0]
    for structure, area in zip(
        choose_structures(measures.structures), measures.areas.T, strict=True
    ):
        _curve(axes[0], time, area, structure)
    axes[0].set_ylabel("area (cm²)" if measures.spacing else "area (pixels)")
    axes[0].legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    if rows == 2:
        _curve(axes[1], time, measures.volumes_ml, Structure.LV)
        axes[1].set_ylabel("LV volume, one plane (ml)")
    for one in axes:
        one.set_ylim(bottom=0)
        one.margins(x=0)
        one.spines[["top", "right"]].set_visible(False)
        for name in ("ed", "es"):
            frame = getattr(measures, name)
            if frame is not None:
                one.axvline(time[frame], color="#999999", linewidth=0.8, linestyle=":")
                one.annotate(
                    name.upper(),
                    (time[frame], 0.02),
                    xycoords=("data", "axes fraction"),
                    fontsize=8,
                    color="#555555",
                    xytext=(3, 0),
                    textcoords="offset points",
                )
    axes[-1].set_xlabel(label)
    figure.savefig(path, dpi=120)


def _curve(axes: Any, time: np.ndarray, values: np.ndarray, structure: Structure) -> None:
    colour = np.array(structure.colour) / 255
    axes.plot(time, values, color=colour, linewidth=1.6, label=structure.full_name)


def make_folder(path: Path) -> Path:
    """Make a folder for results.

    Raises:
        StorageError: It cannot be made, or not be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StorageError.of(path, error) from error
    return path


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Results of a film that come into its folder together, whatever happens while they are made.

    Args:
        folder: Where they go; made. Results of an earlier run stay until all of these are whole.

    Yields:
        An empty folder to write files of `RESULT_FILES` to.

    Raises:
        StorageError: They cannot be written.
    """
    unfinished = folder / ".unfinished"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
        unfinished.mkdir(parents=True)
        yield unfinished
        for name in reversed(RESULT_FILES):  # the old summary first
            if not (unfinished / name).exists() or name == SUMMARY_FILE:
                (folder / name).unlink(missing_ok=True)
        for name in RESULT_FILES:
            if (unfinished / name).exists():
                os.replace(unfinished / name, folder / name)
    except OSError as error:
        raise StorageError.of(folder, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # where nothing came into it


def chunks(length: int, size: int) -> Iterable[tuple[int, int]]:
    """Ranges (start, stop) that cover ``length`` frames in steps of ``size``."""
    return ((start, min(start + size, length)) for start in range(0, length, size))
