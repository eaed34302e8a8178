"""What follows from parameters alone, computed once and kept until they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Derived:
    """Keeps one thing, such as a tensor, that is computed from parameters.

    Nothing is kept while gradients are wanted through it, nor by a compiler or an export. Owners
    call `forget` when they change between training and evaluation, as weights that are written
    through ``.data``, as averaged ones are, leave no trace that could be seen here.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop what is kept."""
        self._state: list | None = None
        self._value: Any = None
        self._held: list[Tensor] = []

    def __call__(self, sources: Sequence[Tensor], compute: Callable[[], Any]) -> Any:
        """Give what ``compute`` gives.

        Returns:
            The result, not to be changed in place.
        """
        training = torch.is_grad_enabled() and any(source.requires_grad for source in sources)
        if training or torch.compiler.is_compiling() or any(s.is_inference() for s in sources):
            return compute()
        device = sources[0].device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        state = [precision, *((s.data_ptr(), s._version, s.dtype, s.device) for s in sources)]
        if state != self._state:
            self._state, self._value = state, compute()
            # Or another tensor could come to lie where one of these was, and pass for it.
            self._held = [source.detach() for source in sources]
        return self._value
