"""The launch scripts, end to end, on a toy network with gloo: no GPU is needed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from echozoo.apis import EchoInferencer

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
CONFIG = ROOT / "tests" / "engine" / "toy" / "toy_config.py"

pytestmark = pytest.mark.slow
Run = Callable[..., subprocess.Popen]


@pytest.fixture
def port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path, port: str) -> Iterator[Run]:
    """Start a script in an empty folder, as a user of this environment would, without a GPU."""
    started: list[subprocess.Popen] = []

    def start(script: str, *args: object, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [str(TOOLS / script), *map(str, args)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **{k: v for k, v in os.environ.items() if k not in ("CAMUS_ROOT", "PYTHONPATH")},
                "PYTHON": sys.executable,
                "PORT": port,
                "CUDA_VISIBLE_DEVICES": "",
                "OMP_NUM_THREADS": "1",
                **environment,
            },
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def losses(output: str) -> list[str]:
    return re.findall(r"loss: ([\d.]+)", output)


def test_two_processes_share_films(start, tmp_path, phantom):
    films = tmp_path / "films"
    films.mkdir()
    for number, film in enumerate(sorted(phantom.rglob("*_half_sequence.nii.gz"))[:3]):
        shutil.copy(film, films / f"p{number}_4CH.nii.gz")
    (films / "broken.nii.gz").write_bytes(b"\x1f\x8bno film")
    code, out, err = finish(start("dist_infer.sh", 2, films, "-o", "out", "--device", "cpu"))
    assert code == 1, err  # for the broken one
    assert out.count("p0_4CH: ") == out.count("3 of 4 files segmented") == 1, out
    assert err.count("comes with the zoo") == 1
    alone = EchoInferencer(device="cpu", progress=False)(films, tmp_path / "alone")
    assert [result.folder.name for result in alone.results] == ["p0_4CH", "p1_4CH", "p2_4CH"]
    for file in ("films.csv", "studies.csv", "left_out.csv", "p2_4CH/frames.csv"):
        assert (tmp_path / "out" / file).read_text() == (tmp_path / "alone" / file).read_text()


def test_two_processes_train_and_test(start, tmp_path):
    batch = ("--cfg-options", "train_dataloader.batch_size=1")
    code, out, err = finish(
        start("dist_train.sh", CONFIG, 2, "--data-root", "x", "--work-dir", "a b", *batch)
    )
    assert code == 0, err
    assert len(losses(out)) == 8, "one line an iteration: the second process is silent"
    code, out, err = finish(start("dist_test.sh", CONFIG, "a b", 2, "--data-root", "x"))
    assert code == 0, err
    cases = (tmp_path / "a b" / "toy.csv").read_text().splitlines()
    assert len(cases) == len(set(cases)) == 8


def test_two_machines(start, tmp_path):
    nodes = [
        start(
            *("dist_train.sh", CONFIG, 1, "--data-root", "x", "--work-dir", "run"),
            NNODES="2",
            NODE_RANK=str(rank),
            MASTER_ADDR="127.0.0.1",
        )
        for rank in (0, 1)
    ]
    (code, out, err), (other_code, other_out, other_err) = map(finish, nodes)
    assert (code, other_code) == (0, 0), err + other_err
    # Eight samples in batches of two on two machines: two iterations in each of two epochs.
    assert len(losses(out)) == 4
    assert losses(other_out) == []
    assert (tmp_path / "run" / "epoch_2.pth").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no data: give --data-root FOLDER or set CAMUS_ROOT"),
        (
            ("--cfg-options", "train_dataloader.dataset.bad=3", "train_dataloader.num_workers=1"),
            "error: x/sample3: broken, wanted whole: replace it",
        ),
    ],
    ids=["every process fails", "one process's data is broken"],
)
def test_an_error_is_one_line(start, options, message):
    data = ("--data-root", "x") if options else ()
    code, out, err = finish(start("dist_train.sh", CONFIG, 2, *data, *options))
    assert code == 1
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in out + err


def test_a_killed_process_is_named(start):
    options = ("train_dataloader.dataset.deadly=3", "train_dataloader.dataset.deadly_epoch=1")
    process = start("dist_train.sh", CONFIG, 2, "--data-root", "x", "--cfg-options", *options)
    code, _, err = finish(process)
    assert code == 1
    assert re.search(r"error: process [01] was ended by SIGKILL \(out of memory\?\)", err)


def test_a_taken_port_is_said(start, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(port)))
        taken.listen()
        code, _, err = finish(start("dist_train.sh", CONFIG, 2, "--data-root", "x"))
    assert code == 1
    assert f"error: port {port} is taken" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("dist_train.sh", (CONFIG,), "usage:"),
        ("dist_train.sh", (CONFIG, "--data-root"), "GPUS is '--data-root'"),
        ("dist_test.sh", (CONFIG, "run"), "usage:"),
        ("slurm_train.sh", ("partition", "job"), "usage:"),
    ],
)
def test_wrong_arguments(start, script, args, message):
    code, _, err = finish(start(script, *args))
    assert code == 2
    assert message in err


def test_slurm(start, tmp_path, port):
    """A stand-in for srun starts the tasks with the variables that Slurm sets."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(
        "#!/usr/bin/env bash\n"
        'printf "%s\\n" "$@" > srun_arguments\n'
        'while [[ "$1" == --* ]]; do shift; done\n'
        "export SLURM_NTASKS=2 SLURM_NODELIST='node[1]'\n"
        'SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & SLURM_PROCID=0 SLURM_LOCALID=0 "$@" && wait $!\n'
    )
    scontrol = srun.with_name("scontrol")
    scontrol.write_text("#!/usr/bin/env bash\necho 127.0.0.1\necho elsewhere\n")
    for file in (srun, scontrol):
        file.chmod(0o755)
    process = start(
        *("slurm_train.sh", "part", "job", CONFIG, "--data-root", "x", "--work-dir", "run"),
        PATH=f"{srun.parent}:{os.environ['PATH']}",
        GPUS="0",
        TASKS="2",
        SRUN_ARGS="--time=10 --mem=1G",
        MASTER_PORT=port,
    )
    code, out, err = finish(process)
    assert code == 0, err
    assert len(losses(out)) == 4
    arguments = (tmp_path / "srun_arguments").read_text().splitlines()
    assert arguments[:2] == ["--partition=part", "--job-name=job"]
    assert {"--ntasks=2", "--ntasks-per-node=2", "--time=10", "--mem=1G"} <= set(arguments)
    assert not any(argument.startswith("--gres") for argument in arguments)
