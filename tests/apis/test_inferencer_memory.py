from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from film_files import moving_disc, write_itk, write_video

# The peak of this process alone: getrusage's starts with that of the process that started it.
PEAK = """
import sys
from pathlib import Path
from echozoo.apis import EchoInferencer
run, film, out = sys.argv[1:]
EchoInferencer(run, device="cpu", batch_size=8, progress=False)(film, out)
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to measure with")
@pytest.mark.parametrize("kind", ["nii.gz", "mp4"])
def test_memory_does_not_grow_with_the_film(unet: Path, tmp_path: Path, kind: str) -> None:
    peaks = []
    for frames in (90, 600):  # the longest GIF for both
        film = np.tile(moving_disc(10, (208, 272)), (frames // 10, 1, 1))
        path = tmp_path / f"film{frames}.{kind}"
        write_video(path, film) if kind == "mp4" else write_itk(path, film)
        command = [sys.executable, "-c", PEAK, str(unet), str(path), str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    whole = 510 * 208 * 272 / 2**20  # what the longer film's pixels take more: 28 MiB
    assert peaks[1] - peaks[0] < 0.4 * whole, peaks
