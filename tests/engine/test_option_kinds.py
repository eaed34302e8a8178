from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import pytest
import torch

from echozoo.engine.option_kinds import wrong_kind


class Part:
    def __init__(
        self,
        count: int = 1,
        share: float | torch.Tensor = 0.5,
        names: str | Sequence[str] = (),
        size: tuple[int, int] | None = None,
        path: str | Path | None = None,
        anything: Any = None,
        typed: Optional[Union[str, list[dict]]] = None,  # noqa: UP007, UP045
        bare=3,
        silent=None,
    ) -> None: ...


class Heir(Part):
    def __init__(self, own: bool = False, **kwargs) -> None: ...


@pytest.mark.parametrize(
    ("name", "current", "value", "wanted"),
    [
        ("count", None, 2, None),
        ("count", None, None, None),
        ("count", None, "two", "a whole number"),
        ("count", 1, 1.5, "a whole number"),
        ("share", 0.1, 1, None),
        ("share", 0.1, "much", "a number"),
        ("names", ("lv", "la"), "lv", None),
        ("names", None, 5, "text or a list"),
        ("size", (64, 64), 12, "a list"),
        ("size", None, [64, 64], None),
        ("path", None, "here", None),
        ("path", None, 7, "text"),
        ("anything", None, 7, None),
        ("anything", "text", 7, None),
        ("typed", None, [dict()], None),
        ("typed", None, 4, "text or a list"),
        ("bare", None, "x", "a whole number"),
        ("silent", None, "x", None),
        ("own", None, "x", "true or false"),
        ("absent", None, "x", None),
    ],
)
def test_kinds(name, current, value, wanted) -> None:
    assert wrong_kind(value, current, Heir, name) == wanted


@pytest.mark.parametrize(
    ("current", "value", "wanted"),
    [
        (dict(type="A"), 5, "a part (a dict)"),
        (dict(type="A"), [dict(type="A")], None),
        ([dict(type="A")], dict(type="A"), None),
        (3, "x", "a whole number"),
        (None, "x", None),
    ],
)
def test_where_nobody_is_asked(current, value, wanted) -> None:
    assert wrong_kind(value, current, None, "x") == wanted
