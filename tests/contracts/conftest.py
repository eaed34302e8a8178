"""Every test here runs on every part of its kind, or on those of the file that --part names."""

from __future__ import annotations

import pytest
from calls import KINDS, LOSSES, NETWORKS
from mmengine.registry import init_default_scope
from parts import Case, cases, own_file, untested

FIXTURES = {kind: (kind,) for kind in KINDS} | {
    "network": NETWORKS,
    "per_item": tuple(kind for kind in NETWORKS if kind not in LOSSES),
}


def pytest_configure(config: pytest.Config) -> None:
    own_file(config)  # once, before any test is made of it


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name in FIXTURES.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(name, cases(metafunc.config, FIXTURES[name]), ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a user's file, run what takes a part of it, and nothing else."""
    if own_file(config) is not None:
        of_parts = [i for i in items if any(isinstance(v, Case) for v in _parameters(i).values())]
        config.hook.pytest_deselected(items=[item for item in items if item not in of_parts])
        items[:] = of_parts


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    module = getattr(config, "own_part", None)
    left = untested(module) if module else []
    if left:
        terminalreporter.write_line(f"not tested here: {', '.join(left)}", yellow=True)


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope("echozoo")


def _parameters(item: pytest.Item) -> dict:
    return item.callspec.params if hasattr(item, "callspec") else {}
