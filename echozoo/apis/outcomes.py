"""What became of films: of one, and of all of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mmengine.dist import all_gather_object, get_world_size

from echozoo.apis.label_store import LabelStore
from echozoo.apis.measuring import Measures
from echozoo.apis.sources import LeftOut, Source
from echozoo.errors import DataError, EchoZooError, NoFilmError, one_line
from echozoo.films.film import EchoFilm


class Task(NamedTuple):
    """A film to segment.

    Attributes:
        source: Its file, or an array.
        place: Where its results go below OUT; its name in messages.
        folder: The same with OUT, None where nothing is written.
        spacing: (dy, dx) mm in place of what its file says, None for that.
        frame_time_ms: Likewise.
        mp4: Whether the overlay is written as MP4 too.
        hide: Takes what names a patient out of a summary, None where names stay.
        dicom_seg: Whether the label maps of a DICOM file are written as a DICOM segmentation too.
    """

    source: Source
    place: Path
    folder: Path | None
    spacing: tuple[float, float] | None = None
    frame_time_ms: float | None = None
    mp4: bool = False
    dicom_seg: bool = False
    hide: Callable[[dict], dict] | None = None


@dataclass
class SegmentedFilm:
    """What became of one film.

    Attributes:
        summary: What ``summary.json`` holds.
        folder: Where its files are, None where none were wanted.
        film: The film, all of its image; None where an earlier run or another process did it.
        measures: Areas, volumes, ED and ES, what is implausible; None likewise.
        labels: ``labels.read(start, stop)`` gives label maps (n, H, W) uint8 with CAMUS's labels,
            all of them without arguments; None where they were written to files, the film being
            closed then too: a folder may hold thousands.
        kept: Whether an earlier run did it, with the same model and options.
        source: What it was made of: bytes are a file for as long as this is here.
    """

    summary: dict
    folder: Path | None = None
    film: EchoFilm | None = None
    measures: Measures | None = None
    labels: LabelStore | None = None
    kept: bool = False
    source: Source | None = None


@dataclass
class Inference:
    """What became of all films.

    Attributes:
        results: Of each film that worked.
        failures: Name and reason, one line each, of those that did not.
        studies: Summaries of exams with an ejection fraction, by their files.
        no_films: Name and reason of those that are no B-mode films.
        left_out: What else of the folders was not looked at.
        untried: Films that were not come to, since the disk is full.
    """

    results: list[SegmentedFilm] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    studies: dict[Path, dict] = field(default_factory=dict)
    no_films: list[tuple[str, str]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    untried: int = 0


def portable(outcome: SegmentedFilm | Exception) -> SegmentedFilm | EchoZooError:
    """What another process may know of a film: its summary, or why it failed."""
    if isinstance(outcome, SegmentedFilm):
        return SegmentedFilm(outcome.summary, outcome.folder, kept=outcome.kept)
    if isinstance(outcome, EchoZooError):
        return outcome
    return DataError(one_line(f"{type(outcome).__name__}: {outcome}"))


def gather(
    outcomes: Mapping[Path, SegmentedFilm | Exception],
) -> dict[Path, SegmentedFilm | Exception]:
    """Put together what became of the films of all processes that a launcher has started.

    Args:
        outcomes: Of this process, by their places.
    """
    if get_world_size() == 1:
        return dict(outcomes)
    own = {place: portable(outcome) for place, outcome in outcomes.items()}
    return {place: one for part in all_gather_object(own) for place, one in part.items()}


def sort_outcomes(
    tasks: Sequence[Task], outcomes: Mapping[Path, SegmentedFilm | Exception], left_out: LeftOut
) -> Inference:
    """Put together what became of films, in their order, whichever was done first.

    Args:
        tasks: All films.
        outcomes: By their places, of those that were come to.
        left_out: What else there was.
    """
    done = Inference(left_out=left_out, untried=len(tasks) - len(outcomes))
    for task in tasks:
        outcome = outcomes.get(task.place)
        if isinstance(outcome, SegmentedFilm):
            done.results.append(outcome)
        elif isinstance(outcome, NoFilmError):
            done.no_films.append((str(task.place), _reason(task, outcome)))
        elif outcome is not None:
            done.failures.append((str(task.place), _reason(task, outcome)))
    return done


def _reason(task: Task, error: Exception) -> str:
    reason = str(error)
    if not isinstance(error, EchoZooError):
        reason = f"{type(error).__name__}: {' '.join(reason.split())}"
    if task.hide and isinstance(task.source, Path):
        for name in (task.source, task.source.name):
            reason = reason.replace(one_line(name), str(task.place))
    return one_line(reason)
