from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from film_files import moving_disc, write_itk, write_video
from warm import warm_context

from echozoo.apis import EchoInferencer


def segment(run: Path, film: Path, out: Path, answer: Connection) -> None:
    """Segment a film and tell the peak of this process alone, in MiB."""
    EchoInferencer(run, device="cpu", batch_size=8, progress=False)(film, out)
    # getrusage's starts with that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    answer.send(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to measure with")
@pytest.mark.parametrize("kind", ["nii.gz", "mp4"])
def test_memory_does_not_grow_with_the_film(unet: Path, tmp_path: Path, kind: str) -> None:
    peaks = []
    for frames in (90, 600):  # the longest GIF for both
        film = np.tile(moving_disc(10, (208, 272)), (frames // 10, 1, 1))
        path = tmp_path / f"film{frames}.{kind}"
        write_video(path, film) if kind == "mp4" else write_itk(path, film)
        context = warm_context()
        told, answer = context.Pipe(duplex=False)
        process = context.Process(target=segment, args=(unet, path, tmp_path / "out", answer))
        process.start()
        answer.close()  # so that a process that dies is no wait
        peaks.append(told.recv())
        process.join()
    whole = 510 * 208 * 272 / 2**20  # what the longer film's pixels take more: 28 MiB
    assert peaks[1] - peaks[0] < 0.4 * whole, peaks
