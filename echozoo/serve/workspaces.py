"""All open films, the pages that show them, and when they go."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echozoo.apis.views import View
from echozoo.errors import EchoZooError, StorageError, TooLargeError
from echozoo.serve.options import ServeOptions
from echozoo.serve.store import Place, Store, film_id, remove_abandoned
from echozoo.serve.uploads import NO_ROOM, Refusal
from echozoo.serve.workspace import SharedFilm, Workspace

_PREFIX = "echozoo-serve-"


@dataclass
class _Page:
    """A page that shows a film.

    Attributes:
        last_used: When it last asked for it, by `time.monotonic`.
        left: Whether it has said goodbye.
        stale: Whether another page has changed the film since this one was told.
    """

    workspace: Workspace
    last_used: float = field(default_factory=time.monotonic)
    left: bool = False
    stale: bool = False


class Workspaces:
    """All open films of a server; pages that show one film share its workspace.

    Args:
        options: Limits.
        store: The private folder.
        open_film: `echozoo.films.film.open_film`.
        start_clicks: Makes the model's side of a film.
        find_view: Tells a film's view.
        structures: Short names of the model's.
    """

    def __init__(
        self,
        options: ServeOptions,
        store: Store,
        open_film: Callable[[Path], Any],
        start_clicks: Callable[[Any], Any],
        find_view: Callable[[Any], View],
        structures: Sequence[str],
    ) -> None:
        self.options, self._store = options, store
        self._open_film, self._start_clicks = open_film, start_clicks
        self._find_view, self._structures = find_view, structures
        remove_abandoned(store.root, _PREFIX)
        store.remove_old_uploads()
        self._root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=store.root))  # for this user alone
        self._lock = os.open(self._root, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # goes with this process, however it ends
        self._films: dict[str, Workspace] = {}  # by what `film_id` says
        self._pages: dict[str, _Page] = {}  # by keys that cannot be guessed
        self._opening = 0
        # One at a time: opening may unpack much, and silences decoders for the whole process.
        self._turn = asyncio.Lock()
        self._reader = threading.Lock()

    def reserve(self, instead: str = "") -> Path:
        """Take one of the places for films, before anything is received or read.

        Args:
            instead: Key of the page that closes its film once this one is open.

        Returns:
            A new private folder; give it to `open` or to `release`.

        Raises:
            Refusal: All places are taken (429), or the disk is full (507).
        """
        self.sweep()
        leaving = self._pages.get(instead)
        given_up = leaving is not None and not self._others(instead, leaving.workspace)
        if len(self._films) + self._opening - given_up >= self.options.max_films:
            raise Refusal(
                429, f"{self.options.max_films} films are open, the limit here; close another page"
            )
        try:
            folder = Path(tempfile.mkdtemp(dir=self._root))
        except OSError as error:
            raise Refusal(507, f"{NO_ROOM} ({error.strerror})") from error
        self._opening += 1
        return folder

    def release(self, folder: Path) -> None:
        """Give back a place that was not used."""
        self._opening -= 1
        shutil.rmtree(folder, ignore_errors=True)

    async def identify(self, path: Path, shown: str) -> str:
        """The name of a film in the store, see `film_id`.

        Raises:
            Refusal: It cannot be read.
        """

        def told() -> str:
            with _refused(path, shown):
                return film_id(path)

        return await asyncio.to_thread(told)

    async def open(
        self,
        film: str,
        folder: Path,
        find: Callable[[Place], Path],
        shown: str,
        listed: tuple[str, int] | None = None,
    ) -> str:
        """Open a film in the place that `reserve` took, unless another page has it open already.

        Args:
            film: What `identify` says.
            folder: What `reserve` gave; given back where it is not needed.
            find: Says where the film is, given its place in the store.
            shown: What errors call the film, in place of its path.
            listed: Name and bytes of its file in the list of films; None for an upload.

        Returns:
            The key of a page that shows it.

        Raises:
            Refusal: It cannot be read, is too large, or is open at another server.
        """
        try:
            async with self._turn:
                workspace = self._films.get(film)
                if workspace is None:
                    reading = self._read, film, folder, find, shown, listed
                    workspace = self._films[film] = await asyncio.to_thread(*reading)
                    self._opening -= 1
                else:
                    self.release(folder)
                key = secrets.token_urlsafe(18)
                self._pages[key] = _Page(workspace)
                return key
        except BaseException:
            self.release(folder)
            raise

    def _read(
        self,
        film: str,
        folder: Path,
        find: Callable[[Place], Path],
        shown: str,
        listed: tuple[str, int] | None,
    ) -> Workspace:
        """On a thread of its own: this may take seconds."""
        place = self._store.claim(film)
        try:
            path = find(place)
            with _refused(path, shown):
                with self._reader:
                    shared = SharedFilm(self._open_film(path))
                shared.frames(0, 1)  # a film whose first frame cannot be read is no film
                given = self._start_clicks(shared), self._find_view(shared), self._structures
                return Workspace(shared, folder, *given, place, listed)
        except BaseException:
            place.release(forget=True)
            raise

    def get(self, key: str) -> Workspace:
        """The film that a page shows.

        Raises:
            Refusal: It shows none (410).
        """
        page = self._pages.get(key)
        if page is None:
            raise Refusal(410, "this film is no longer open here; open it again")
        page.last_used, page.left = time.monotonic(), False
        return page.workspace

    def changed(self, workspace: Workspace, key: str) -> None:
        """A page has changed its film: it is kept, and other pages are told."""
        workspace.keeper.changed()
        for other in self._others(key, workspace):
            other.stale = True

    def states(self) -> dict[tuple[str, int], str]:
        """How far the open films are, by name and bytes of their files in the list."""
        return {film.listed: film.session().state for film in list(self._films.values())}

    def news(self, key: str) -> dict[str, Any]:
        """How many ``others`` show a page's film, and whether one has ``changed`` it since."""
        page = self._pages[key]
        changed, page.stale = page.stale, False
        others = [other for other in self._others(key, page.workspace) if not other.left]
        return {"others": len(others), "changed": changed}

    def leave(self, key: str) -> None:
        """A page goes, maybe to be loaded anew: its film stays open for a moment."""
        page = self._pages.get(key)
        if page is not None:
            page.left = True
            page.last_used = time.monotonic()

    def close(self, key: str, forget: bool = True) -> None:
        """A page closes its film, which goes with its last page.

        Args:
            key: The page's.
            forget: Whether an uploaded film is removed even where work on it is kept.
        """
        page = self._pages.pop(key, None)
        if page is None or self._others(key, page.workspace):
            return
        workspace = self._films.pop(page.workspace.place.id)
        workspace.close(forget or not workspace.session().begun)

    def sweep(self) -> None:
        """Close the films that no page has asked for in a while; a running job keeps its film."""
        now, options = time.monotonic(), self.options
        for key, page in list(self._pages.items()):
            most = options.leave_seconds if page.left else options.idle_seconds
            if now - page.last_used > most and not page.workspace.busy:
                self.close(key, forget=page.left)

    def close_all(self) -> None:
        """Close everything and remove what is not kept."""
        for key in list(self._pages):
            self.close(key, forget=self._pages[key].left)
        shutil.rmtree(self._root, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _others(self, key: str, workspace: Workspace) -> list[_Page]:
        """The other pages that show a film."""
        return [
            page
            for other, page in self._pages.items()
            if other != key and page.workspace is workspace
        ]


@contextlib.contextmanager
def _refused(path: Path, shown: str) -> Iterator[None]:
    """Refuse what cannot be read, without its path."""
    try:
        yield
    except (Refusal, StorageError):
        raise
    except EchoZooError as error:
        status = 413 if isinstance(error, TooLargeError) else 422
        raise Refusal(status, str(error).replace(str(path), shown)) from error
