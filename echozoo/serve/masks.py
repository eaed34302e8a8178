"""The masks of one film: what was clicked lies over what was carried."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from echozoo.datasets.anatomy import choose_structures, join_masks, split_labels
from echozoo.serve.kept import Layer


class MaskStore:
    """Label maps of a film, compressed: a film of minutes takes megabytes.

    A structure's mask in a frame is the clicked one where there is one, else the carried one, so
    that taking clicks back shows what was carried before. A pixel belongs to one structure:
    clicked ones stand over carried ones. What is shown, measured, carried and written is the same.

    Args:
        structures: Short names of the model's.
        size: (H, W) of a frame.
        layers: What `layers` of another one gave; it starts with that.

    Attributes:
        changes: For each frame that ever had a mask, how often its masks have changed.
    """

    def __init__(
        self,
        structures: Sequence[str],
        size: tuple[int, int],
        layers: Mapping[str, Layer] | None = None,
    ) -> None:
        self.structures = tuple(one.short for one in choose_structures(structures))
        self.size = tuple(size)
        self.changes: Counter[int] = Counter()
        layers = layers or {}
        self._clicked: Layer = dict(layers.get("clicked", {}))
        self._carried: Layer = dict(layers.get("carried", {}))
        self.changes.update({*self._clicked, *self._carried})

    def layers(self) -> dict[str, Layer]:
        """All of it as plain data, a copy, to be kept."""
        return {"clicked": dict(self._clicked), "carried": dict(self._carried)}

    def click(self, frame: int, labels: np.ndarray, structures: Collection[str]) -> None:
        """Keep the map (H, W) of CAMUS's labels that the clicks on a frame gave."""
        self._keep(self._clicked, frame, labels, structures)

    def unclick(self, frame: int) -> None:
        """Drop what was clicked in a frame."""
        self._clicked.pop(frame, None)
        self.changes[frame] += 1

    def carry(self, frame: int, labels: np.ndarray, structures: Collection[str]) -> None:
        """Keep a map (H, W) of CAMUS's labels of one frame, in place of the one before."""
        self._keep(self._carried, frame, labels, structures)

    def replace(self, frame: int, labels: np.ndarray, structures: Collection[str]) -> None:
        """Keep a map (H, W) in place of all there is of some structures; others stay below it."""
        others = {name: mask for name, mask in self.frame(frame).items() if name not in structures}
        below = join_masks(others) if others else np.zeros(self.size, np.uint8)
        looked_for = {*self.sought(frame), *structures}
        self._clicked.pop(frame, None)
        self.carry(frame, np.where(labels > 0, labels, below), looked_for)

    def clear(self) -> None:
        """Drop everything."""
        self._clicked.clear()
        self._carried.clear()
        self.changes.update(list(self.changes))

    def sought(self, frame: int) -> tuple[str, ...]:
        """The structures that were looked for in a frame, found or not."""
        layers = self._clicked.get(frame), self._carried.get(frame)
        names = frozenset().union(*(layer[1] for layer in layers if layer))
        return tuple(name for name in self.structures if name in names)

    def frame(self, frame: int) -> dict[str, np.ndarray]:
        """The masks (H, W) bool of a frame by structure, those that are not empty."""
        found: dict[str, np.ndarray] = {}
        done: frozenset[str] = frozenset()
        taken = np.zeros(self.size, bool)
        for layer in (self._clicked.get(frame), self._carried.get(frame)):
            if layer is not None:
                labels = np.frombuffer(zlib.decompress(layer[0]), np.uint8).reshape(self.size)
                masks = split_labels(np.where(taken, 0, labels), self.structures)
                wanted = layer[1] - done
                found |= {name: m for name, m in masks.items() if name in wanted and m.any()}
                done, taken = done | layer[1], taken | (labels > 0)
        return found

    def clicked(self, frame: int) -> dict[str, np.ndarray]:
        """The masks (H, W) bool that the clicks on a frame gave, empty ones too."""
        packed, names = self._clicked[frame]
        labels = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self.size)
        return {
            name: m for name, m in split_labels(labels, self.structures).items() if name in names
        }

    def label_map(self, frame: int) -> np.ndarray:
        """Map (H, W) uint8 of CAMUS's labels."""
        masks = self.frame(frame)
        return join_masks(masks) if masks else np.zeros(self.size, np.uint8)

    def _keep(
        self, layer: dict, frame: int, labels: np.ndarray, structures: Collection[str]
    ) -> None:
        packed = zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 1)
        layer[frame] = packed, frozenset(structures)
        self.changes[frame] += 1


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of a mask, row after row, that of zeros first (0 if it starts with 1)."""
    flat = mask.ravel()
    bounds = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate(([0], bounds, [flat.size]))).tolist()
    return [0, *runs] if flat[0] else runs
