"""Opening files: what is safe to open, which kind it is by its first bytes, and its real size."""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from echozoo.errors import ConfigError, DataError, TooLargeError
from echozoo.films.readers.source import BoundedReader, temporary_file, write_spooled

HEAD = 4096
LARGEST = 8192  # pixels, the side of a frame
_BLOCK = 1 << 22  # bytes unpacked at a time
LIMIT_VARIABLE = "ECHOZOO_MAX_FILM_GB"

# (place, bytes, kind); for videos the kind names the only container that is tried.
_MAGIC = (
    (0, b"\x5c\x01\x00\x00", "nifti"),
    (0, b"\x00\x00\x01\x5c", "nifti"),
    (0, b"\x1c\x02\x00\x00", "nifti"),
    (0, b"\x00\x00\x02\x1c", "nifti"),
    (128, b"DICM", "dicom"),
    (0, b"\x89PNG\r\n\x1a\n", "picture"),
    (0, b"\xff\xd8\xff", "picture"),
    (8, b"AVI", "video:avi"),
    (4, b"ftyp", "video:mov"),
    (4, b"moov", "video:mov"),
    (4, b"mdat", "video:mov"),
    (4, b"wide", "video:mov"),
    (4, b"free", "video:mov"),
    (0, b"\x1a\x45\xdf\xa3", "video:matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video:asf"),
    (0, b"\x00\x00\x01\xba", "video:mpeg"),
    (0, b"\x00\x00\x01\xb3", "video:mpegvideo"),
)
# Where the first of its packets begins, and how long they are: each begins with the same byte.
_PACKETS = ((0, 188), (4, 192))
# The first element of a DICOM data set without the preamble: group 8 or 2, and its type.
_BARE_DICOM = re.compile(rb"(\x08\x00.\x00|\x02\x00.\x00)(UI|UL|CS|DA|LO|SH|OB)", re.DOTALL)
_METAIMAGE = re.compile(rb"^\s*(NDims|DimSize|ElementDataFile)\s*[=:]", re.MULTILINE)


@dataclass
class FilmFile:
    """A file that was opened, not yet read.

    Attributes:
        path: Where it is, for messages and for files beside it.
        stream: Its content, unpacked where it is gzip, from the start.
        kind: "nifti", "metaimage", "dicom", "picture" or "video:CONTAINER".
        size: Bytes of the content; None while it is packed.
        limit: The most bytes that its pixels may take.
    """

    path: Path
    stream: BinaryIO
    kind: str
    size: int | None
    limit: int

    def check_pixels(self, frames: int, size: tuple[int, int], bytes_each: int = 1) -> None:
        """Refuse what a header promises before it is read.

        Args:
            frames: T.
            size: (H, W).
            bytes_each: Of a pixel.

        Raises:
            TooLargeError: A frame is larger than those of any scanner, or all take more than the
                limit.
        """
        if max(size) > LARGEST:
            raise TooLargeError(
                f"{self.path}: frames of {size[0]} x {size[1]} pixels, wanted {LARGEST} x {LARGEST}"
                " at most; shrink them"
            )
        self.check_limit(frames * size[0] * size[1] * bytes_each)

    def check_limit(self, wanted: int) -> None:
        """Refuse bytes that are more than the limit.

        Raises:
            TooLargeError: They are.
        """
        if wanted > self.limit:
            raise TooLargeError(
                f"{self.path}: {wanted / 1e9:.3g} GB of pixels when unpacked, more than the limit"
                f" of {self.limit / 1e9:.3g}; cut or shrink the film, or set {LIMIT_VARIABLE}"
            )

    def unpacked(self) -> FilmFile:
        """The content in a file in which one can go back; itself where it was not packed.

        Raises:
            DataError: It is no whole gzip file, or holds more than the limit.
        """
        if self.size is not None:
            return self
        file, total = temporary_file(), 0
        for block in self._blocks():
            total += len(block)
            self.check_limit(total - HEAD)
            write_spooled(file, block)
        return replace(self, stream=BoundedReader(file), size=total)

    def _blocks(self) -> Iterator[bytes]:
        self.stream.seek(0)
        while block := read_packed(self.path, self.stream, _BLOCK):
            yield block


def read_packed(path: Path, stream: BinaryIO, count: int, line: bool = False) -> bytes:
    """Read of a stream that may be gzip, to the end of the line where a line is wanted.

    Raises:
        DataError: It is no whole gzip file.
    """
    try:
        return stream.readline(count) if line else stream.read(count)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path}: truncated or damaged, not a whole gzip file ({error}); copy it again"
        ) from error


def size_limit(told: int | None = None) -> int:
    """The most bytes that the pixels of a film may take: told, or of the environment, or 2e9.

    Raises:
        ConfigError: The environment's ECHOZOO_MAX_FILM_GB is no positive number.
    """
    if told is not None:
        return told
    gigabytes = os.environ.get(LIMIT_VARIABLE) or "2"
    try:
        limit = int(float(gigabytes) * 1e9)
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise ConfigError(f"{LIMIT_VARIABLE}={gigabytes!r}: wanted a number of gigabytes above 0")
    return limit


def open_regular(path: Path) -> BinaryIO:
    """Open a file whose content is there to be read: no folder, no device, no pipe.

    A pipe that nobody writes to would make any reader wait for ever.

    Raises:
        DataError: It is absent, empty, none of these, or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason})") from error
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_size == 0:
        os.close(descriptor)
        if stat.S_ISREG(state.st_mode):
            raise DataError(f"{path}: empty file (0 bytes); copy it again")
        raise DataError(f"{path}: no regular file (a folder, a pipe or a device)")
    return BoundedReader(os.fdopen(descriptor, "rb"))


def kind_of(head: bytes) -> str | None:
    """Which kind a file is by its first `HEAD` bytes; None for no known one."""
    for place, magic, kind in _MAGIC:
        if head[place:].startswith(magic):
            return kind
    if any(
        len(head) > 400 and {*head[at : at + 3 * step : step]} == {0x47} for at, step in _PACKETS
    ):
        return "video:mpegts"
    if _METAIMAGE.search(head):
        return "metaimage"
    return "dicom" if _BARE_DICOM.match(head) else None


@contextmanager
def opened(path: Path, max_bytes: int | None = None) -> Iterator[FilmFile]:
    """Open a film's file for a header; who keeps its stream opens with `open_file`."""
    file = open_file(path, max_bytes)
    try:
        yield file
    finally:
        file.stream.close()


def open_file(path: Path, max_bytes: int | None = None) -> FilmFile:
    """Open a film's file; two bytes tell whether it is packed, and those within what it is.

    Args:
        path: The file; its suffix plays no part.
        max_bytes: The most bytes that its pixels may take, see `size_limit`.

    Raises:
        DataError: As `open_regular`; it is of no known kind, or no whole gzip file.
    """
    limit, stream = size_limit(max_bytes), open_regular(path)
    try:
        size: int | None = os.fstat(stream.fileno()).st_size
        if stream.read(2) == b"\x1f\x8b":
            stream.seek(0)
            stream, size = gzip.GzipFile(fileobj=stream), None
        stream.seek(0)
        head = read_packed(path, stream, HEAD)
        stream.seek(0)
        kind = kind_of(head)
        if kind is None:
            raise DataError(
                f"{path}: of no known kind by its first bytes, whatever its name; wanted NIfTI,"
                " MetaImage (.mhd, .mha), DICOM, PNG, JPEG, or a video"
            )
    except BaseException:
        stream.close()
        raise
    return FilmFile(path, stream, kind, size, limit)


def is_dicom_file(path: Path) -> bool:
    """Whether a file says of itself that it is DICOM; False where it cannot be opened."""
    try:
        with open_regular(path) as stream:
            return stream.read(132)[128:] == b"DICM"
    except (DataError, OSError):
        return False
