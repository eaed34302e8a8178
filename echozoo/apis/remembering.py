"""Films through a model's memory: one state from the first frame to the last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from echozoo.apis.model import Embedding, LoadedModel
from echozoo.apis.prompts import check_frame, label_map
from echozoo.datasets.anatomy import join_masks
from echozoo.errors import ConfigError
from echozoo.films.film import EchoFilm

Masks = Mapping[str, np.ndarray]
Encode = Callable[[Sequence[int]], Embedding]


def remembers(loaded: LoadedModel) -> bool:
    """Whether a model goes through films by a memory of its own."""
    return hasattr(loaded.model, "memory") and hasattr(loaded.model, "stream")


def segment_by_memory(
    loaded: LoadedModel, film: EchoFilm, batch_size: int = 8
) -> Iterator[tuple[int, np.ndarray]]:
    """Run an automatic model over a film, as its tests do: without windows.

    Args:
        loaded: A model that `remembers`.
        film: The film.
        batch_size: Frames of a pass of the encoder.

    Yields:
        Frame index and label map (H0, W0) uint8 with CAMUS's labels, in the film's order.
    """
    state: object | None = None
    for start in range(0, film.num_frames, batch_size):
        part = range(start, min(start + batch_size, film.num_frames))
        embedding = loaded.encode(film.frames(part[0], part[-1] + 1), film.spacing)
        maps, state = _segment(loaded, film, embedding, loaded.structures, state, start)
        yield from zip(part, maps, strict=True)


def carry_by_memory(
    loaded: LoadedModel,
    film: EchoFilm,
    frame: int,
    known: Mapping[int, Masks],
    batch_size: int = 8,
    reach: range | None = None,
    encode: Encode | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Carry masks from one frame to the film's end, then to its beginning.

    Every frame that a person has marked is in the memory for good, and acts on frames before and
    after it (XMem++): from the first one on, each way has a state of its own that starts with them
    all. Time counts from there, so both ways are alike. There are no windows; what the memory keeps
    of a long film is its own affair.

    Args:
        loaded: A model that `remembers`.
        film: The film.
        frame: Where both ways start; one of ``known``.
        known: By frame the masks (H0, W0) bool by structure. Those of ``frame`` that are not
            empty are carried; other frames count where they have all of these, empty or not.
        batch_size: Frames of a pass of the encoder.
        reach: The frames to go through, ``frame`` among them; None is the whole film. Known frames
            outside of it are in the memory all the same.
        encode: Gives the embedding of some frames, in the order asked for, where somebody keeps
            them; None encodes them.

    Yields:
        Frame index and label map (H0, W0) uint8 with CAMUS's labels, the given frame first; the
        known frames' as they are.

    Raises:
        ConfigError: There is no such frame, or all its masks are empty.
    """
    check_frame(film, frame)
    names = [name for name, mask in known[frame].items() if mask.any()]
    if not names:
        raise ConfigError(f"{film.name}: frame {frame} has no mask to carry; segment it")
    given = {
        index: {name: masks[name] for name in names}
        for index, masks in known.items()
        if set(names) <= {*masks}
    }
    yield frame, join_masks(given[frame])
    reach = range(film.num_frames) if reach is None else reach

    def encoded(indices: Sequence[int]) -> Embedding:
        low, high = min(indices), max(indices) + 1
        frames = film.frames(low, high)[[index - low for index in indices]]
        return loaded.encode(frames, film.spacing)

    encode = encode or encoded
    for way, stop in ((1, reach[-1] + 1), (-1, reach[0] - 1)):
        indices = range(frame + way, stop, way)
        if indices:
            state = _marked(loaded, encode, given, frame, way)
            for start in range(0, len(indices), batch_size):
                part = indices[start : start + batch_size]
                maps, state = _segment(loaded, film, encode(part), names, state, start + 1)
                for index, labels in zip(part, maps, strict=True):
                    yield index, join_masks(given[index]) if index in given else labels


@torch.inference_mode()
def _marked(
    loaded: LoadedModel, encode: Encode, given: Mapping[int, Masks], frame: int, way: int
) -> object:
    """A state that knows the marked frames, at their distance from the first."""
    memory, state = loaded.model.memory, None
    for index in sorted(given, key=lambda index: abs(index - frame)):
        embedding = encode([index])
        features = embedding.features
        masks = np.stack(list(given[index].values()))[None]  # (1, K, H0, W0)
        logits = loaded.mask_logits(masks, features.images.shape[-2:], embedding.meta)
        if state is None:
            state = memory.start(1, masks.shape[1], features.embedding)
        keys = memory.keys(features)
        state = memory.write(
            *(state, way * (index - frame), features, keys, logits.to(features.device)),
            permanent=True,
            given=index == frame,
        )
    return state


@torch.inference_mode()
def _segment(
    loaded: LoadedModel,
    film: EchoFilm,
    embedding: Embedding,
    names: Sequence[str],
    state: object | None,
    start: int,
) -> tuple[list[np.ndarray], object]:
    """Label maps of frames that follow each other, either way, and the state after them."""
    logits, state = loaded.model.stream(
        embedding.features, state=state, start=start, structures=len(names)
    )
    native: Tensor = loaded.to_native(logits[0].float(), embedding.meta)  # (n, K, H0, W0)
    maps = [label_map(loaded, film, dict(zip(names, one, strict=True))) for one in native]
    return maps, state
