"""The masks of one film: what was clicked lies over what was carried."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from echozoo.datasets.anatomy import Structure


class MaskStore:
    """Masks of every structure in every frame, compressed: a film of minutes takes megabytes.

    A structure's mask in a frame is the clicked one where there is one, else the carried one, so
    that taking clicks back shows what was carried before. A pixel belongs to one structure: where
    masks overlap, clicked ones stand over carried ones, and the cavity over the myocardium over
    the atrium. What is shown, measured, carried and written is the same.

    Args:
        num_frames: Length of the film.
        structures: The K structures of the model; an index k below is that of one of them.
        size: (H, W) of a frame.

    Attributes:
        pixels: Pixels of each mask, (T, K) int64, -1 where there is none.
    """

    def __init__(
        self, num_frames: int, structures: Sequence[Structure], size: tuple[int, int]
    ) -> None:
        self.structures, self.size = tuple(structures), tuple(size)
        self.pixels = np.full((num_frames, len(self.structures)), -1, np.int64)
        self._clicked: dict[tuple[int, int], bytes] = {}
        self._carried: dict[int, bytes] = {}

    def click(self, frame: int, structure: int, mask: np.ndarray) -> None:
        """Keep the mask (H, W) bool of one structure in one frame."""
        self._clicked[frame, structure] = zlib.compress(np.packbits(mask).tobytes(), 1)
        self._count(frame)

    def unclick(self, frame: int, structure: int) -> None:
        """Drop a clicked mask, if there is one."""
        self._clicked.pop((frame, structure), None)
        self._count(frame)

    def carry(self, frame: int, labels: np.ndarray) -> None:
        """Keep a map (H, W) of CAMUS's labels of one frame."""
        self._carried[frame] = zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 1)
        self._count(frame)

    def clear(self) -> None:
        """Drop everything."""
        self._clicked.clear()
        self._carried.clear()
        self.pixels[:] = -1

    def frame(self, frame: int) -> dict[int, np.ndarray]:
        """The masks (H, W) bool of a frame, by index of the structure; only those that are."""
        found, taken = {}, np.zeros(self.size, bool)
        for k in range(len(self.structures)):
            packed = self._clicked.get((frame, k))
            if packed is not None:
                found[k] = self._unpack(packed) & ~taken
                taken |= found[k]
        carried = self._carried.get(frame)
        if carried is None:
            return found
        labels = np.frombuffer(zlib.decompress(carried), np.uint8).reshape(self.size)  # (H, W)
        for k, structure in enumerate(self.structures):
            mask = (labels == structure) & ~taken
            if k not in found and mask.any():
                found[k] = mask
        return found

    def label_map(self, frame: int) -> np.ndarray:
        """Map (H, W) uint8 of CAMUS's labels."""
        labels = np.zeros(self.size, np.uint8)
        for k, mask in self.frame(frame).items():
            labels[mask] = self.structures[k]
        return labels

    def _count(self, frame: int) -> None:
        counts = np.full(len(self.structures), -1)
        for k, mask in self.frame(frame).items():
            counts[k] = np.count_nonzero(mask)
        self.pixels[frame] = counts

    def _unpack(self, packed: bytes) -> np.ndarray:
        bits = np.frombuffer(zlib.decompress(packed), np.uint8)
        height, width = self.size
        return np.unpackbits(bits, count=height * width).reshape(self.size).astype(bool)  # (H, W)


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of a mask, row after row, that of zeros first (0 if it starts with 1)."""
    flat = mask.ravel()
    bounds = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate(([0], bounds, [flat.size]))).tolist()
    return [0, *runs] if flat[0] else runs
