"""The order, the failures and the interruption of runs, with tools that only pretend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from echozoo.errors import ConfigError
from echozoo.tables.definition import read_definition
from echozoo.tables.execute import Workshop, duration, execute, last_error, steps_left
from echozoo.tables.planning import plan_table, runs_of
from echozoo.tables.record import read_record
from echozoo.tables.runs import Run, Settings

# Both commands: note the call, do what the file `behave` says, leave what the real ones leave.
TOOL = """
import os, signal, sys, time
from pathlib import Path
# What a shell starts in the background ignores Ctrl-C, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
tool, *arguments = sys.argv[1:]
folder = Path(arguments[arguments.index("--work-dir") + 1])
calls = Path(__file__).parent / "calls"
with calls.open("a") as file:
    file.write(f"{tool} {folder.parent.name.split('-')[0]}/{folder.name}\\n")
behave = folder / "behave"
if behave.is_file():
    exec(behave.read_text())
if tool == "train":
    assert "--resume" in arguments
    (folder / "epoch_2.pth").touch()
else:
    assert arguments[1] == str(folder)
    (folder / "results.csv").touch()
    mean = '{"instant": "all", "view": "all", "structure": "mean",'
    (folder / "results.json").write_text(
        '{"summaries": [%s "estimates": {"dice": {"mean": 0.875}}}]}' % mean)
print("threads", os.environ["OMP_NUM_THREADS"])
"""


HOLDER = """
import sys
from pathlib import Path
from echozoo.engine.lock import claimed
with claimed(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    (tmp_path / "tool.py").write_text(TOOL)
    (tmp_path / "calls").touch()
    return Workshop("data", program=(str(tmp_path / "tool.py"),))


@pytest.fixture
def runs(write_definition, tmp_path: Path) -> list[Run]:
    rows = [
        {"name": "auto", "config": "autosamus.py", "starts_from": "timely"},
        {"name": "timely", "config": "samus_tra.py"},
        {"name": "plain", "config": "unet.py"},
    ]
    definition = read_definition(write_definition(rows=rows, baseline=None))
    table = plan_table(definition, Settings(tmp_path / "runs", "phantom", "tiny"))
    return runs_of(table.rows)


def behave(run: Run, code: str) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "behave").write_text(code)


def calls(workshop: Workshop) -> list[str]:
    return Path(workshop.program[0]).with_name("calls").read_text().splitlines()


def test_all_is_trained_and_tested_once(runs, workshop) -> None:
    lines: list[str] = []
    assert execute(runs, workshop, lines.append) == {}
    assert calls(workshop) == [
        f"{step} {name}/seed0"
        for name in ("samus_tra", "autosamus", "unet")
        for step in ("train", "test")
    ]
    assert lines[0] == f"[1/3] {runs[0].name}: training ({runs[0].folder})"
    assert sum("Dice 0.875, trained in" in line for line in lines) == 3
    record = read_record(runs[0].folder)
    assert (record.trained, record.tested, record.trained_until) == (True, True, "epoch_2")
    assert record.train_seconds > 0

    assert execute(runs, workshop, lines.append) == {}
    assert len(calls(workshop)) == 6, "nothing is left"
    (runs[2].folder / "results.json").unlink()
    assert execute(runs, workshop, lines.append) == {}
    assert calls(workshop)[6:] == ["test unet/seed0"], "tested again"


def test_a_failure_is_named_and_the_others_go_on(runs, workshop) -> None:
    parent, child, plain = runs
    behave(parent, "print('x: fine'); sys.exit('error: the plug is out')")
    failures = execute(runs, workshop, lambda line: None)
    assert set(failures) == {parent, child}
    assert failures[parent].startswith("error: the plug is out (exit status 1; ")
    assert failures[parent].endswith("train.log)")
    assert failures[child] == f"starts from {parent.name}, which failed"
    assert read_record(plain.folder).tested

    behave(parent, "if tool == 'test': os.kill(os.getpid(), 9)")
    failures = execute(runs, workshop, lambda line: None)
    assert set(failures) == {parent}, "its weights are there: what starts from it runs"
    assert failures[parent].startswith("no message (exit status -9; ")
    assert steps_left(parent) == ["test"]


def test_interrupted_runs_are_stopped_and_their_time_counts(runs, workshop) -> None:
    # What runs in the background may have been told to ignore it, and Python keeps to that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    behave(
        runs[2],
        """
try:
    (folder / "begun").touch()
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
""",
    )

    def interrupt() -> None:
        while not (runs[2].folder / "begun").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt, daemon=True).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        execute(runs[2:], workshop, lambda line: None)
    assert time.monotonic() - begun < 20
    record = read_record(runs[2].folder)
    assert (record.trained, record.tested) == (False, False)
    assert record.train_seconds > 0
    assert (runs[2].folder / "train.log").read_text() == "interrupted\n"

    before = record.train_seconds
    behave(runs[2], "")
    assert execute(runs[2:], workshop, lambda line: None) == {}
    assert read_record(runs[2].folder).train_seconds > before


def test_nothing_runs_on_when_run_table_is_killed(runs, workshop) -> None:
    behave(runs[2], "(folder / 'pid').write_text(str(os.getpid())); time.sleep(60)")
    child = os.fork()
    if not child:
        execute(runs[2:], workshop, lambda line: None)
        os._exit(0)
    begun = runs[2].folder / "pid"
    while not (begun.is_file() and begun.read_text()):
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(int(begun.read_text())):
        time.sleep(0.02)
    assert not _runs(int(begun.read_text()))


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[-1].split()[0]
    except OSError:
        return False
    return state != "Z"  # over, and nobody has asked for its status


def test_an_interrupted_run_of_another_config_is_not_resumed(runs, workshop, tmp_path) -> None:
    behave(runs[2], "sys.exit(1)")
    execute(runs[2:], workshop, lambda line: None)
    config = tmp_path / "unet.py"
    config.write_text(config.read_text() + "find_unused_parameters = True\n")
    del vars(runs[2])["fingerprint"]
    with pytest.raises(ConfigError, match="has changed since; delete the folder to begin anew"):
        steps_left(runs[2])
    failures = execute(runs[2:], workshop, lambda line: None)
    assert "has changed since" in failures[runs[2]]


def test_a_run_that_another_process_works_on_is_left_alone(runs, workshop) -> None:
    runs[2].folder.mkdir(parents=True)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(runs[2].folder / ".table")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout.readline() == b"held\n"
    failures = execute(runs[2:], workshop, lambda line: None)
    assert failures[runs[2]].startswith(
        f"{runs[2].folder}: another `echozoo table` works on this run"
    )
    assert calls(workshop) == []
    other.kill()  # the lock goes with it
    other.wait()
    assert execute(runs[2:], workshop, lambda line: None) == {}


def test_a_model_that_cannot_be_built_is_a_failure(runs, workshop, tmp_path) -> None:
    config = tmp_path / "unet.py"
    config.write_text(config.read_text() + "model = dict(backbone=dict(type='UNot'))\n")
    failures = execute(runs, workshop, lambda line: None)
    assert list(failures) == [runs[2]]
    assert "no model is named 'UNot'; did you mean UNet?" in failures[runs[2]]


def test_several_processes_share_a_run(runs, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PORT", "29999")
    (tmp_path / "tool.py").write_text(
        "import os, sys\n"
        "names = 'WORLD_SIZE', 'OMP_NUM_THREADS', 'MASTER_PORT'\n"
        "print(*sys.argv[1:3], *(os.environ[name] for name in names), sys.argv[-1], flush=True)"
    )
    run = runs[2]
    workshop = Workshop("data", gpus=2, program=(str(tmp_path / "tool.py"),))
    assert execute([run], workshop, lambda line: None) == {}
    threads = read_record(run.folder).threads
    for step in ("train", "test"):
        lines = (run.folder / f"{step}.log").read_text().splitlines()
        assert lines == 2 * [f"{step} {run.config} 2 {threads} 29999 pytorch"]


def test_an_average_is_tested_after_its_members(write_definition, workshop, tmp_path) -> None:
    rows = [
        {"name": "plain", "config": "unet.py"},
        {"name": "timely", "config": "samus_tra.py"},
        {"name": "both", "averages": ("timely", "plain")},
        {"name": "filled", "averages": ("plain",), "postprocess": ["FillHoles", "CloseGap"]},
    ]
    definition = read_definition(write_definition(rows=rows, baseline=None))
    table = plan_table(definition, Settings(tmp_path / "runs", "phantom", "tiny"))
    plain, timely, both, filled = (row.runs[0] for row in table.rows)
    command = workshop.command(both, "test")
    assert command[2:5] == ["test", str(timely.config), str(timely.folder)]
    assert command[-2:] == ["--average", str(plain.folder)]
    assert both.parameters == (plain.parameters[0] + timely.parameters[0], 0)
    command = workshop.command(filled, "test")
    assert command[2:5] == ["test", str(plain.config), str(plain.folder)]
    assert command[-3:] == ["--postprocess", "FillHoles", "CloseGap"]
    assert filled.parameters == (plain.parameters[0], 0)
    assert filled.fingerprint != plain.fingerprint
    behave(plain, "sys.exit('error: no')")
    behave(both, "tool = 'average'\nassert arguments[1] != str(folder)\nsys.exit()")
    failures = execute(runs_of([table.rows[2]]), workshop, lambda line: None)
    assert failures[both] == f"averages {plain.name}, which failed"
    (plain.folder / "behave").unlink()
    assert execute(runs_of([table.rows[2]]), workshop, lambda line: None) == {}
    assert [line.split()[0] for line in calls(workshop)] == [
        *["train", "test", "train", "train", "test", "test"]
    ]
    assert read_record(both.folder).test_command == (
        f"python tools/test.py {timely.config} {timely.name} --dataset split=files --seed 0 "
        f"--data-root PATH --average {plain.name} --work-dir RUN"
    ).replace("--dataset", "--scale tiny --dataset")


def test_the_last_error_of_this_attempt(tmp_path) -> None:
    log = tmp_path / "train.log"
    log.write_text("ValueError: old\n")
    begin = log.stat().st_size
    with log.open("a") as file:
        file.write("toy/error: 0.5\nTraceback\nmod.FooError: what\n  went on\n")
    assert last_error(log, begin) == "mod.FooError: what"
    assert last_error(log, log.stat().st_size) == "no message"
    log.write_text("one\n\ntwo\n")
    assert last_error(log) == "two"


def test_durations_for_people() -> None:
    assert [duration(s) for s in (0.4, 59.6, 200, 7500)] == [
        "0 s",
        "1 min 00 s",
        "3 min 20 s",
        "2 h 05 min",
    ]
