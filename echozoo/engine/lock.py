"""One process at a time: a lock that goes with the process that holds it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from echozoo.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def claimed(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock while the code below runs.

    However the process ends, the lock goes with it; its forks (the workers of data loaders) hold
    none. Where a file system cannot lock, nothing is held.

    Args:
        path: The lock's file; it stays. Its folder is made.
        refusal: What to say where another process holds it.

    Raises:
        ConfigError: Another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            if fcntl:
                # Not flock, which the forks would share and hold on to for seconds after a kill.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise ConfigError(refusal) from None
        except OSError:
            pass
        yield
