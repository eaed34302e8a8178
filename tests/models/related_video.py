"""Recordings of related video systems' published code: weights and arrays."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def recorded(shared: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights that the key names of a system alone determine, and what was recorded with them."""
    folder = shared / "golden" / "related_video"
    spec = importlib.util.spec_from_file_location("weights", folder / "weights.py")
    filler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(filler)
    weights = filler.load(folder / f"{name}_keys.json.gz")
    with np.load(folder / f"{name}.npz") as file:
        arrays = {k: torch.from_numpy(v) for k, v in file.items() if v.dtype.kind != "U"}
    return {key: torch.from_numpy(value) for key, value in weights.items()}, arrays
