"""What the routes share: the model, its one thread, the open films."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from echozoo.apis.views import View, find_view
from echozoo.datasets.anatomy import choose_structures
from echozoo.errors import EchoZooError
from echozoo.films.film import NO_SPACING
from echozoo.serve.exams import Exams
from echozoo.serve.films import FilmList
from echozoo.serve.jobs import Job
from echozoo.serve.options import ServeOptions
from echozoo.serve.store import Store, private_folder
from echozoo.serve.workspace import Workspace
from echozoo.serve.workspaces import Workspaces

_LOG = logging.getLogger("uvicorn.error")


class Server:
    """A model, its thread, and the films that are open.

    Args:
        loaded: An `echozoo.apis.model.LoadedModel`.
        options: Limits, and the folder of films.
        open_film: Opens a path as a film.
        start_clicks: Makes an `echozoo.apis.session.ClickSession` of (loaded, film).
    """

    def __init__(
        self,
        loaded: Any,
        options: ServeOptions,
        open_film: Callable[[Path], Any],
        start_clicks: Callable[[Any, Any], Any],
    ) -> None:
        self.loaded, self.options = loaded, options
        self.structures = choose_structures(loaded.structures)
        self.films = FilmList(options.films)
        self.store = Store(options.save_dir or private_folder(), loaded.structures)
        model_side = self._start_clicks, self._find_view, loaded.structures
        self.workspaces = Workspaces(options, self.store, open_film, *model_side)
        self.exams = Exams(options.films, loaded)
        self._clicks_of = start_clicks
        # One thread: the model is used by one film at a time, and the page stays responsive.
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._ahead: dict[str, asyncio.Task] = {}  # by film

    async def on_model(self, function: Callable, *args: Any) -> Any:
        """Run a function on the model's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._model, function, *args)

    def start(
        self,
        key: str,
        workspace: Workspace,
        frames: Callable[[], Iterator],
        total: int,
        keep: Callable[[int, np.ndarray], None],
    ) -> dict[str, Any]:
        """Start a job of a page on its film; what it gives is kept. Returns its report.

        Args:
            key: The page's.
            workspace: The film.
            frames: Gives (frame, label map); called on the model's thread.
            total: How many there will be.
            keep: Takes them.
        """

        def kept(frame: int, labels: np.ndarray) -> None:
            keep(frame, labels)
            self.workspaces.changed(workspace, key)

        workspace.job = Job(total, kept)
        workspace.job.start(frames, self.on_model)
        return workspace.job.report()

    def look(self, workspace: Workspace, frame: int) -> None:
        """A page looks at a frame: while nobody asks for more, what is near it is encoded."""
        workspace.looked_at = frame
        if workspace.clicks is not None and not workspace.busy:
            task = self._ahead.get(workspace.place.id)
            if task is None or task.done():
                task = asyncio.create_task(self._look_ahead(workspace))
                self._ahead[workspace.place.id] = task

    async def _look_ahead(self, workspace: Workspace) -> None:
        """A pass of the encoder at a time, so that a click waits for no more than one."""

        def one() -> bool:
            return workspace.clicks.look_ahead(workspace.looked_at)

        try:
            while not workspace.busy and await self.on_model(one):
                pass
        except EchoZooError:
            pass  # the film was closed, or says what is wrong where a click needs it
        except Exception:
            _LOG.exception("encoding ahead failed")

    @contextlib.asynccontextmanager
    async def running(self, _: object = None) -> AsyncIterator[None]:
        """Close idle films while the server runs, and everything at its end."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            for task in self._ahead.values():
                task.cancel()
            self.workspaces.close_all()
            self._model.shutdown(wait=True, cancel_futures=True)

    def _start_clicks(self, film: Any) -> Any:
        return self._clicks_of(self.loaded, film) if self.loaded.understands else None

    def _find_view(self, film: Any) -> View:
        # Films are opened on other threads than the model's.
        return self._model.submit(find_view, self.loaded, film).result()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(30.0, self.options.idle_seconds, self.options.leave_seconds))
            self.workspaces.sweep()

    def describe(self, key: str) -> dict[str, Any]:
        """What a page has to know about its film."""
        workspace = self.workspaces.get(key)
        film = workspace.film
        notes = [note for note in film.notes if note != NO_SPACING or film.spacing is None]
        return {
            "key": key,
            "kept": workspace.place.id,
            "frames": film.num_frames,
            "height": film.size[0],
            "width": film.size[1],
            "spacing": film.spacing,
            "frame_time_ms": film.frame_time_ms,
            "spacing_known": workspace.has_spacing,
            "notes": [*notes, *filter(None, [workspace.note])],
            "done": workspace.choices.done,
        }

    def news(self, key: str) -> dict[str, Any]:
        """What has changed about a page's film without its doing."""
        failed = self.workspaces.get(key).keeper.failed
        return {**self.workspaces.news(key), "not_kept": failed}

    def states(self) -> list[str]:
        """How far each film of the list is, see `KeptSession.state`."""
        open_now = self.workspaces.states()
        listed = map(self.films.facts, range(len(self.films.names)))
        return [open_now.get(film) or self.store.state(film) for film in listed]
