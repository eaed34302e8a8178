"""Every test here runs on every part of its kind, or on those of the file that --part names."""

from __future__ import annotations

import pytest
from mmengine.registry import init_default_scope
from parts import names

KINDS = ("temporal", "encoder", "neck", "head", "decoder", "adapter", "loss")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for kind in KINDS:
        if kind in metafunc.fixturenames:
            metafunc.parametrize(kind, names(metafunc.config, kind))


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope("echozoo")
