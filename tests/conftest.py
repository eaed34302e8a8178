"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference outputs and real CAMUS images; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(
            f"no {SHARED.name}/ folder beside the checkout: no real data, no golden outputs"
        )
    return SHARED


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
