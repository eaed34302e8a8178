"""torch.distributed.run, quiet about what the processes have said themselves.

Where a process fails, torch adds a long report of its own; the process's one line drowns in it.
Takes the options of ``python -m torch.distributed.run``.
"""

from __future__ import annotations

import logging
import signal
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def main() -> None:
    """Run the processes; exit with the status of the first that failed."""
    logging.disable(logging.ERROR)
    try:
        run.main()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            sys.exit(f"error: process {rank} was ended by {name}{hint}")
        sys.exit(failure.exitcode)
    except (KeyboardInterrupt, SignalException):
        sys.exit(130)
    except RuntimeError as error:
        if "EADDRINUSE" not in str(error):
            raise
        port = run.parse_args(sys.argv[1:]).master_port
        sys.exit(f"error: port {port} is taken, by another run? Choose one: PORT={port + 1}")


if __name__ == "__main__":
    main()
