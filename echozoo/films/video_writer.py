"""Grey films as videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from echozoo.errors import EchoZooError
from echozoo.whole_files import written_whole


def write_video(path: str | Path, frames: np.ndarray, rate: int, codec: str = "mjpeg") -> None:
    """Write a video whole, or nothing; folders are made.

    Args:
        path: A file whose ending says the container, as ".avi".
        frames: (T, H, W) uint8.
        rate: Frames a second.
        codec: Its name in FFmpeg; of "mjpeg", the best quality.

    Raises:
        EchoZooError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise EchoZooError("videos need PyAV: pip install 'echozoo[video]'") from error
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        written_whole(path) as part,
        av.open(str(part), "w", format=path.suffix[1:]) as container,
    ):
        stream = container.add_stream(codec, rate=rate, options={"qmin": "1", "qmax": "1"})
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.thread_count = 1  # the same bytes on every machine
        for frame in frames:
            rgb = np.repeat(frame[..., None], 3, axis=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
