"""Videos, decoded by PyAV once, into a temporary file of grey frames."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from echozoo.errors import DataError, EchoZooError
from echozoo.films.files import HEAD, FilmFile
from echozoo.films.geometry import believed_frame_time, frame_times
from echozoo.films.readers.source import (
    COLOUR_NOTE,
    FrameSource,
    SpooledFrames,
    share_of_colour,
)

# What begins the object of an ASF file (WMV) that says how long the file is, 40 bytes on.
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_COLOUR_DIFFERENCE = 12  # grey levels; compression alone tints grey a little
_LOOKED_AT = 16  # every one of so many frames is searched for colour


def open_video(file: FilmFile) -> FrameSource:
    """Open a video; all its frames are decoded, since they can only be read forwards.

    The container is the one that the first bytes tell, and it gets this one file alone: a list of
    other files in a video's clothes opens nothing.

    Raises:
        EchoZooError: PyAV is not installed.
        DataError: No frame can be decoded, or the frames take more than the limit.
    """
    av = _need_av()
    file = file.unpacked()
    file.stream.seek(0)
    try:
        with av.open(file.stream, format=file.kind.partition(":")[2]) as container:
            if not container.streams.video:
                raise DataError(f"{file.path}: no frames in this video; copy it again")
            video = _Video(file, container)
            film = SpooledFrames(video.frames())
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _unreadable(file, error) from error
    if not film.num_frames:
        raise _unreadable(file, "no frame can be decoded")
    return video.source(film)


def _need_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise EchoZooError("videos need PyAV: pip install 'echozoo[video]'") from error
    return av


def _unreadable(file: FilmFile, error: object) -> DataError:
    reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:120]
    return DataError(
        f"{file.path}: not readable as a video ({reason}: damaged, truncated or of an unknown"
        " codec); copy it again, or convert it"
    )


class _Video:
    """One stream while it is decoded, and what was seen on the way.

    Args:
        file: Its file.
        container: PyAV's; its first video stream is taken.
    """

    def __init__(self, file: FilmFile, container: Any) -> None:
        self.file, self.container = file, container
        self.stream = stream = container.streams.video[0]
        self.times: list[float | None] = []
        self.notes: list[str] = []
        self.coloured = 0.0
        ratio = stream.sample_aspect_ratio
        if ratio and ratio != 1:
            self.notes.append(
                f"its pixels are shown {float(ratio):.4g} times as wide as high: taken as stored"
            )
        self.told, self.damaged, self.sent = stream.frames, 0, 0
        # By how much one frame follows another where frames have no times of their own.
        rate = stream.average_rate or stream.guessed_rate
        self.step_ms = float(1000 / Fraction(rate)) if rate else None
        # Matroska says how long a film lasts in place of its number of frames.
        says = file.kind == "video:matroska" and len(container.streams) == 1 and container.duration
        self.told_ms, self.end_ms = container.duration / 1000 if says else 0.0, 0.0

    def frames(self) -> Iterator[np.ndarray]:
        """Yield upright grey frames (H, W) uint8; those that cannot be decoded are counted."""
        context = self.stream.codec_context
        if context is None:
            raise _unreadable(self.file, "nothing here decodes it")
        self.file.check_pixels(max(self.told, 1), (context.height, context.width))
        size = None
        for frame in self._decoded():
            self.file.check_pixels(len(self.times) + 1, (frame.height, frame.width))
            if len(self.times) % _LOOKED_AT == 0:
                self._look_for_colour(frame)
            pixels = _upright(frame)
            if size is not None and pixels.shape != size:
                raise DataError(
                    f"{self.file.path}: frames of different sizes, wanted one size; convert it"
                )
            size = pixels.shape
            self.times.append(None if frame.time is None else 1000 * frame.time)
            self.damaged += frame.is_corrupt
            yield pixels

    def source(self, film: SpooledFrames) -> FrameSource:
        """The film with its times and notes."""
        lost = max(self.told, self.sent) - film.num_frames
        if lost > 0:
            self.notes.append(
                f"{film.num_frames} frames can be decoded, its header says"
                f" {max(self.told, self.sent)}: {lost} are missing"
            )
        if self.told_ms - self.end_ms > (self.step_ms or 0) / 2:
            self.notes.append(
                f"its frames end at {self.end_ms:.0f} ms, its header says {self.told_ms:.0f}: the"
                " end is missing"
            )
        if self.file.kind == "video:asf" and self.file.size < (told := _size_of_asf(self.file)):
            self.notes.append(f"{self.file.size} bytes, its header says {told}: the end is missing")
        if self.damaged:
            self.notes.append(f"{self.damaged} frames are damaged: parts of them are made up")
        time, times = self._frame_times()
        return FrameSource(
            *(film.num_frames, film.size, film.read),
            converted="video",
            frame_time_ms=time,
            frame_times_ms=times,
            notes=self.notes,
            coloured=self.coloured,
        )

    def _decoded(self) -> Iterator[Any]:
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                return  # the container ends here
            if packet is None:
                return
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self.end_ms = max(self.end_ms, float(1000 * end))
            self.sent += bool(packet.size) and not packet.is_discard
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                continue  # counted by what did not come out

    def _look_for_colour(self, frame: Any) -> None:
        rgb = frame.to_ndarray(format="rgb24")
        self.coloured = max(self.coloured, share_of_colour(rgb))
        if not self.times and np.ptp(rgb.astype(int), axis=-1).max() > _COLOUR_DIFFERENCE:
            self.notes.append(COLOUR_NOTE)

    def _frame_times(self) -> tuple[float | None, np.ndarray | None]:
        step = believed_frame_time(self.step_ms, self.notes)
        if len(self.times) < 2 or None in self.times:
            return step, None
        mean, times = frame_times(self.times, self.notes)
        # The rate is exact where times are rounded.
        return (mean, times) if times is not None or step is None else (step, None)


def _size_of_asf(file: FilmFile) -> int:
    file.stream.seek(0)
    head = file.stream.read(HEAD)
    at = head.find(_ASF_PROPERTIES) + 40
    return int.from_bytes(head[at : at + 8], "little") if at >= 40 else 0


def _upright(frame: Any) -> np.ndarray:
    """Grey levels (H, W), turned and mirrored as the container says that they are shown."""
    pixels = frame.to_ndarray(format="gray")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    # A stored (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    swapped = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if swapped else (a, d)
    pixels = pixels.T if swapped else pixels
    return pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
