"""One open film: what was done on it, and what that measures."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from echozoo.apis.measuring import FrameMeasures, Measures, measure_film, measure_frame
from echozoo.apis.prompts import StructurePrompt
from echozoo.apis.views import View
from echozoo.films.sector import outside_sector
from echozoo.serve.jobs import Job
from echozoo.serve.keeper import Keeper
from echozoo.serve.kept import Choices, KeptSession
from echozoo.serve.masks import MaskStore
from echozoo.serve.store import Place


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
        self.choices: Choices = kept.choices
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

    def click(self, frame: int, prompts: dict[str, StructurePrompt]) -> None:
        """Segment a frame from all that was clicked in it; on the model's thread."""
        if prompts:
            self.keep_click(frame, self.clicks.segment_all(frame, prompts), prompts)
        else:
            self.masks.unclick(frame)
            self.prompts[frame] = prompts

    def keep_click(
        self, frame: int, labels: np.ndarray, prompts: dict[str, StructurePrompt]
    ) -> None:
        """Keep what the model made of all that was clicked in a frame."""
        self.masks.click(frame, labels, prompts)
        self.prompts[frame] = prompts

    def replace(self, frame: int, labels: np.ndarray, structures: Collection[str]) -> None:
        """Put a map (H, W) from elsewhere in place of a frame's masks of some structures."""
        self.prompts.pop(frame, None)
        self.masks.replace(frame, labels, structures)

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
