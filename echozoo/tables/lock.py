"""One process at a time works on a run."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from echozoo.errors import ConfigError


def claim(folder: Path) -> IO[str]:
    """Claim a run's folder, until the file that is returned is closed or this process ends.

    Args:
        folder: Made where absent.

    Raises:
        ConfigError: Another process has claimed it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(
            f"{folder}: another run_table.py works on this run; let it end, or choose other --rows"
        ) from None
    except OSError:  # a file system that cannot lock
        pass
    return file
