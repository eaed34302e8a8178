"""The masks of one film: what was drawn lies over what was clicked, that over what was carried."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from echozoo.datasets.anatomy import LABEL_VALUES, choose_structures, join_masks, split_labels
from echozoo.serve.kept import Layer


class MaskStore:
    """Label maps of a film, compressed: a film of minutes takes megabytes.

    A structure's mask in a frame is the drawn one where there is one, else the clicked one, else
    the carried one, so that taking clicks back shows what was carried before. A pixel belongs to
    one structure: the upper layers' stand over the lower ones'. What is shown, measured, carried
    and written is the same. A frame with something drawn or clicked is a corrected one: what is
    carried there changes nothing that there is.

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
        self._drawn: Layer = dict(layers.get("drawn", {}))
        self._clicked: Layer = dict(layers.get("clicked", {}))
        self._carried: Layer = dict(layers.get("carried", {}))
        self.changes.update({*self._drawn, *self._clicked, *self._carried})

    def layers(self) -> dict[str, Layer]:
        """All of it as plain data, a copy, to be kept."""
        return {
            "drawn": dict(self._drawn),
            "clicked": dict(self._clicked),
            "carried": dict(self._carried),
        }

    def restore(self, layers: Mapping[str, Layer]) -> list[int]:
        """Take up what `layers` gave before; returns the frames that change."""
        now = self.layers()
        frames = {frame for layer in (*now.values(), *layers.values()) for frame in layer}
        changed = [
            frame
            for frame in sorted(frames)
            if any(now[name].get(frame) is not layers[name].get(frame) for name in now)
        ]
        self._drawn, self._clicked, self._carried = (
            dict(layers[name]) for name in ("drawn", "clicked", "carried")
        )
        self.changes.update(changed)
        return changed

    @property
    def corrected(self) -> set[int]:
        """The frames in which a person has drawn or clicked."""
        return {*self._drawn, *self._clicked}

    def draw(self, frame: int, structure: str, where: np.ndarray, erase: bool) -> bool:
        """Give pixels of a frame to a structure, or take them from it; no others change.

        Args:
            frame: The frame.
            structure: Short name.
            where: (H, W) bool.
            erase: Whether those of ``where`` that are the structure's become background.

        Returns:
            Whether any pixel changes.
        """
        labels, value = self.label_map(frame), LABEL_VALUES[structure]
        changed = where & ((labels == value) == erase)
        if not changed.any():
            return False
        held = split_labels(labels * changed, self.structures)
        touched = {structure, *(name for name, mask in held.items() if mask.any())}
        labels[changed] = 0 if erase else value
        self._keep_part(self._drawn, frame, labels, self._names(self._drawn, frame) | touched)
        return True

    def undraw(self, frame: int, structure: str) -> None:
        """Drop what was drawn of a structure in a frame."""
        names = self._names(self._drawn, frame)
        if structure in names:
            labels = self._labels(self._drawn, frame)
            self._keep_part(self._drawn, frame, labels, names - {structure})

    def click(self, frame: int, labels: np.ndarray, structures: Collection[str]) -> None:
        """Keep the map (H, W) of CAMUS's labels that the clicks on a frame gave."""
        self._keep(self._clicked, frame, labels, structures)

    def unclick(self, frame: int) -> None:
        """Drop what was clicked in a frame."""
        self._clicked.pop(frame, None)
        self.changes[frame] += 1

    def carry(self, frame: int, labels: np.ndarray, structures: Collection[str]) -> None:
        """Keep a map (H, W) of CAMUS's labels of one frame, in place of the one before.

        In a corrected frame only structures that nobody has looked for are taken from it.
        """
        if frame in self.corrected:
            names = frozenset(structures) - {*self.sought(frame)}
            below = self._names(self._carried, frame)
            if not names:
                return
            new = np.isin(labels, [LABEL_VALUES[name] for name in names])
            labels = np.where(new, labels, self._labels(self._carried, frame))
            structures = names | below
        self._keep(self._carried, frame, labels, structures)

    def replace(self, frame: int, labels: np.ndarray, structures: Collection[str]) -> None:
        """Keep a map (H, W) in place of all there is of some structures; others stay below it."""
        others = {name: mask for name, mask in self.frame(frame).items() if name not in structures}
        below = join_masks(others) if others else np.zeros(self.size, np.uint8)
        looked_for = {*self.sought(frame), *structures}
        self._drawn.pop(frame, None)
        self._clicked.pop(frame, None)
        self.carry(frame, np.where(labels > 0, labels, below), looked_for)

    def clear(self) -> None:
        """Drop everything."""
        self._drawn.clear()
        self._clicked.clear()
        self._carried.clear()
        self.changes.update(list(self.changes))

    def sought(self, frame: int) -> tuple[str, ...]:
        """The structures that were looked for in a frame, found or not."""
        layers = self._drawn, self._clicked, self._carried
        names = frozenset().union(*(self._names(layer, frame) for layer in layers))
        return tuple(name for name in self.structures if name in names)

    def frame(self, frame: int) -> dict[str, np.ndarray]:
        """The masks (H, W) bool of a frame by structure, those that are not empty."""
        found: dict[str, np.ndarray] = {}
        done: frozenset[str] = frozenset()
        taken = np.zeros(self.size, bool)
        for layer in (self._drawn, self._clicked, self._carried):
            if frame in layer:
                labels, names = self._labels(layer, frame), self._names(layer, frame)
                masks = split_labels(np.where(taken, 0, labels), self.structures)
                wanted = names - done
                found |= {name: m for name, m in masks.items() if name in wanted and m.any()}
                done, taken = done | names, taken | (labels > 0)
        return found

    def known(self, frame: int) -> dict[str, np.ndarray]:
        """The masks (H, W) bool of the structures that were looked for, empty ones too."""
        there, nothing = self.frame(frame), np.zeros(self.size, bool)
        return {name: there.get(name, nothing) for name in self.sought(frame)}

    def label_map(self, frame: int) -> np.ndarray:
        """Map (H, W) uint8 of CAMUS's labels."""
        masks = self.frame(frame)
        return join_masks(masks) if masks else np.zeros(self.size, np.uint8)

    def _names(self, layer: Layer, frame: int) -> frozenset[str]:
        return layer[frame][1] if frame in layer else frozenset()

    def _labels(self, layer: Layer, frame: int) -> np.ndarray:
        if frame not in layer:
            return np.zeros(self.size, np.uint8)
        return np.frombuffer(zlib.decompress(layer[frame][0]), np.uint8).reshape(self.size)

    def _keep_part(
        self, layer: Layer, frame: int, labels: np.ndarray, structures: frozenset[str]
    ) -> None:
        """Keep what a map says of some structures; without any, nothing."""
        if structures:
            theirs = np.isin(labels, [LABEL_VALUES[name] for name in structures])
            self._keep(layer, frame, labels * theirs, structures)
        else:
            layer.pop(frame, None)
            self.changes[frame] += 1

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
