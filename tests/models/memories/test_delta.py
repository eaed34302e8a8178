"""GDKVM's state: as recorded, orthonormal if asked for, of one size."""

from __future__ import annotations

import pytest
import torch
from related_video import recorded

from echozoo.errors import ConfigError
from echozoo.models.memories.delta import DeltaMemory, orthonormal

TOLERANCE = 1e-3  # of the largest difference, over the reference's standard deviation


@pytest.mark.parametrize(("gate", "name"), [("released", "released"), ("paper", "gated")])
def test_the_recorded_updates(shared, gate, name):
    weights, arrays = recorded(shared, "gdkvm_update")
    key, values = weights.pop("inputs.key"), weights.pop("inputs.value")
    key, values = (key / key.std() * 1.5).softmax(2), values / values.std()
    memory = DeltaMemory(gate=gate).eval()
    memory.load_state_dict({**memory.state_dict(), **weights})
    matrix, readouts = None, []
    with torch.no_grad():
        for one, value in zip(key, values, strict=True):
            matrix = memory.updated(matrix, one, value)
            readouts.append(torch.einsum("bchw,bkcv->bkvhw", one, matrix)[0])
    wanted = {part: arrays[f"{name}_{part}"] for part in ("state", "readout")}
    found = {"state": matrix[0, :, ::4, ::16], "readout": torch.stack(readouts)[:, :, ::16]}
    for part, array in wanted.items():
        assert (found[part] - array).abs().max() / array.std() < TOLERANCE, part


def test_an_orthonormal_matrix_keeps_its_directions():
    matrix = torch.randn(2, 6, 16, dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(orthonormal(matrix, 20), left @ right)
    assert not orthonormal(torch.zeros(1, 3, 4), 5).any()


def test_a_frame_that_comes_again_changes_nothing_that_it_does_not_see():
    """The delta rule: what a key stood for makes room for what it stands for now."""
    memory = DeltaMemory(value_dims=8, key_dims=4, num_heads=2)
    memory.A_log.data.fill_(-40.0)  # nothing fades
    memory.b_proj.weight.data.zero_()  # half is exchanged
    key = torch.zeros(1, 4, 1, 1)
    key[:, 1] = 1
    matrix, value = torch.randn(1, 1, 4, 8), torch.randn(1, 1, 8, 1, 1)
    found = memory.updated(matrix, key, value)
    wanted = matrix.clone()
    wanted[0, 0, 1] = (matrix[0, 0, 1] + value.flatten()) / 2
    torch.testing.assert_close(found, wanted)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="3 heads for 256"):
        DeltaMemory(num_heads=3)
