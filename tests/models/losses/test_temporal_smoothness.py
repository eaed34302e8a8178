from __future__ import annotations

import numpy as np
import pytest
import torch

from echozoo.errors import ConfigError
from echozoo.evaluation.functional.attributes import film_attributes
from echozoo.evaluation.functional.temporal import judge
from echozoo.evaluation.limits import load_limits
from echozoo.models.losses.temporal_smoothness import TemporalSmoothness, inner_frames
from echozoo.structures import EchoDataSample

SIZE = (110, 90)
LIMITS = load_limits("camus").attributes


def sample(frames, spacing=(1.0, 1.25), **changes) -> EchoDataSample:
    sizes = dict.fromkeys(("native_size", "valid_size", "input_size"), SIZE)
    about = dict(frames=tuple(frames), structures=("lv", "myo"), spacing=spacing)
    return EchoDataSample(metainfo=about | sizes | changes)


def hearts(radii, shifts=None, spacing=(1.0, 1.25)) -> torch.Tensor:
    """Label maps (T, H, W) of cavities in a wall of 8 mm."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] * np.reshape(spacing, (2, 1, 1))
    maps = []
    for radius, shift in zip(radii, shifts or [0] * len(radii), strict=True):
        distance = np.hypot(y - 55, x - 55 - shift)
        maps.append(np.where(distance < radius, 1, np.where(distance < radius + 8, 2, 0)))
    return torch.from_numpy(np.stack(maps))


def masks_of(maps: torch.Tensor) -> torch.Tensor:
    return torch.stack([maps == 1, maps == 2], 1).float()[None]  # (1, T, K, h, w)


def cost(maps: torch.Tensor, one: EchoDataSample | None = None, **options) -> float:
    loss = TemporalSmoothness(**options)
    one = one or sample(range(len(maps)))
    return float(loss(masks_of(maps), [one])["loss_smoothness"])


def test_it_costs_where_the_measure_counts():
    """Of hard masks, what is above the threshold is what the measure finds there."""
    maps = hearts([26, 25, 27, 23, 24, 23.5], [0, 0, 0, 1.5, 0, 0])
    found = film_attributes(maps.numpy(), ("lv", "myo"), (1.0, 1.25))
    keys = ("lv_area_cm2", "myo_area_cm2", "epi_center_x_mm", "epi_center_y_mm")
    verdict = judge({key: found[key] for key in keys}, {key: LIMITS[key] for key in keys})
    excess = [np.maximum(verdict.ratios[key][1:-1] - 1, 0) for key in keys]
    assert cost(maps) == pytest.approx(np.mean(excess), rel=1e-3)
    assert np.mean(excess) > 0.1


def test_constant_speed_and_what_is_forgiven_cost_nothing():
    assert cost(hearts([25] * 5, [0.0, 5, 10, 15, 20])) == 0
    assert cost(hearts([25.0, 25.05, 25.0, 25.05])) == 0


def test_a_step_against_the_gradient_makes_a_film_steadier():
    logits = torch.where(masks_of(hearts([26, 24, 26, 24, 26])) > 0, 2.0, -2.0).requires_grad_()
    loss = TemporalSmoothness()
    before = loss(logits.sigmoid(), [sample(range(5))])["loss_smoothness"]
    before.backward()
    assert torch.isfinite(logits.grad).all()
    moved = (logits - 200 * logits.grad).detach()
    assert loss(moved.sigmoid(), [sample(range(5))])["loss_smoothness"] < before


def test_only_frames_beside_their_neighbours_count():
    assert inner_frames((3, 4, 5, 4, 3)) == [1, 3]
    assert inner_frames((0, 2, 4)) == []
    assert inner_frames((7,)) == []
    maps = hearts([26, 20, 26])
    assert cost(maps) > 0
    assert cost(maps, sample((0, 2, 4))) == 0
    assert cost(maps[:1], sample((0,))) == 0


def test_sizes_are_those_of_the_heart():
    """Half as many pixels, the same heart; an input with padding is no larger a heart."""
    maps = hearts([26, 23, 26, 24])
    small = maps[:, ::2, ::2]
    padded = torch.zeros(4, 220, 180, dtype=maps.dtype)
    padded[:, :110, :90] = maps
    about = sample(range(4), input_size=(220, 180))
    wanted = cost(maps)
    assert cost(small) == pytest.approx(wanted, rel=0.1)
    assert cost(padded, about) == pytest.approx(wanted, rel=1e-4)


def test_without_spacing_it_is_relative_or_nothing():
    maps = hearts([26, 20, 26])
    unknown = sample(range(3), spacing=None)
    assert cost(maps, unknown) == 0
    relative = cost(maps, unknown, limits=None)
    assert relative > 0
    assert cost(maps.repeat_interleave(2, 1).repeat_interleave(2, 2), sample(
        range(3), spacing=None, native_size=(220, 180), valid_size=(220, 180),
        input_size=(220, 180)), limits=None) == pytest.approx(relative, rel=1e-3)  # fmt: skip


def test_limits_without_its_attributes_are_refused():
    limits = {
        "provenance": "a test",
        "attributes": {"lv_length_mm": {"min": 1, "max": 2, "threshold": 0.1}},
    }
    with pytest.raises(ConfigError, match="limits for none of lv_area_cm2"):
        TemporalSmoothness(limits=limits)
