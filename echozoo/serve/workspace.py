"""One open film: what was done on it, and what that measures."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from echozoo.apis.measuring import FrameMeasures, Measures, measure_film, measure_frame
from echozoo.apis.prompts import StructurePrompt
from echozoo.apis.views import View
from echozoo.films.sector import outside_sector
from echozoo.serve.history import History, State
from echozoo.serve.jobs import Job
from echozoo.serve.keeper import Keeper
from echozoo.serve.kept import Choices, KeptSession
from echozoo.serve.masks import MaskStore
from echozoo.serve.store import Place
from echozoo.serve.uploads import Refusal


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

    def set_spacing(self, spacing: tuple[float, float] | None) -> None:
        """Take (dy, dx) mm for the film's spacing, None for unknown; its file stays as it is."""
        dy, dx = spacing or (1.0, 1.0)
        for film in filter(None, (self._film, self._film.whole)):
            film.spacing = spacing
            film.geometry = film.geometry._replace(spacing=(dx, dy, *film.geometry.spacing[2:]))


class Workspace:
    """One open film: its clicks, its masks, what they measure, its job.

    Args:
        film: The film.
        folder: A folder for its scratch files, removed with it.
        clicks: The model's side of it, used on the model's thread alone; None where it takes no
            clicks.
        view: Its view.
        structures: Short names of the model's.
        place: Where its session is kept; what is kept there is taken up.
        listed: Name and bytes of its file in the list of films; None for an upload.

    Attributes:
        prompts: What was clicked, by frame and structure.
        masks: Its masks.
        choices: What was decided about it.
        keeper: Writes all of these; tell it of every change.
        note: What a user should know of the kept session, one line; "" where all is well.
        has_spacing: Whether the film says its own.
        looked_at: The frame that a page shows.
        job: The last job, running or not.
    """

    def __init__(
        self,
        film: Any,
        folder: Path,
        clicks: Any,
        view: View,
        structures: Sequence[str],
        place: Place,
        listed: tuple[str, int] | None = None,
    ) -> None:
        self.film, self.folder, self.clicks, self.view = film, folder, clicks, view
        self.place = place
        kept, self.note = place.read(film)
        self.listed = listed or kept.listed
        self.prompts: dict[int, dict[str, StructurePrompt]] = kept.prompts
        self.masks = MaskStore(structures, film.size, kept.layers)
        self.has_spacing = film.spacing is not None
        self.looked_at = 0
        self.choices = Choices()
        self._history = History()
        self._choose(kept.choices)
        self.keeper = Keeper(lambda: place.write(self.session()))
        self._outside = outside_sector(film)
        self._measured: dict[tuple, FrameMeasures] = {}
        self.job: Job | None = None

    def session(self) -> KeptSession:
        """All that was done, as it is now; on any thread."""
        return KeptSession.of(
            self.film,
            prompts=dict(self.prompts),
            layers=self.masks.layers(),
            choices=self.choices,
            listed=self.listed,
        )

    def picture(self, frame: int) -> bytes:
        """A frame as PNG, gray."""
        image = self.film.frames(frame, frame + 1)[0]  # (H, W)
        _, png = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        return png.tobytes()

    def click(self, frame: int, prompts: dict[str, StructurePrompt], structure: str) -> None:
        """Segment a frame from all that was clicked in it; on the model's thread.

        Args:
            frame: The frame.
            prompts: All of them.
            structure: The one that was clicked on last; what was drawn of it goes.
        """
        labels = self.clicks.segment_all(frame, prompts) if prompts else None
        with self.step():
            self.keep_click(frame, labels, prompts, structure)

    def keep_click(
        self,
        frame: int,
        labels: np.ndarray | None,
        prompts: dict[str, StructurePrompt],
        *structures: str,
    ) -> None:
        """Keep what the model made of all that was clicked in a frame, None for nothing.

        What was drawn of ``structures`` goes.
        """
        if labels is None:
            self.masks.unclick(frame)
        else:
            self.masks.click(frame, labels, prompts)
        for structure in structures:
            self.masks.undraw(frame, structure)
        self.prompts[frame] = prompts

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Make all that is changed in it one step of the history; not where it fails."""
        before = self._state()
        yield
        self._history.note(before)

    def undo(self, again: bool = False) -> list[int] | None:
        """Take the last step back, or do it again.

        Returns:
            The frames whose masks change; None where there is no step.
        """
        move = self._history.redo if again else self._history.undo
        state = move(self._state())
        if state is None:
            return None
        self.prompts = dict(state.prompts)
        # Whether a film is done with is not a step.
        self._choose(dataclasses.replace(state.choices, done=self.choices.done))
        return self.masks.restore(state.layers)

    def steps(self) -> dict[str, int]:
        """How many steps can be taken back, and done again."""
        return self._history.steps()

    def choose(self, **choices: Any) -> None:
        """Decide something, as a step."""
        with self.step():
            self._choose(dataclasses.replace(self.choices, **choices))

    def _choose(self, choices: Choices) -> None:
        if choices.spacing != self.choices.spacing:
            self.film.set_spacing(choices.spacing)
            if self.clicks is not None:
                self.clicks.forget()
        self.choices = choices

    def _state(self) -> State:
        return State(dict(self.prompts), self.masks.layers(), self.choices)

    def draw(self, frame: int, structure: str, where: np.ndarray, erase: bool) -> None:
        """Give pixels (H, W) bool of a frame to a structure, or take them; a step if any change."""
        before = self._state()
        if self.masks.draw(frame, structure, where, erase):
            self._history.note(before)

    def replace(self, frame: int, labels: np.ndarray, structures: Collection[str]) -> None:
        """Put a map (H, W) from elsewhere in place of a frame's masks of some structures."""
        self.prompts.pop(frame, None)
        self.masks.replace(frame, labels, structures)

    def clear(self) -> None:
        """Drop all clicks and masks."""
        self.prompts.clear()
        self.masks.clear()

    def reach(self, frame: int, way: str) -> tuple[int, range]:
        """Where carrying starts, and the frames that it goes through.

        Args:
            frame: The frame that is looked at.
            way: "both", "forward", "backward" from that frame; or "between" the corrected frames
                around it, from the nearer one where it is none itself.

        Raises:
            Refusal: There are none around it (422).
        """
        first, last = 0, self.film.num_frames - 1
        if way == "between":
            corrected = sorted(self.masks.corrected)
            before = [one for one in corrected if one < frame][-1:]
            after = [one for one in corrected if one > frame][:1]
            ends = [*before, *([frame] if frame in corrected else []), *after]
            if len(ends) < 2:
                raise Refusal(
                    422, f"frame {frame + 1} is not between two frames that were corrected"
                )
            start = min(ends, key=lambda end: abs(end - frame))
            return start, range(ends[0], ends[-1] + 1)
        return frame, range(
            frame if way == "forward" else first, (frame if way == "backward" else last) + 1
        )

    def measures(self) -> Measures:
        """Measure what is segmented so far; frames that have not changed are not looked at."""
        sought = {frame: self.masks.sought(frame) for frame in sorted(self.masks.changes)}
        there = {name for names in sought.values() for name in names}
        structures = tuple(name for name in self.masks.structures if name in there)
        known: dict[int, tuple] = {
            frame: (frame, self.masks.changes[frame], structures, self.film.spacing)
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
        instants = self.choices.ed, self.choices.es
        return measure_film(self.film, structures, frames, self.view, instants)

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self.job is not None and self.job.state == "running"

    def close(self, forget: bool) -> None:
        """Stop its job, keep what was done, and remove its scratch files.

        Args:
            forget: Whether to remove the film too, where it was uploaded.
        """
        if self.job is not None:
            self.job.stop()
        self.keeper.flush()
        self.film.close()
        self.place.release(forget)
        shutil.rmtree(self.folder, ignore_errors=True)
