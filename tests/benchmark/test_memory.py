from __future__ import annotations

import os
from functools import partial

import pytest
import torch

from echozoo.benchmark.memory import measure_memory
from echozoo.errors import EchoZooError

MB = 1_000_000


def test_a_known_allocation_is_found():
    # `make` gives a function that fills 200 MB and lets go of them.
    memory = measure_memory(make=partial(partial, torch.ones, 50 * MB))
    assert memory.peak == pytest.approx(200 * MB, abs=10 * MB)
    assert memory.at_rest < 10 * MB


def test_what_is_imported_does_not_count():
    imports = partial(__import__, "scipy.stats")
    memory = measure_memory(make=partial(partial, torch.ones, MB), imports=imports)
    assert memory.peak < 20 * MB


def test_a_process_that_is_ended_is_one_line():
    with pytest.raises(EchoZooError, match="has been ended, most likely for want of memory"):
        measure_memory(make=partial(os._exit, 1))
