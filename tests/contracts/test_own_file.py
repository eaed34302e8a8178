"""``pytest tests/contracts --part FILE``: the parts of a user's own file, good and bad."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PART = """
import torch
from torch import nn
from echozoo.registry import TEMPORAL_MODULES

contract = dict(OwnGate=dict(strength=2.0))


@TEMPORAL_MODULES.register_module()
class OwnGate(nn.Module):
    def __init__(self, embed_dims, strength):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(embed_dims))
        self.strength = strength

    def forward(self, x, num_frames):
        clips = x.unflatten(0, (-1, num_frames))
        return (clips + self.strength * self.gate * clips.mean({dims}, keepdim=True)).flatten(0, 1)
"""


NOT_TESTED = """
from torch import nn
from echozoo.registry import MODELS


@MODELS.register_module()
class OwnNeck(nn.Module):
    def forward(self, x):
        return x
"""


@pytest.mark.parametrize(
    ("text", "said"), [(NOT_TESTED, "OwnNeck: not tested here"), ("", "no registered part")]
)
def test_what_is_not_tested_does_not_pass(tmp_path, text, said):
    file = tmp_path / "own_neck.py"
    file.write_text(text)
    found = run(file)
    assert found.returncode != 0
    assert said in found.stdout + found.stderr


def run(file: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "tests/contracts/test_contracts.py"]
    return subprocess.run(
        [*command, "--part", str(file), "-p", "no:xdist", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.parametrize(("dims", "passes"), [("1", True), ("(0, 1)", False)])
def test_parts_of_a_file(tmp_path, dims, passes):
    file = tmp_path / "own_gate.py"
    file.write_text(PART.format(dims=dims))  # over all clips of the batch: a fault
    found = run(file)
    assert (found.returncode == 0) is passes, found.stdout
    assert ("4 passed" if passes else "FAILED tests/contracts/test_contracts.py") in found.stdout
