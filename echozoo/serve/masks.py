"""The masks of one film: what was clicked lies over what was carried."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from echozoo.datasets.anatomy import Structure


class MaskStore:
    """Masks of every structure in every frame, compressed: a film of minutes takes megabytes.

    A structure's mask in a frame is the clicked one where there is one, else the carried one, so
    that taking clicks back shows what was carried before.

    Args:
        num_frames: Length of the film.
        structures: The K structures of the model; an index k below is that of one of them.
        size: (H, W) of a frame.
    """

    def __init__(
        self, num_frames: int, structures: Sequence[Structure], size: tuple[int, int]
    ) -> None:
        self.structures, self.size = tuple(structures), tuple(size)
        self._values = np.array([int(structure) for structure in structures])
        # Pixels a mask: -1 where there is none.
        self._pixels = np.full((2, num_frames, len(self.structures)), -1, np.int64)
        self._clicked: dict[tuple[int, int], bytes] = {}
        self._carried: dict[int, bytes] = {}

    def click(self, frame: int, structure: int, mask: np.ndarray) -> None:
        """Keep the mask (H, W) bool of one structure in one frame."""
        self._clicked[frame, structure] = _pack(mask)
        self._pixels[0, frame, structure] = np.count_nonzero(mask)

    def unclick(self, frame: int, structure: int) -> None:
        """Drop a clicked mask, if there is one."""
        self._clicked.pop((frame, structure), None)
        self._pixels[0, frame, structure] = -1

    def carry(self, frame: int, labels: np.ndarray) -> None:
        """Keep a map (H, W) of CAMUS's labels of one frame."""
        self._carried[frame] = zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 1)
        present = np.bincount(labels.ravel(), minlength=len(Structure) + 1)[self._values]
        self._pixels[1, frame] = np.where(present > 0, present, -1)

    def clear(self) -> None:
        """Drop everything."""
        self._clicked.clear()
        self._carried.clear()
        self._pixels[:] = -1

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of each mask, (T, K) int64, -1 where there is none."""
        clicked, carried = self._pixels
        return np.where(clicked >= 0, clicked, carried)

    def frame(self, frame: int) -> dict[int, np.ndarray]:
        """The masks (H, W) bool of a frame, by index of the structure; only those that are."""
        found = {}
        carried = self._carried.get(frame)
        if carried is not None:
            labels = np.frombuffer(zlib.decompress(carried), np.uint8).reshape(self.size)  # (H, W)
            for k in np.flatnonzero(self._pixels[1, frame] >= 0).tolist():
                found[k] = labels == self._values[k]
        for k in range(len(self.structures)):
            packed = self._clicked.get((frame, k))
            if packed is not None:
                found[k] = _unpack(packed, self.size)
        return found

    def label_map(self, frame: int) -> np.ndarray:
        """Map (H, W) uint8 of CAMUS's labels; where masks overlap, the first structure's stays."""
        labels = np.zeros(self.size, np.uint8)
        for k, mask in sorted(self.frame(frame).items(), reverse=True):
            labels[mask] = self._values[k]
        return labels


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of a mask, row after row, that of zeros first (0 if it starts with 1)."""
    flat = mask.ravel()
    bounds = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate(([0], bounds, [flat.size]))).tolist()
    return [0, *runs] if flat[0] else runs


def _pack(mask: np.ndarray) -> bytes:
    return zlib.compress(np.packbits(mask).tobytes(), 1)


def _unpack(packed: bytes, size: tuple[int, int]) -> np.ndarray:
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.unpackbits(bits, count=size[0] * size[1]).reshape(size).astype(bool)  # (H, W)
