"""What was before each step, so that it can be taken back and done again."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from echozoo.apis.prompts import StructurePrompt
from echozoo.serve.kept import Choices, Layer

_MOST = 200


class State(NamedTuple):
    """All that a step may change; what two states have in common is there once."""

    prompts: dict[int, dict[str, StructurePrompt]]
    layers: dict[str, Layer]
    choices: Choices


class History:
    """States before the steps that were done, and after those that were taken back."""

    def __init__(self) -> None:
        self._before: deque[State] = deque(maxlen=_MOST)
        self._after: list[State] = []

    def note(self, before: State) -> None:
        """A step was done; what had been taken back cannot be done again."""
        self._before.append(before)
        self._after.clear()

    def undo(self, now: State) -> State | None:
        """Take a step back; None where there is none."""
        if not self._before:
            return None
        self._after.append(now)
        return self._before.pop()

    def redo(self, now: State) -> State | None:
        """Do it again; None where nothing was taken back."""
        if not self._after:
            return None
        self._before.append(now)
        return self._after.pop()

    def steps(self) -> dict[str, int]:
        """How many steps can be taken back, and done again."""
        return {"undo": len(self._before), "redo": len(self._after)}
