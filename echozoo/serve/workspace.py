"""Open films: what each holds, how many there may be, and when they go."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from echozoo.apis.measuring import FrameMeasures, Measures, measure_film, measure_frame
from echozoo.apis.prompts import StructurePrompt
from echozoo.apis.views import View
from echozoo.errors import EchoZooError, StorageError, TooLargeError
from echozoo.films.sector import outside_sector
from echozoo.serve.jobs import Job
from echozoo.serve.masks import MaskStore
from echozoo.serve.options import ServeOptions
from echozoo.serve.uploads import NO_ROOM, Refusal

_PREFIX = "echozoo-serve-"


def remove_abandoned(parent: Path) -> None:
    """Remove the uploads of this user's servers that have died.

    A server holds a lock on its folder as long as it lives; one that was killed leaves it behind.
    """
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, locked, or just removed by another
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(place).st_uid == os.getuid():
                    fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(place)


class SharedFilm:
    """A film that the page and the model read at the same time, one after the other.

    Args:
        film: An `echozoo.films.film.EchoFilm`; all its attributes are this one's.
    """

    def __init__(self, film: Any) -> None:
        self._film, self._lock = film, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._film, name)

    def frames(self, start: int, stop: int) -> np.ndarray:
        """Frames (n, H, W) uint8 of a range."""
        with self._lock:
            return self._film.frames(start, stop)


class Workspace:
    """One open film: its clicks, its masks, what they measure, its job.

    Attributes:
        key: What the page knows it by; it cannot be guessed.
        film: The film.
        folder: Its private folder, removed with it.
        clicks: The model's side of it, used on the model's thread alone; None where it takes no
            clicks.
        prompts: What was clicked, by frame and structure.
        masks: Its masks.
        job: The last job, running or not.
        view: Its view.
        last_used: When a page last asked for it, by `time.monotonic`.
    """

    def __init__(
        self, film: Any, folder: Path, clicks: Any, view: View, structures: Sequence[str]
    ) -> None:
        self.key = secrets.token_urlsafe(18)
        self.film, self.folder, self.clicks, self.view = film, folder, clicks, view
        self.prompts: dict[int, dict[str, StructurePrompt]] = {}
        self.masks = MaskStore(structures, film.size)
        self._outside = outside_sector(film)
        self._measured: dict[tuple, FrameMeasures] = {}
        self.job: Job | None = None
        self.last_used = time.monotonic()

    def picture(self, frame: int) -> bytes:
        """A frame as PNG, gray."""
        image = self.film.frames(frame, frame + 1)[0]  # (H, W)
        _, png = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        return png.tobytes()

    def click(self, frame: int, prompts: dict[str, StructurePrompt]) -> None:
        """Segment a frame from all that was clicked in it; on the model's thread."""
        if prompts:
            labels = self.clicks.segment_all(frame, prompts)
            self.masks.click(frame, labels, prompts)
        else:
            self.masks.unclick(frame)
        self.prompts[frame] = prompts

    def clear(self) -> None:
        """Drop all clicks and masks."""
        self.prompts.clear()
        self.masks.clear()

    def measures(self) -> Measures:
        """Measure what is segmented so far; frames that have not changed are not looked at."""
        sought = {frame: self.masks.sought(frame) for frame in sorted(self.masks.changes)}
        there = {name for names in sought.values() for name in names}
        structures = tuple(name for name in self.masks.structures if name in there)
        known: dict[int, tuple] = {
            frame: (frame, self.masks.changes[frame], structures)
            for frame, names in sought.items()
            if names
        }
        measured = {}
        for frame, key in known.items():
            measured[key] = self._measured.get(key) or measure_frame(
                *(self.masks.label_map(frame), structures, self.film.spacing, sought[frame]),
                outside=self._outside,
            )
        self._measured = measured
        frames = [measured.get(known.get(frame)) for frame in range(self.film.num_frames)]
        return measure_film(self.film, structures, frames, self.view)

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self.job is not None and self.job.state == "running"

    def close(self) -> None:
        """Stop its job and remove its files."""
        if self.job is not None:
            self.job.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Workspaces:
    """All open films of a server, and the one private folder that their files are in.

    Args:
        options: Limits.
        open_film: `echozoo.films.film.open_film`.
        start_clicks: Makes the model's side of a film.
        find_view: Tells a film's view.
        structures: Short names of the model's.
    """

    def __init__(
        self,
        options: ServeOptions,
        open_film: Callable[[Path], Any],
        start_clicks: Callable[[Any], Any],
        find_view: Callable[[Any], View],
        structures: Sequence[str],
    ) -> None:
        self.options, self._open_film, self._start_clicks = options, open_film, start_clicks
        self._find_view, self._structures = find_view, structures
        remove_abandoned(Path(tempfile.gettempdir()))
        self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))  # for this user alone
        self._lock = os.open(self._root, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # goes with this process, however it ends
        self._open: dict[str, Workspace] = {}
        self._opening = 0
        # One at a time: opening may unpack much, and silences decoders for the whole process.
        self._reader = threading.Lock()

    def reserve(self) -> Path:
        """Take one of the places for films, before anything is received or read.

        Returns:
            A new private folder; give it to `open` or to `release`.

        Raises:
            Refusal: All places are taken (429), or the disk is full (507).
        """
        self.sweep()
        if len(self._open) + self._opening >= self.options.max_films:
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

    def read(self, path: Path, folder: Path, shown: str) -> Workspace:
        """Open a film, on a thread of its own: this may take seconds.

        Args:
            path: The film.
            folder: Its private folder.
            shown: What errors call the film, in place of its path.

        Raises:
            Refusal: It cannot be read, or is too large.
        """
        try:
            with self._reader:
                film = SharedFilm(self._open_film(path))
            film.frames(0, 1)  # a film whose first frame cannot be read is no film
            view = self._find_view(film)
            return Workspace(film, folder, self._start_clicks(film), view, self._structures)
        except (Refusal, StorageError):
            raise
        except EchoZooError as error:
            status = 413 if isinstance(error, TooLargeError) else 422
            raise Refusal(status, str(error).replace(str(path), shown)) from error

    def add(self, workspace: Workspace) -> None:
        """Put a film that `read` has opened in the place that `reserve` took."""
        self._opening -= 1
        self._open[workspace.key] = workspace

    def get(self, key: str) -> Workspace:
        """Look an open film up.

        Raises:
            Refusal: There is none of this key (404).
        """
        workspace = self._open.get(key)
        if workspace is None:
            raise Refusal(404, "this film is no longer open here; open it again")
        workspace.last_used = time.monotonic()
        return workspace

    def close(self, key: str) -> None:
        """Close a film, if it is open."""
        workspace = self._open.pop(key, None)
        if workspace is not None:
            workspace.close()

    def sweep(self) -> None:
        """Close the films that no page has asked for in a while; a running job keeps its film."""
        limit = time.monotonic() - self.options.idle_seconds
        for workspace in list(self._open.values()):
            if workspace.last_used < limit and not workspace.busy:
                self.close(workspace.key)

    def close_all(self) -> None:
        """Close everything and remove the private folder."""
        for key in list(self._open):
            self.close(key)
        shutil.rmtree(self._root, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
