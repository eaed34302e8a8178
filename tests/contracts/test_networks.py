"""What every part of a network keeps: batches, single frames, types, devices, states, gradients."""

from __future__ import annotations

import io

import pytest
import torch
from calls import Tensors
from parts import Case, close, untested
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv


def only(inputs: Tensors, items: slice) -> Tensors:
    return {name: value[items] for name, value in inputs.items()}


@torch.no_grad()
def test_a_batch_of_two_is_two_of_one(per_item: Case) -> None:
    part = per_item.build()
    inputs = per_item.inputs(part)
    both = per_item.call(part, inputs)
    alone = [per_item.call(part, only(inputs, slice(i, i + 1))) for i in range(2)]
    for found, *wanted in zip(both, *alone, strict=True):
        assert found.shape[0] == 2
        close(found, torch.cat(wanted))


@torch.no_grad()
def test_one_frame_is_a_clip_too(network: Case) -> None:
    part = network.build()
    one, three = (network.call(part, network.inputs(part, frames=frames)) for frames in (1, 3))
    for found, longer in zip(one, three, strict=True):
        assert torch.isfinite(found).all()
        assert found.dim() == longer.dim()
        assert found.dtype == torch.float32


@torch.no_grad()
def test_half_precision_is_finite(network: Case) -> None:
    part = network.build()
    inputs = network.inputs(part)
    wanted = network.call(part, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = network.call(part, inputs)
    for half, whole in zip(found, wanted, strict=True):
        assert half.shape == whole.shape
        assert torch.isfinite(half.float()).all()


NOT_TO_FAKE = {
    "UVSAMPromptHead": "its contours depend on values, of which fake tensors have none",
    "WarpConsistency": "torch has no fake grid_sample for a GPU",
}


class Called(nn.Module):
    """A part under the call of its kind: what `functional_call` wants."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.part = case, case.build()

    def forward(self, inputs: Tensors) -> tuple[Tensor, ...]:
        return self.case.call(self.part, inputs)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@torch.no_grad()
def test_all_of_it_moves_to_another_device(network: Case) -> None:
    """Fake tensors have a device and compute nothing; what stayed behind does not mix with them."""
    if network.name in NOT_TO_FAKE:
        pytest.skip(NOT_TO_FAKE[network.name])
    called = Called(network)
    inputs = network.inputs(called.part)
    shapes = ShapeEnv(allow_dynamic_output_shape_ops=True, allow_scalar_outputs=True)
    with FakeTensorMode(shape_env=shapes, static_shapes=True, allow_non_fake_inputs=True):

        def moved(tensors: Tensors) -> Tensors:
            return {n: torch.empty_like(value, device="cuda:0") for n, value in tensors.items()}

        state = moved(dict(called.named_parameters()) | dict(called.named_buffers()))
        found = torch.func.functional_call(called, state, (moved(inputs),))
    assert {one.device.type for one in found} == {"cuda"}


@torch.no_grad()
def test_its_state_is_all_of_it(network: Case) -> None:
    part, other = network.build(), network.build()
    inputs = network.inputs(part)
    file = io.BytesIO()
    torch.save(part.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for found, wanted in zip(network.call(other, inputs), network.call(part, inputs), strict=True):
        assert torch.equal(found, wanted)


def test_every_parameter_and_input_learns(network: Case) -> None:
    part = network.build()
    inputs = {
        name: value.requires_grad_() if name in ("logits", "probabilities") else value
        for name, value in network.inputs(part).items()
    }
    outputs = [out for way in network.of.ways(part, inputs) for out in way]
    sum((out * torch.randn_like(out)).sum() for out in outputs).backward()
    leaves = dict(part.named_parameters()) | {n: v for n, v in inputs.items() if v.requires_grad}
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.requires_grad}
    assert [n for n, g in gradients.items() if g is None and not network.of.idle(part, n)] == []
    assert all(torch.isfinite(g).all() for g in gradients.values() if g is not None)


def test_no_part_of_the_package_is_left_out() -> None:
    assert untested() == []
