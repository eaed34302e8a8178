"""A toy config that trains in a moment, and a clean slate of mmengine's global state."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from echozoo.engine import launch
from echozoo.options import add_run_options

TOY_CONFIG = Path(__file__).parent / "toy" / "toy_config.py"


@pytest.fixture
def clean_slate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the runners of a test, and let it write into a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAMUS_ROOT", raising=False)
    yield
    for kind in (MessageHub, MMLogger, DefaultScope, Visualizer):
        for instance in kind._instance_dict.values():
            for handler in getattr(instance, "handlers", []):
                handler.close()
        kind._instance_dict.clear()


@pytest.fixture
def read(clean_slate: None) -> Callable[..., Config]:
    """Read the toy config with options, as a tool does."""

    def read(*options: str, config: Path | str = TOY_CONFIG) -> Config:
        parser = argparse.ArgumentParser()
        parser.add_argument("config")
        add_run_options(parser)
        return launch.read_config(parser.parse_args([str(config), *options]))

    return read
