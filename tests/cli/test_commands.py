"""The command echozoo: what it lists, what it starts, and what it says when it cannot."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import echozoo
from echozoo import cli
from echozoo.command_line import command_line
from echozoo.errors import one_line_errors

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {path.stem: path for path in (ROOT / "tools").glob("*.py")}


def echo(monkeypatch, capsys, *words: str) -> tuple[object, str]:
    """Run the command in this process: how it ended, and what it printed."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/echozoo", *words])
    try:
        code: object = cli.main()
    except SystemExit as end:
        code = end.code
    return code, capsys.readouterr().out


def test_the_overview_has_a_line_a_command(monkeypatch, capsys):
    code, out = echo(monkeypatch, capsys)
    assert code is None
    listed = dict(re.findall(r"^  (\w+) +(\w.+)$", out, flags=re.MULTILINE))
    assert list(listed) == cli.names()
    assert {"train", "test", "infer", "serve", "measure", "table", "check", "report"} < set(listed)
    assert listed["train"].startswith("Train what a config describes.")
    assert echo(monkeypatch, capsys, "--help") == (None, out)
    assert echo(monkeypatch, capsys, "--version") == (None, f"echozoo {echozoo.__version__}\n")


def test_starting_it_loads_nothing(monkeypatch):
    code = "import sys; from echozoo.cli import overview; overview(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "mmengine", "rich"} & set(run.stdout.split())


def test_no_such_command(monkeypatch, capsys):
    code, _ = echo(monkeypatch, capsys, "trian", "samus_tra")
    assert code == (
        "error: echozoo trian: no such command; did you mean train? (echozoo --help lists them)"
    )


def test_a_command_is_named_and_noted_as_it_was_given(monkeypatch, capsys):
    code, out = echo(monkeypatch, capsys, "report", "--help")
    assert code == 0
    assert out.startswith("usage: echozoo report [-h] [-o OUT] work_dir\n")
    monkeypatch.setattr(sys, "argv", ["echozoo train", "a b.py", "--resume"])
    assert command_line() == "echozoo train 'a b.py' --resume"
    monkeypatch.setattr(sys, "argv", ["/home/a b/train.py", "x"])
    assert command_line() == "'/home/a b/train.py' x"


def test_each_tool_starts_a_command():
    started = {}
    for name, path in TOOLS.items():
        if found := re.search(r'^    run\("(\w+)"\)$', path.read_text(), flags=re.MULTILINE):
            started[found[1]] = name
    assert set(started) <= set(cli.names())
    assert set(TOOLS) - set(started.values()) == {"benchmark"}
    assert set(cli.names()) - set(started) == {"pull", "push"}
    assert {"train", "test", "infer"} <= set(started)


def test_from_a_checkout_without_installed_packages(tmp_path):
    """What a tool says to a Python that has nothing of what it needs, wherever it is started."""
    for tool in ("train", "make_phantom"):
        command = [sys.executable, "-I", "-S", TOOLS[tool], "--help"]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert run.returncode == 1
        assert re.fullmatch(
            rf"error: \w+ is not installed for {re.escape(sys.executable)}: install echozoo with "
            r"pip \(in a checkout: pip install -r requirements.txt\), .*\n",
            run.stderr,
        )


def test_a_package_that_is_missing_is_named(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "echozoo.cli.report", raising=False)
    monkeypatch.setitem(sys.modules, "echozoo.visualization.report", None)
    with pytest.raises(ModuleNotFoundError, match=r"echozoo\.visualization"):
        echo(monkeypatch, capsys, "report", "x")  # a mistake of ours is no missing package
    monkeypatch.delitem(sys.modules, "echozoo.visualization.report")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, _ = echo(monkeypatch, capsys, "report", "x")
    assert code.startswith("error: jinja2 is not installed for ")


def test_an_old_python_is_told_which_it_should_be(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 8, 10, "final", 0))
    code, _ = echo(monkeypatch, capsys, "train", "samus_tra")
    assert code == f"error: {sys.executable} is Python 3.8, wanted 3.10 or newer"


def test_an_old_python_understands_what_tells_it():
    files = ["echozoo/__init__.py", "echozoo/cli/__init__.py", *TOOLS.values()]
    files = [str(path) for path in files if "benchmark" not in str(path)]
    vermin = [Path(sys.executable).with_name("vermin"), "-t=3.6-", "--violations", "--no-tips"]
    run = subprocess.run([*vermin, *files], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


class Parsed(Exception):
    """Carries a command's parser out of it."""


@pytest.fixture(scope="module")
def options() -> dict[str, dict[str, argparse.Action]]:
    """The options of all commands: flag, command, what argparse knows of it."""
    found: dict[str, dict[str, argparse.Action]] = defaultdict(dict)

    def stop(parser: argparse.ArgumentParser, *args: object) -> None:
        raise Parsed(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        for name in cli.names():
            with pytest.raises(Parsed) as parsed:
                importlib.import_module(f"echozoo.cli.{name}").main()
            for action in parsed.value.args[0]._actions:
                for flag in action.option_strings:
                    found[flag][name] = action
    return found


# What a thing is called, and what it is not called.
NAMES = {
    "--workers": "processes jobs num-workers procs nproc threads",
    "--data-root": "data data-dir data-path dataset-dir root camus",
    "--device": "gpu cuda cpu",
    "--config": "cfg config-file",
    "--out": "output out-dir output-dir outdir dir",
    "--work-dir": "workdir work-folder run-dir",
    "--cfg-options": "options set override",
    "--batch-size": "batch bs",
    "--scale": "size model-size",
    "--seed": "random-seed",
    "--model": "checkpoint weights ckpt",
    "--amp": "fp16 bf16 half-precision mixed-precision",
    "--licence": "license",
}
# One flag with two meanings, and why: a phantom's pixels are squares, those of films are not;
# limits may be derived from several subsets.
TWO_MEANINGS = {"--spacing": {"phantom"}, "--subset": {"limits"}}


def test_a_thing_has_one_name(options):
    for name, others in NAMES.items():
        assert name in options
        assert not {f"--{other}" for other in others.split()} & set(options), name


def test_a_name_means_one_thing(options):
    for flag, commands in options.items():
        kinds = {
            (action.nargs, action.type if action.type in (int, float) else None)
            for name, action in commands.items()
            if name not in TWO_MEANINGS.get(flag, ())
        }
        assert len(kinds) == 1, f"{flag} of {', '.join(commands)}"


def test_every_option_says_what_it_is(options):
    silent = [
        f"{name} {flag}"
        for flag, commands in options.items()
        for name, action in commands.items()
        if not action.help
    ]
    assert silent == []


def test_the_data_are_named_alike(options):
    reads_data = {
        "browse",
        "check",
        "clicks",
        "limits",
        "measure",
        "nnunet",
        "table",
        "test",
        "train",
    }
    assert set(options["--data-root"]) == reads_data


@pytest.mark.parametrize(
    ("number", "file", "line"),
    [
        ("ENOSPC", "a.csv", "a.csv: cannot be written (No space left on device); make room there"),
        ("EROFS", None, "a file: cannot be written (Read-only file system); make room there"),
        ("EACCES", "a.csv", "a.csv: Permission denied"),
        ("ENOTDIR", "a/b.csv", "a/b.csv: Not a directory"),
        ("EACCES", None, ""),
        ("EBADF", "a.csv", ""),
    ],
)
def test_what_the_system_refuses_is_one_line(number, file, line):
    error = OSError(getattr(errno, number), os.strerror(getattr(errno, number)), file)

    @one_line_errors
    def main() -> None:
        raise error

    with pytest.raises(SystemExit if line else OSError) as caught:
        main()
    assert str(caught.value).startswith(f"error: {line}") if line else caught.value is error
