"""Work on a whole film, a frame at a time, so that clicks on other films get their turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np

from echozoo.errors import EchoZooError

_LOG = logging.getLogger("uvicorn.error")

OnModel = Callable[..., Awaitable[Any]]


class Job:
    """Label maps of a film, as they come.

    Args:
        total: Frames to do.
        keep: Takes (frame, label map) of every frame that is done.

    Attributes:
        state: "running", "done", "stopped" or "failed".
        done: Frames done so far.
        error: Why it failed, one line.
    """

    def __init__(self, total: int, keep: Callable[[int, np.ndarray], None]) -> None:
        self.total, self._keep = total, keep
        self.state, self.done, self.error = "running", 0, ""
        self._stopping = False
        self._task: asyncio.Task | None = None

    def start(self, frames: Callable[[], Iterator], on_model: OnModel) -> None:
        """Start on the running event loop.

        Args:
            frames: Gives the iterator of (frame, label map); called on the model's thread.
            on_model: Runs a function on the model's thread.
        """
        self._task = asyncio.create_task(self._run(frames, on_model))

    def stop(self) -> None:
        """End after the frame that is being done."""
        self._stopping = True

    async def _run(self, frames: Callable[[], Iterator], on_model: OnModel) -> None:
        try:
            iterator = iter(await on_model(frames))
            while not self._stopping:
                item = await on_model(next, iterator, None)
                if item is None:
                    break
                self._keep(*item)
                self.done += 1
            self.state = "stopped" if self._stopping else "done"
        except EchoZooError as error:
            self.state, self.error = "failed", str(error)
        except Exception:
            _LOG.exception("a job failed")
            self.state, self.error = "failed", "the server failed; its terminal says more"

    def report(self) -> dict[str, Any]:
        """What the page shows of it."""
        return {"state": self.state, "done": self.done, "total": self.total, "error": self.error}
