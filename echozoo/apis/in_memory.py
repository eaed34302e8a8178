"""Films that a program has in memory, as files and arrays: what everything below knows."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from echozoo.errors import DataError

WANTED = (
    "a path, an array or tensor (H, W), (T, H, W) or colour of it, a PIL image, the bytes of a "
    "file, or a list of these"
)
_BYTES = (bytes, bytearray, memoryview)
_KINDS = (str, Path, np.ndarray, torch.Tensor, Image.Image, *_BYTES)
_AS_THEY_ARE = ("L", "RGB", "RGBA", "I", "F", "I;16")
_FEW_LEVELS = ("1", "LA", "La")


class FileOfBytes(type(Path())):
    """A file that holds what was given as bytes, for as long as this path to it is kept."""

    __slots__ = ("__weakref__",)


def plain_sources(source: Any) -> list[Path | np.ndarray]:
    """Bring whatever is to be segmented to paths and arrays.

    Args:
        source: See `WANTED`. A tensor may have its channels before its rows, (T, 1, H, W) or
            (T, 3, H, W), as torch has them.

    Raises:
        DataError: It is something else.
    """
    several = isinstance(source, Iterable) and not isinstance(source, (*_KINDS, Mapping))
    return [_plain(one) for one in (source if several else [source])]


def _plain(source: Any) -> Path | np.ndarray:
    if isinstance(source, (str, Path)):
        return Path(source).expanduser()
    if isinstance(source, np.ndarray):
        return source
    if isinstance(source, torch.Tensor):
        return _array(source)
    if isinstance(source, Image.Image):
        return _picture(source)
    if isinstance(source, _BYTES):
        return _file(source)
    raise DataError(f"a {type(source).__name__} cannot be segmented, wanted {WANTED}")


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.ndim == 4 and tensor.shape[1] in (1, 3):  # (T, C, H, W) -> (T, H, W[, 3])
        tensor = tensor[:, 0] if tensor.shape[1] == 1 else tensor.permute(0, 2, 3, 1)
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _picture(image: Image.Image) -> np.ndarray:
    if image.mode not in _AS_THEY_ARE:
        image = image.convert("L" if image.mode in _FEW_LEVELS else "RGB")
    return np.asarray(image)


def _file(content: bytes | bytearray | memoryview) -> Path:
    """Write bytes down: their own first ones say what they are, and no name is needed."""
    with tempfile.NamedTemporaryFile(prefix="echozoo-", delete=False) as file:
        file.write(content)
    path = FileOfBytes(file.name)
    weakref.finalize(path, Path(file.name).unlink, missing_ok=True)
    return path
