"""Uploads: a limited stream, into a file that the server names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from echozoo.errors import EchoZooError

NO_ROOM = "the server's disk has no room for this film; close other films, or make room there"


class Refusal(EchoZooError):
    """A request that is answered with a 4xx status and one line.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def receive_upload(stream: AsyncIterator[bytes], folder: Path, limit: int) -> Path:
    """Write an upload into a folder as it arrives.

    Args:
        stream: The bytes.
        folder: A private folder; nothing that the client says becomes part of a name in it.
        limit: Most bytes to take.

    Returns:
        The file, ``film``.

    Raises:
        Refusal: More bytes than ``limit`` (413), or the disk is full (507).
    """
    arriving, size = folder / "arriving", 0
    try:
        with arriving.open("xb") as file:
            async for chunk in stream:
                size += len(chunk)
                if size > limit:
                    large = f"the file is larger than {megabytes(limit)} MB, the limit here"
                    raise Refusal(413, large)
                file.write(chunk)
    except OSError as error:
        raise Refusal(507, f"{NO_ROOM} ({error.strerror})") from error
    return arriving.rename(folder / "film")


def megabytes(count: int) -> str:
    """Bytes in MB, as a person would write them."""
    return f"{count / 2**20:.0f}" if count >= 2**20 else f"{count / 2**20:.2g}"
