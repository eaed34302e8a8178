"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from echozoo.engine.config_file import load_config
from echozoo.engine.scales import apply_scale
from echozoo.phantom import PhantomOptions, write_phantom

pytest_plugins = ["small_camus", "chromium"]

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", help="a file whose parts tests/contracts is run on")
    parser.addoption("--mutations", type=int, default=150, help="damaged films of tests/mutator")
    parser.addoption("--mutation-seed", type=int, default=0, help="which ones")
    parser.addoption(
        "--every-config",
        action="store_true",
        help="tests/integration/test_processes.py trains every config, not some",
    )
    parser.addoption("--kills", type=int, default=3, help="how often a run is killed at random")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: none of them is left to one worker at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated data set in CAMUS's layout: 4 patients, films of 3 and 4 frames."""
    root = tmp_path_factory.mktemp("phantom") / "data"
    options = PhantomOptions(patients=4, seed=0, spacing=1.5, frames=(3, 4))
    write_phantom(root, options, processes=1)
    return root


@pytest.fixture(scope="session")
def tiny_configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with unet.py, samus_tra.py and efficient_unet.py as `--scale tiny` makes them."""
    folder = tmp_path_factory.mktemp("configs")
    for name in ("unet.py", "samus_tra.py", "efficient_unet.py"):
        cfg = load_config(CONFIGS / name)
        apply_scale(cfg, "tiny")
        cfg.dump(folder / name)
    return folder
