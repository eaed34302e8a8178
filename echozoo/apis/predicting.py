"""Label maps of a whole film, a few frames at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from echozoo.apis.label_store import Labelled, finished
from echozoo.apis.model import LoadedModel
from echozoo.apis.prompt_files import FilmPrompts
from echozoo.apis.prompts import prompts_from_masks
from echozoo.apis.remembering import remembers, segment_by_memory
from echozoo.apis.session import ClickSession
from echozoo.datasets.anatomy import label_values, split_labels
from echozoo.datasets.films import tiling_windows
from echozoo.datasets.shared_frames import own_frames
from echozoo.errors import ConfigError
from echozoo.films.film import EchoFilm

FRAMES_A_PASS = 8

Masks = Mapping[str, np.ndarray]


def label_film(
    loaded: LoadedModel,
    film: EchoFilm,
    prompts: Sequence[FilmPrompts] | None = None,
    coarse: LoadedModel | None = None,
    batch_size: int = FRAMES_A_PASS,
) -> Labelled:
    """Segment a whole film: what the tool, the page and `EchoInferencer` call.

    Args:
        loaded: The model.
        film: The film.
        prompts: What is known of some frames, to be carried; a model that needs prompts needs it.
        coarse: In place of ``prompts``: an automatic model, whose masks prompt each frame.
        batch_size: Frames of a pass of a model that has no clips of its own.

    Yields:
        Frame index and label map (H0, W0) uint8 with CAMUS's labels, each frame once; in the
        film's order unless ``prompts`` are carried: then as `ClickSession.carry` does. Where the
        model's postprocessing looks at whole films, all frames come once more, see `finished`.
    """
    chain = loaded.model.postprocessing
    if loaded.automatic and prompts is None:
        alone = _alone(loaded, film, batch_size)
        return finished(chain, film, loaded.structures, alone)
    session = ClickSession(loaded, film, ahead=batch_size)
    if prompts is not None:
        return _carried(session, prompts)
    prompted = _prompted_by(coarse, session, batch_size)
    return finished(chain, film, loaded.structures, prompted)


def _alone(loaded: LoadedModel, film: EchoFilm, batch_size: int) -> Labelled:
    """Run an automatic model over a film.

    A model with temporal modules sees clips of the length that it was trained on, one after the
    other, the last one shifted back to end with the film (as in testing); all others see
    ``batch_size`` frames at a time. Where logits are smoothed over time, every model goes by clips,
    those of the data set that it is tested on (see `tiling_windows`). A model with a memory goes
    through the film in one piece.
    """
    if remembers(loaded):
        yield from segment_by_memory(loaded, film, batch_size)
        return
    table = label_values(loaded.structures)
    for indices, wanted in _passes(loaded, film.num_frames, batch_size):
        first = min(indices)
        frames = film.frames(first, max(indices) + 1)[np.array(indices) - first]
        labels = loaded.predict(frames, film.spacing, indices).pred_labels.cpu().numpy()
        for index in wanted:
            yield index, table[labels[indices.index(index)]]


def _carried(session: ClickSession, prompts: Sequence[FilmPrompts]) -> Labelled:
    """Segment the prompted frames, and carry their masks through the film, as the page does.

    It starts at the first frame that prompts all structures; what another frame does not prompt is
    what is carried there from frames that do.

    Raises:
        ConfigError: No frame prompts all structures.
    """
    film, names = session.film, {name for one in prompts for name in one.structures}
    whole = [one for one in prompts if one.structures.keys() == names]
    if not whole:
        raise ConfigError(
            f"{film.name}: no frame prompts all of {', '.join(sorted(names))}, wanted one that does"
        )
    known = {}
    for one in prompts:
        labels = session.segment_all(one.frame, one.structures)
        known[one.frame] = split_labels(labels, tuple(one.structures))
    start = next((one for one in whole if any(m.any() for m in known[one.frame].values())), None)
    if start is None:
        yield from ((index, np.zeros(film.size, np.uint8)) for index in range(film.num_frames))
        return
    carry = partial(session.carry, start.frame, known.pop(start.frame), start.structures)
    parts = known.keys() - {one.frame for one in whole}
    if parts:
        there = {frame: masks for frame, masks in known.items() if frame not in parts}
        below = {frame: labels for frame, labels in carry(there) if frame in parts}
        for frame, labels in below.items():
            known[frame] = _over(known[frame], split_labels(labels, tuple(start.structures)))
    yield from carry(known)


def _over(above: Masks, below: Masks) -> Masks:
    """Masks (H, W) bool of a frame, and those that are missing of others, beside them."""
    taken = np.logical_or.reduce([*above.values()])
    return {name: above.get(name, mask & ~taken) for name, mask in below.items()}


def _prompted_by(coarse: LoadedModel, session: ClickSession, batch_size: int) -> Labelled:
    """Let an automatic model find the structures, and prompt another with its masks."""
    loaded = session.loaded
    shared = [name for name in loaded.structures if name in coarse.structures]
    for index, labels in _alone(coarse, session.film, batch_size):
        prompts = prompts_from_masks(split_labels(labels, shared), loaded.prompts)
        yield index, session.segment_all(index, prompts)


def _passes(
    loaded: LoadedModel, length: int, batch_size: int
) -> Iterator[tuple[tuple[int, ...], Iterable[int]]]:
    """Frames of each pass, and those of them whose labels are taken."""
    reach = loaded.model.postprocessing.reach
    if loaded.clip_length == 1 and reach == 0:
        for start in range(0, length, batch_size):
            frames = range(start, min(start + batch_size, length))
            yield tuple(frames), frames
        return
    size = loaded.window if loaded.clip_length == 1 else loaded.clip_length
    clips = tiling_windows(length, size, 1, reach)
    yield from zip(clips, own_frames(clips), strict=True)
