"""The page's private folder: the kept session of each film, and the films that were uploaded.

A film has a folder of its own there, named by the SHA-256 of its files, so that it is found again
whatever it is called and wherever it comes from. Its session is named by the structures of the
model: models of other structures keep others beside it. A server holds a lock on the folder as
long as it has the film open.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echozoo.errors import ConfigError, DataError
from echozoo.films.headers import source_files
from echozoo.serve.kept import KeptSession, read_head, read_session, write_session
from echozoo.serve.uploads import Refusal
from echozoo.whole_files import remove_parts

_ID = re.compile(r"[0-9a-f]{64}")
_UPLOAD = "film.upload"  # its suffix is no film's: a list of films passes it by
_UPLOAD_SECONDS = 7 * 24 * 3600.0
_AT_ONCE = 2**20


def private_folder() -> Path:
    """Where sessions are kept unless somebody says otherwise: this user's folder of states."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "echozoo" / "page"


def film_id(path: Path) -> str:
    """The name of a film in the store: SHA-256 of its file, and of the data file it names.

    Raises:
        DataError: The file is absent or empty.
    """
    digest = hashlib.sha256()
    for file in source_files(path):
        with file.open("rb") as stream:
            while block := stream.read(_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()


class Store:
    """All films of the folder.

    Args:
        root: The folder; made where absent, for this user alone.
        structures: Short names of the model's structures.

    Raises:
        ConfigError: It cannot be made or written.
    """

    def __init__(self, root: Path, structures: Sequence[str]) -> None:
        self.root = root
        self.session_name = f"{'-'.join(structures)}.session"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{root}: sessions cannot be kept there ({error.strerror}); name another folder"
                " with --save-dir"
            ) from error
        if not os.access(root, os.W_OK | os.X_OK):
            raise ConfigError(f"{root}: cannot be written; name another folder with --save-dir")
        self._states: dict[tuple[str, int], str] = {}
        for file in root.glob(f"*/{self.session_name}"):
            with contextlib.suppress(DataError):  # a damaged one is said when its film is opened
                listed, done = read_head(file)
                self._states[listed] = "done" if done else "begun"

    def state(self, film: tuple[str, int]) -> str:
        """Of a film's file, by name and bytes: "untouched", "begun" or "done"."""
        return self._states.get(film, "untouched")

    def note(self, session: KeptSession) -> None:
        """Remember how far a film is."""
        self._states[session.listed] = session.state

    def claim(self, film: str) -> Place:
        """Take a film's folder.

        Raises:
            Refusal: Another server has it (409), or there is none of this name (404).
        """
        if not _ID.fullmatch(film):
            raise Refusal(404, "no film has this name")
        return Place(self, self.root / film)

    def remove_old_uploads(self) -> None:
        """Remove what was uploaded a week ago by pages that never said goodbye."""
        for upload in self.root.glob(f"*/{_UPLOAD}"):
            with contextlib.suppress(OSError, Refusal):
                if time.time() - upload.stat().st_mtime > _UPLOAD_SECONDS:
                    self.claim(upload.parent.name).release(forget=True)


class Place:
    """The folder of one film, held until `release`.

    Attributes:
        id: What `film_id` says of the film.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self.id, self._store, self._folder = folder.name, store, folder
        self._session = folder / store.session_name
        self._lock = _lock(folder)
        remove_parts(folder)

    @property
    def upload(self) -> Path | None:
        """The uploaded film; None where it was not uploaded, or is gone."""
        path = self._folder / _UPLOAD
        return path if path.is_file() else None

    def take_upload(self, path: Path) -> Path:
        """Move an uploaded film here; returns where it is now."""
        return path.replace(self._folder / _UPLOAD)

    def read(self, film: Any) -> tuple[KeptSession, str]:
        """The session of the film, empty where none is kept.

        Returns:
            The session, and one line about a damaged one that was set aside ("" without).
        """
        if not self._session.exists():
            return KeptSession.of(film), ""
        try:
            return read_session(self._session, film), ""
        except DataError as error:
            number = len(list(self._folder.glob("*.damaged-*"))) + 1
            aside = self._session.with_suffix(f".damaged-{number}")
            self._session.replace(aside)
            return KeptSession.of(film), f"{error}; set aside as {aside.name}, begun anew"

    def write(self, session: KeptSession) -> None:
        """Keep a session; an empty one leaves no file.

        Raises:
            StorageError: It cannot be written.
        """
        if session.begun:
            write_session(session, self._session)
        else:
            self._session.unlink(missing_ok=True)
        self._store.note(session)

    def release(self, forget: bool) -> None:
        """Let go of the folder.

        Args:
            forget: Whether to remove the uploaded film; its session stays in any case.
        """
        with contextlib.suppress(OSError):
            if forget:
                (self._folder / _UPLOAD).unlink(missing_ok=True)
            self._folder.rmdir()  # nothing was kept: nothing stays
        os.close(self._lock)


def _lock(folder: Path) -> int:
    """Make a folder where absent, and lock it."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Refusal(409, "another server has this film open; close it there") from None
        except OSError:
            return lock  # a file system without locks
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(lock), folder.stat()):
                return lock
        os.close(lock)  # another server has just removed it


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the folders of this user's servers that have died.

    A server holds a lock on its folder as long as it lives; one that was killed leaves it behind.
    """
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # another user's, locked, or just removed by another
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(place).st_uid == os.getuid():
                    fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(place)
