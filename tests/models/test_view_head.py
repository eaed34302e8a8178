from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from echozoo.errors import ConfigError
from echozoo.models.view_head import ViewHead

SIZE = 6
MEANS = torch.tensor([[0.0] * SIZE, [3.0, -2.0, 0.0, 1.0, 0.0, 0.0]])


def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Descriptors (N, 6) of both views, correlated and of unequal scales, and their views (N,)."""
    rng = torch.Generator().manual_seed(seed)
    views = torch.arange(count) % 2
    mixing = torch.eye(SIZE) + 0.3 * torch.ones(SIZE, SIZE).tril(-1)
    noise = torch.randn(count, SIZE, generator=rng) @ mixing * torch.logspace(-1, 1, SIZE)
    return 5 + MEANS[views] + noise, views


@pytest.fixture
def head() -> ViewHead:
    head = ViewHead(in_channels=(2, 4))
    assert not head.is_fitted
    head.fit(*images(4000, 0))
    head.calibrate(*images(400, 1))
    return head


def test_logits_are_those_of_normal_distributions(head: ViewHead) -> None:
    x, views = images(4000, 0)
    covariance = np.cov((x - torch.stack([x[views == v].mean(0) for v in (0, 1)])[views]).T)
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    shrunk = (0.9 * correlation + 0.1 * np.eye(SIZE)) * np.outer(scale, scale)
    new, _ = images(50, 2)
    found, _ = head((torch.zeros(50, 9, 1, 1), *_maps(new)))
    expected = [
        multivariate_normal(x[views == v].mean(0).numpy(), shrunk).logpdf(new.numpy())
        for v in (0, 1)
    ]
    difference = (found[:, 1] - found[:, 0]) * head.temperature
    np.testing.assert_allclose(difference, expected[1] - expected[0], rtol=0.01, atol=0.05)


def _maps(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps (N, 2, 4, 4) and (N, 4, 2, 2) that x (N, 6) describes."""
    halves = torch.tensor([-1.0, 1.0]).repeat(2)
    small = x[:, 2:, None, None] + halves.view(2, 2)
    return x[:, :2, None, None].expand(-1, -1, 4, 4), small


def test_is_right_and_as_often_as_it_says(head: ViewHead) -> None:
    x, views = images(4000, 3)
    logits, strangeness = head(_maps(x))
    chances = logits.softmax(1)
    right = (chances.argmax(1) == views).float().mean()
    assert right > 0.95
    assert abs(chances.amax(1).mean() - right) < 0.02
    assert (strangeness < 1).float().mean() > 0.99


def test_a_stranger_is_none_of_them(head: ViewHead) -> None:
    x, _ = images(10, 4)
    x[:, 0] += 3  # thirty times what this direction varies by
    _, strangeness = head(_maps(x))
    assert (strangeness > 1).all()


def test_survives_half_precision(head: ViewHead) -> None:
    x, _ = images(100, 5)
    logits, strangeness = head(_maps(x))
    again = ViewHead(in_channels=(2, 4))
    again.load_state_dict({name: value.half() for name, value in head.state_dict().items()})
    torch.testing.assert_close(again(_maps(x))[0].softmax(1), logits.softmax(1), atol=0.02, rtol=0)
    torch.testing.assert_close(again(_maps(x))[1], strangeness, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("views", [[0, 0, 0], [0, 1, 2]])
def test_wants_images_of_each_view(views: list[int]) -> None:
    with pytest.raises(ConfigError, match="wants some of each of 2CH, 4CH"):
        ViewHead(in_channels=(SIZE,)).fit(torch.zeros(3, SIZE), torch.tensor(views))
