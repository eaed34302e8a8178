"""Videos, decoded by PyAV once, into a temporary file of grey frames."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from echozoo.errors import DataError, EchoZooError
from echozoo.films.files import FilmFile
from echozoo.films.geometry import believed_frame_time, frame_times
from echozoo.films.readers.source import COLOUR_NOTE, FrameSource, SpooledFrames

_COLOUR_DIFFERENCE = 12  # grey levels; compression alone tints grey a little


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
            video = _Video(file, container.streams.video[0])
            film = SpooledFrames(video.frames(container))
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _unreadable(file, error) from error
    if not film.num_frames:
        raise _unreadable(file, "no frame can be decoded")
    return video.source(film)


def _need_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise EchoZooError(
            "videos need PyAV: pip install -e .[video] (in echozoo's folder)"
        ) from error
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
        stream: PyAV's stream.
    """

    def __init__(self, file: FilmFile, stream: Any) -> None:
        self.file, self.stream = file, stream
        self.times: list[float | None] = []
        self.notes: list[str] = []
        self.told, self.damaged, self.sent = stream.frames, 0, 0
        # By how much one frame follows another where frames have no times of their own.
        rate = stream.average_rate or stream.guessed_rate
        self.step_ms = float(1000 / Fraction(rate)) if rate else None

    def frames(self, container: Any) -> Iterator[np.ndarray]:
        """Yield upright grey frames (H, W) uint8; those that cannot be decoded are counted."""
        context = self.stream.codec_context
        self.file.check_pixels(max(self.told, 1), (context.height, context.width))
        size = None
        for frame in self._decoded(container):
            self.file.check_pixels(len(self.times) + 1, (frame.height, frame.width))
            if not self.times:
                self._look_for_colour(frame)
            pixels = np.rot90(frame.to_ndarray(format="gray"), frame.rotation // 90 % 4)
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
        if self.damaged:
            self.notes.append(f"{self.damaged} frames are damaged: parts of them are made up")
        time, times = self._frame_times()
        return FrameSource(
            *(film.num_frames, film.size, film.read),
            converted="video",
            frame_time_ms=time,
            frame_times_ms=times,
            notes=self.notes,
        )

    def _decoded(self, container: Any) -> Iterator[Any]:
        import av

        packets = container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                return  # the container ends here
            if packet is None:
                return
            self.sent += bool(packet.size) and not packet.is_discard
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                continue  # counted by what did not come out

    def _look_for_colour(self, frame: Any) -> None:
        rgb = frame.to_ndarray(format="rgb24").astype(int)
        if np.ptp(rgb, axis=-1).max() > _COLOUR_DIFFERENCE:
            self.notes.append(COLOUR_NOTE)

    def _frame_times(self) -> tuple[float | None, np.ndarray | None]:
        step = believed_frame_time(self.step_ms, self.notes)
        if len(self.times) < 2 or None in self.times:
            return step, None
        mean, times = frame_times(self.times, self.notes)
        # The rate is exact where times are rounded.
        return (mean, times) if times is not None or step is None else (step, None)
