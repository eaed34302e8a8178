"""What may be uploaded: a limited stream, into a file that the server names, told by its bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

from echozoo.errors import EchoZooError

KINDS = "NIfTI (.nii, .nii.gz), DICOM, AVI, MP4, PNG or JPEG"
NO_ROOM = "the server's disk has no room for this film; close other films, or make room there"
_HEAD = 352  # a NIfTI header with its extension flag
_CHUNK = 2**20


class Refusal(EchoZooError):
    """A request that is answered with a 4xx status and one line.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def receive_upload(stream: AsyncIterator[bytes], folder: Path, limit: int) -> Path:
    """Write an upload into a folder as it arrives, and name it by what it holds.

    Args:
        stream: The bytes.
        folder: A private folder; nothing that the client says becomes part of a name in it.
        limit: Most bytes to take.

    Returns:
        The file, ``film.<suffix>``, its suffix told from the first bytes.

    Raises:
        Refusal: More bytes than ``limit`` (413), none at all or no known kind of film (415), or
            the disk is full (507).
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
    if size == 0:
        raise Refusal(415, f"the file is empty (0 bytes); wanted {KINDS}")
    return arriving.rename(folder / f"film{suffix_of(arriving)}")


def suffix_of(path: Path) -> str:
    """Tell a file's kind from its first bytes.

    Returns:
        ".nii", ".nii.gz", ".dcm", ".avi", ".mp4", ".png" or ".jpg".

    Raises:
        Refusal: It is none of these (415).
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"\x1f\x8b"):
        if _is_nifti(_inflate_head(path)):
            return ".nii.gz"
    elif _is_nifti(head):
        return ".nii"
    elif head[128:132] == b"DICM":
        return ".dcm"
    elif head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return ".avi"
    elif head[4:8] == b"ftyp":
        return ".mp4"
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    elif head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if b"ElementDataFile" in head or b"NDims" in head:
        raise Refusal(415, ".mhd keeps its pixels in a second file; put both in the --films folder")
    raise Refusal(415, f"this is no film that can be read here; wanted {KINDS}")


def check_unpacked(path: Path, limit: int) -> None:
    """Refuse a compressed file whose content would fill the memory, before anything reads it.

    A file that is damaged passes: what opens it says so better.

    Raises:
        Refusal: The content is larger than ``limit`` bytes (413).
    """
    if not path.name.endswith(".gz"):
        return
    total, inflate = 0, zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        pending = file.read(_CHUNK)
        while pending:
            try:
                total += len(inflate.decompress(pending, _CHUNK))
            except zlib.error:
                return
            if total > limit:
                raise Refusal(
                    413, f"unpacked, the file is larger than {megabytes(limit)} MB, the limit here"
                )
            pending = inflate.unconsumed_tail
            if inflate.eof:  # gzip files may follow each other
                pending, inflate = inflate.unused_data, zlib.decompressobj(wbits=31)
            pending = pending or file.read(_CHUNK)


def megabytes(count: int) -> str:
    """Bytes in MB, as a person would write them."""
    return f"{count / 2**20:.0f}" if count >= 2**20 else f"{count / 2**20:.2g}"


def _inflate_head(path: Path) -> bytes:
    with path.open("rb") as file:
        try:
            return zlib.decompressobj(wbits=31).decompress(file.read(_CHUNK), _HEAD)
        except zlib.error:
            return b""


def _is_nifti(head: bytes) -> bool:
    return (
        len(head) >= 348
        and 348 in (struct.unpack_from("<i", head)[0], struct.unpack_from(">i", head)[0])
        and head[344:347] in (b"n+1", b"ni1")
    )
