"""One film and a person who clicks on it: the encoder runs once a frame, a click is quick."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from echozoo.apis.carrying import carry
from echozoo.apis.label_store import finished
from echozoo.apis.model import Embedding, LoadedModel
from echozoo.apis.prompts import (
    StructurePrompt,
    check_frame,
    check_prompt,
    decode_frame,
    label_map,
    make_prompt,
)
from echozoo.apis.remembering import carry_by_memory, remembers
from echozoo.datasets.films import tiling_windows
from echozoo.datasets.shared_frames import own_frames
from echozoo.errors import ConfigError
from echozoo.films.film import EchoFilm
from echozoo.models.prompts import Features

FRAMES_A_PASS = 8
"""Of a memory's encoder, where none of them is kept."""


class ClickSession:
    """Segments a film from prompts.

    A model with temporal modules sees the clip of the film that a frame is in: clips of its
    length that follow each other, the last one shifted back to end with the film. A frame that two
    clips share belongs to the one that a test takes it from, whichever a person clicks on first.

    Args:
        loaded: A model that takes prompts.
        film: The film.
        cache_frames: How many frames' embeddings are kept; the one used longest ago goes first.
        ahead: Frames to encode in one pass, where the model has no clips of its own.

    Raises:
        ConfigError: The model takes no prompts.
    """

    def __init__(
        self, loaded: LoadedModel, film: EchoFilm, cache_frames: int = 48, ahead: int = 1
    ) -> None:
        if not loaded.understands:
            raise ConfigError(
                f"{type(loaded.model).__name__} takes no prompts: run it on the film as it is"
            )
        self.loaded, self.film = loaded, film
        temporal, length = loaded.clip_length > 1, film.num_frames
        step = loaded.clip_length if temporal else ahead
        self._windows = (
            tiling_windows(length, step, 1)
            if temporal
            else [tuple(range(i, min(i + step, length))) for i in range(0, length, step)]
        )
        self._own = own_frames(self._windows)
        self._window_of = {frame: w for w, frames in enumerate(self._own) for frame in frames}
        self._cache: OrderedDict[int, Embedding] = OrderedDict()
        self._held: frozenset[int] = frozenset()
        self._cache_frames, self._step = max(cache_frames, step), step

    def segment(
        self,
        frame: int,
        structure: str,
        points: Sequence | np.ndarray = (),
        labels: Sequence | np.ndarray | None = None,
        box: Sequence | np.ndarray | None = None,
    ) -> np.ndarray:
        """Segment one structure in one frame.

        Args:
            frame: From 0.
            structure: "lv", "myo" or "la".
            points: P clicks (x, y) in pixels of the film.
            labels: P labels, 1 for the structure, 0 for what is not; all 1 where None.
            box: (x1, y1, x2, y2) in pixels of the film.

        Returns:
            (H0, W0) bool.

        Raises:
            ConfigError: The film or the model cannot take the prompt: see `check_prompt`.
        """
        prompt = make_prompt(points, labels, box, name=f"{self.film.name}, {structure}")
        check_prompt(self.loaded, self.film, frame, structure, prompt)
        logits = decode_frame(self.loaded, self.embedding(frame), {structure: prompt})
        return label_map(self.loaded, self.film, logits) > 0

    def segment_all(self, frame: int, prompts: Mapping[str, StructurePrompt]) -> np.ndarray:
        """Segment several structures of one frame into a label map.

        Args:
            frame: From 0.
            prompts: By structure, already checked.

        Returns:
            (H0, W0) uint8 with CAMUS's labels; overlaps go to the highest logit.
        """
        logits = decode_frame(self.loaded, self.embedding(frame), prompts)
        return label_map(self.loaded, self.film, logits)

    def carry(
        self,
        frame: int,
        masks: Mapping[str, np.ndarray],
        prompts: Mapping[str, StructurePrompt] | None = None,
        others: Mapping[int, Mapping[str, np.ndarray]] | None = None,
        reach: range | None = None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Carry masks through the film, both ways.

        A model with a memory does so by it (see `echozoo.apis.remembering`), any other by prompting
        each frame with the one before (see `echozoo.apis.carrying`).

        Args:
            frame: The frame that the masks belong to.
            masks: (H0, W0) bool by structure.
            prompts: What the masks were made from, where it is known.
            others: Masks of other frames that a person has marked. A memory looks at them from the
                start; any other model begins anew at each of them.
            reach: The frames to go through, ``frame`` among them; None is the whole film.

        Yields:
            Frame index and label map (H0, W0) uint8 with CAMUS's labels, the given frame first.
            Where the whole film is carried and the model's postprocessing looks at whole films, all
            frames come once more, see `finished`; the marked ones stay as they are.

        Raises:
            ConfigError: There is no such frame or structure, the reach is not of the film or not of
                the frame, or the masks are empty.
        """
        check_frame(self.film, frame)
        masks, marked = self._checked(masks), {}
        for index, others_masks in (others or {}).items():
            check_frame(self.film, index)
            marked[index] = self._checked(others_masks)
        whole = range(self.film.num_frames)
        reach = whole if reach is None else reach
        if not (frame in reach and reach[0] in whole and reach[-1] in whole):
            raise ConfigError(f"{self.film.name}: {reach} wanted, of {whole} and with {frame}")
        if remembers(self.loaded):
            known = {**marked, frame: masks}
            given = self.film, frame, known, FRAMES_A_PASS, reach, self._embeddings
            carried = carry_by_memory(self.loaded, *given)
        else:
            # Encoded with the frame and wanted again at the very end of a long film.
            own = self._own[self._window_of[frame]]
            self._held = frozenset(index for index in own if index < frame)
            kinds = self.loaded.prompts
            given = masks, prompts, marked, reach
            carried = carry(self.film, self.segment_all, kinds, frame, *given)
        if reach == whole:
            chain, pinned = self.loaded.model.postprocessing, [frame, *marked]
            carried = finished(chain, self.film, tuple(masks), carried, pinned)
        yield from carried

    def look_ahead(self, frame: int) -> bool:
        """Encode what is near a frame while nobody asks for anything: what a click will need.

        Args:
            frame: The frame that is looked at.

        Returns:
            Whether there was anything to do: the nearest frame was encoded. False where all frames
            are, or as many as are kept.
        """
        near = sorted(range(self.film.num_frames), key=lambda index: abs(index - frame))
        # The clips at both ends bring frames that are farther.
        wanted = near[: max(self._cache_frames - 2 * (self._step - 1), 1)]
        missing = next((index for index in wanted if index not in self._cache), None)
        if missing is None:
            return False
        for index in reversed(wanted):  # what is far goes first
            if index in self._cache:
                self._cache.move_to_end(index)
        self.embedding(missing)
        return True

    def forget(self) -> None:
        """Drop what was encoded: the film's spacing has changed."""
        self._cache.clear()

    def embedding(self, frame: int) -> Embedding:
        """The embedding of one frame; its clip is encoded where it is not known yet."""
        if frame not in self._cache:
            number = self._window_of[frame]
            window = self._windows[number]
            first = min(window)
            clip = self.film.frames(first, max(window) + 1)[np.array(window) - first]
            encoded = self.loaded.encode(clip, self.film.spacing)
            for index in self._own[number]:
                place = window.index(index)
                one = encoded[place : place + 1]
                # A copy of its own: a view would keep the whole clip in memory.
                self._cache[index] = Embedding(one.features.clone(), one.meta)
            while len(self._cache) > self._cache_frames + len(self._held):
                oldest = next(k for k in self._cache if k != frame and k not in self._held)
                del self._cache[oldest]
        self._cache.move_to_end(frame)
        return self._cache[frame]

    def _embeddings(self, frames: Sequence[int]) -> Embedding:
        """The embeddings of some frames as one; what is kept of them is not encoded again."""
        missing = [frame for frame in frames if frame not in self._cache]
        if missing == list(frames) and self._step == 1:  # together they take less time
            low = min(frames)
            images = self.film.frames(low, max(frames) + 1)[[frame - low for frame in frames]]
            return self.loaded.encode(images, self.film.spacing)
        found = [self.embedding(frame) for frame in frames]
        return Embedding(Features.joined([one.features for one in found]), found[0].meta)

    def _checked(self, masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, mask in masks.items():
            if name not in self.loaded.structures or np.shape(mask) != tuple(self.film.size):
                raise ConfigError(
                    f"{self.film.name}: mask {name!r} of {np.shape(mask)}, wanted one of"
                    f" {', '.join(self.loaded.structures)} of {tuple(self.film.size)}"
                )
        return {name: np.asarray(mask, bool) for name, mask in masks.items()}
