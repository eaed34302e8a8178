"""Writing a film's session after each change, behind the answers."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from echozoo.errors import StorageError

_LOG = logging.getLogger("uvicorn.error")

_BETWEEN = 1.0  # seconds from one writing to the next: a job changes many frames
_AGAIN = 10.0  # after one that failed
_NOT_KEPT = (
    "what you do is not kept, the server's disk takes nothing ({}); download the masks before you"
    " leave"
)


class Keeper:
    """Writes what is there, at once after a change, at most once a second.

    Args:
        write: Writes all of it; called on other threads, never twice at a time.

    Attributes:
        failed: Why the last writing failed, one line; "" where all is well.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        self._write_all, self.failed = write, ""
        self._due = 0.0  # by `time.monotonic`
        self._dirty = False
        self._turn = threading.Lock()
        self._task: asyncio.Task | None = None

    def changed(self) -> None:
        """Something is to be written; called on the running event loop."""
        self._dirty = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._soon())

    def flush(self) -> None:
        """Write now what is not yet written."""
        with self._turn:
            if not self._dirty:
                return
            self._dirty = False
            try:
                self._write_all()
                self.failed = ""
            except StorageError as error:
                self._dirty, self.failed = True, _NOT_KEPT.format(_reason(error))
            except Exception:
                _LOG.exception("a session cannot be kept")
                self._dirty, self.failed = True, _NOT_KEPT.format("its terminal says more")
            self._due = time.monotonic() + (_AGAIN if self.failed else _BETWEEN)

    async def _soon(self) -> None:
        while self._dirty:
            await asyncio.sleep(self._due - time.monotonic())
            await asyncio.to_thread(self.flush)


def _reason(error: StorageError) -> str:
    """Why, without the path: nothing of the server's folders is told."""
    cause = error.__cause__
    return (isinstance(cause, OSError) and cause.strerror) or "it cannot be written"
