from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from echozoo.benchmark import flops
from echozoo.benchmark.flops import count_flops, matmul_peak
from echozoo.benchmark.timing import Timing

B, HEADS, N, D = 2, 3, 40, 16
PRODUCT = 2 * B * HEADS * N * N * D  # one of queries and keys, or of a map and values


def attention_inputs(gradients: bool = False) -> list[torch.Tensor]:
    return [torch.randn(B, HEADS, N, D, requires_grad=gradients) for _ in range(3)]


def test_a_product_of_matrices_is_two_operations_a_multiplication():
    left, right = torch.randn(5, 7), torch.randn(7, 11)
    assert count_flops(lambda: left @ right) == 2 * 5 * 7 * 11


def test_a_convolution_is_a_product_at_every_pixel():
    conv, image = torch.nn.Conv2d(3, 4, 5, bias=False), torch.randn(1, 3, 20, 30)
    assert count_flops(lambda: conv(image)) == 2 * (16 * 26) * 4 * (3 * 5 * 5)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_two_products(context, masked):
    q, k, v = attention_inputs()
    mask = torch.zeros(B, HEADS, N, N) if masked else None

    def run() -> None:
        with context():
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    assert count_flops(run) == 2 * PRODUCT


def test_attention_with_its_backward_pass_is_seven_products():
    q, k, v = attention_inputs(gradients=True)
    run = lambda: F.scaled_dot_product_attention(q, k, v).sum().backward()  # noqa: E731
    assert count_flops(run) == (2 + 5) * PRODUCT


def test_a_product_that_is_added_in_place_counts():
    total, left, right = torch.zeros(3, 4), torch.randn(3, 5), torch.randn(5, 4)
    assert count_flops(lambda: total.addmm_(left, right)) == 2 * (3 * 5 * 4)


def test_the_peak_is_that_of_the_first_size_that_takes_long(monkeypatch):
    seconds = {8: 0.01, 16: 0.2, 32: 1.0}
    sizes = []

    def timed(runs, repeats, warmup=1, device="cpu"):
        (product,) = runs.values()
        sizes.append(len(product()))
        return {"product": Timing((seconds[sizes[-1]],) * repeats)}

    monkeypatch.setattr(flops, "_SIZES", tuple(seconds))
    monkeypatch.setattr(flops, "alternate", timed)
    assert matmul_peak("cpu", repeats=3) == pytest.approx(2 * 16**3 / 0.2)
    assert sizes == [8, 16, 16]


def test_a_parameter_that_a_module_gets_without_gradients_counts_too():
    linear, table = torch.nn.Linear(5, 7), torch.nn.Parameter(torch.zeros(3, 5))

    def run() -> None:
        with torch.inference_mode():
            linear(table)

    assert count_flops(run) == 2 * 3 * 5 * 7
