"""What goes wrong in a run, brought back to the one line that a user can act on.

A data loader's worker sends its error as a traceback in a message, and a misspelt name in a config
ends deep inside mmengine. Both become the `EchoZooError` that they are about.
"""

from __future__ import annotations

import contextlib
import errno
import re
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from mmengine.registry import Registry

from echozoo import errors, registry, run_folder
from echozoo.engine.config_options import closest, registered
from echozoo.engine.distributed import launched_processes, launched_rank

_BUILDERS = ("build_from_cfg", "build_dataloader")
# Why a file cannot be written, and what to do.
_ALLOW = "choose a --work-dir that may be written"
_DISK = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "let files be larger (ulimit -f)",
    errno.EROFS: _ALLOW,
    errno.EACCES: _ALLOW,
    errno.EPERM: _ALLOW,
    errno.ENOTDIR: _ALLOW,
    errno.EEXIST: _ALLOW,
    errno.EIO: "check the disk",
}
_UNKNOWN_PARAMETER = re.compile(
    r"(?P<cls>\w+)\.__init__\(\) got an unexpected keyword argument '(?P<key>\w+)'"
)
_UNKNOWN_TYPE = re.compile(r"(?P<type>[\w.]+) is not in the \S+?::(?P<kind>.+?) registry")


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Let an error of the code below come out as an `EchoZooError` of one line, where it is one.

    Under several processes the first one speaks at once and the others wait, since the launcher
    ends them as soon as one has failed: the user sees the line once.

    Raises:
        EchoZooError: What the error is about; any other error passes unchanged.
        SystemExit: The user has interrupted the run.
    """
    try:
        yield
    except KeyboardInterrupt:
        if launched_rank() == 0:
            print("interrupted; a training goes on from its last checkpoint with --resume")
        raise SystemExit(130) from None
    except errors.EchoZooError as error:
        _wait_for_others(launched_rank() and 3 + 0.5 * launched_rank())
        raise _from_worker(error) from None
    except Exception as error:
        _wait_for_others(5)  # it may only be that another process has gone
        known = _from_config(error)
        if known is None:
            raise
        raise known from None


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Let a disk that takes no more, or nothing at all, end a run in one line.

    Raises:
        StorageError: A file could not be written; the line names it and what there is to go on
            from. Any other error passes unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        file = error.filename if isinstance(error.filename, str) else folder
        last = run_folder.find_whole_checkpoint(folder)[0]
        left = f"what is left is {last}: then go on with --resume" if last else "nothing is left"
        message = f"{errors.StorageError.of(file, error)}: {_DISK[error.errno]}; {left}"
        raise errors.StorageError(message) from error


def _wait_for_others(seconds: float) -> None:
    if launched_processes() > 1:
        time.sleep(seconds)


def _from_worker(error: errors.EchoZooError) -> errors.EchoZooError:
    """Return the error that a data loader's worker had before torch wrapped it."""
    message = str(error)
    if "Original Traceback" not in message:
        return error
    # The last line of a traceback is "<module>.<class>: <message>"; the lines were made one.
    last = message.rstrip("\\n").split("\\n")[-1]
    found = re.findall(rf"^(?:[\w.]+\.)?{type(error).__qualname__}: (.+)$", last)
    return type(error)(found[-1]) if found else error


def _from_config(error: Exception) -> errors.ConfigError | None:
    """Return what a failed build says about the config; None where it is not about that."""
    if isinstance(error, ImportError) and "pip install" in str(error):
        return errors.ConfigError(" ".join(str(error).split()))  # of a visualizer's backend, say
    frames = traceback.extract_tb(error.__traceback__)
    if not any(frame.name in _BUILDERS for frame in frames):
        return None
    if isinstance(error, TypeError) and (found := _UNKNOWN_PARAMETER.search(str(error))):
        name, key = found["cls"], found["key"]
        names = set().union(*(registry.parameters_of(part) or () for part in registered(name)))
        takes = f"; it takes {', '.join(sorted(names))}" if names else ""
        return errors.ConfigError(f"{name} has no parameter {key!r}{closest(key, names) or takes}")
    if isinstance(error, KeyError) and (found := _UNKNOWN_TYPE.search(str(error))):
        name, kind = found["type"], found["kind"]
        return errors.ConfigError(
            f"no {kind} is named {name!r}{closest(name, _names(kind))} "
            "(a part of your own: name its module in custom_imports)"
        )
    built = max(place for place, frame in enumerate(frames) if frame.name in _BUILDERS)
    refused = isinstance(error, (TypeError, ValueError, AssertionError))
    if refused and all("site-packages" in Path(f.filename).parts for f in frames[built:]):
        # A library says what it wants of its arguments.
        return errors.ConfigError(" ".join(str(error).split()))
    return None


def _names(kind: str) -> set[str]:
    names: set[str] = set()
    for node in vars(registry).values():
        while isinstance(node, Registry) and node.name == kind:
            names |= set(node.module_dict)
            node = node.parent
    return names
