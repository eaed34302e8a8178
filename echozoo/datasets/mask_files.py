"""Masks that a data set has in a form of its own, as files that everybody can read."""

from __future__ import annotations

import os
import uuid
import zlib
from pathlib import Path

import numpy as np

from echozoo.errors import StorageError
from echozoo.films.io import write_volume


def keep_masks(folder: str | Path, name: str, masks: np.ndarray) -> Path:
    """Write label maps into a cache, once: the file's name holds their checksum.

    Args:
        folder: Of the cache.
        name: Of the film.
        masks: (n, H, W) uint8.

    Raises:
        StorageError: It cannot be written.
    """
    masks = np.ascontiguousarray(masks, np.uint8)
    digest = zlib.crc32(masks.data, masks.shape[1])
    path = Path(folder) / "masks" / f"{name}-{digest:08x}.nii.gz"
    if not path.is_file():
        unfinished = path.with_name(f"{uuid.uuid4().hex}.nii.gz")
        try:
            write_volume(unfinished, masks, (1.0, 1.0))
            os.replace(unfinished, path)
        except OSError as error:
            raise StorageError.of(path, error) from error
        finally:
            unfinished.unlink(missing_ok=True)
    return path
