"""The generated picture: speckle, clutter, dropouts, sector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from echozoo.phantom.anatomy import draw_ventricle
from echozoo.phantom.artefacts import SEVERITY, gain, wall_dropouts
from echozoo.phantom.chambers import HALF_ANGLE
from echozoo.phantom.film import PhantomFilm, render_film
from echozoo.phantom.scattering import DENSITY, flicker, strip
from echozoo.phantom.ultrasound import Probe, backscatter, compress, spread

PROBE = Probe(depth=100.0)


def homogeneous(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    count = int(DENSITY * HALF_ANGLE * PROBE.depth**2)
    r = PROBE.depth * np.sqrt(rng.random(count))
    angle = rng.uniform(-HALF_ANGLE, HALF_ANGLE, count)
    points = np.stack([r * np.sin(angle), r * np.cos(angle)], -1)
    return points, flicker(1, count, 0.0, rng)[0] / np.sqrt(DENSITY)


def envelope(points: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    return np.abs(spread(PROBE, backscatter(PROBE, points, amplitude)))[80:-20, 15:-15]


def film(seed: int = 0, frames: int = 6, quality: str = "Good") -> PhantomFilm:
    rng = np.random.default_rng(seed)
    return render_film(draw_ventricle(rng), "4CH", frames, 1.0, quality, rng)


def test_speckle_of_homogeneous_tissue_is_rayleigh() -> None:
    echo = envelope(*homogeneous(np.random.default_rng(0)))
    assert echo.mean() / echo.std() == pytest.approx(1.91, abs=0.08)
    assert np.mean(echo**2) == pytest.approx(1, abs=0.08)
    rows = np.mean(echo**2, 1)
    near, far = rows[: len(rows) // 2].mean(), rows[len(rows) // 2 :].mean()
    assert near == pytest.approx(far, rel=0.2), "depth gain does not undo the spreading of beams"


def test_speckle_is_wider_across_the_beam_and_decorrelates_with_motion() -> None:
    points, amplitude = homogeneous(np.random.default_rng(1))
    echo = envelope(points, amplitude)

    def correlation(other: np.ndarray) -> float:
        return float(np.corrcoef(echo.ravel(), other.ravel())[0, 1])

    moved = [correlation(envelope(points + [0, dy], amplitude)) for dy in (0.05, 0.4, 3.0)]
    assert moved[0] > 0.95
    assert moved[0] > moved[1] > moved[2]
    assert moved[2] < 0.2
    centred = echo - echo.mean()
    axial = np.mean(centred[:-2] * centred[2:]) / centred.var()  # 0.6 mm
    lateral = np.mean(centred[:, :-1] * centred[:, 1:]) / centred.var()  # 0.3 to 0.8 mm
    assert lateral > axial


def test_tissue_keeps_its_speckle_and_blood_does_not() -> None:
    rng = np.random.default_rng(0)
    y = np.linspace(30, 80, 50)
    sides = [np.broadcast_to(np.stack([np.full(50, x), y], -1), (3, 50, 2)) for x in (-9.0, 9.0)]
    seen = {}
    for name, renewal in (("tissue", 0.1), ("blood", 0.6)):
        cloud = strip(*sides, 0.0, rng, renewal=renewal, texture=0)
        pictures = [
            np.abs(spread(PROBE, backscatter(PROBE, p, a)))[120:240, 75:93].ravel()
            for p, a in zip(cloud.points, cloud.amplitude, strict=True)
        ]
        seen[name] = np.corrcoef(pictures[0], pictures[1])[0, 1]
        assert np.mean(np.square(pictures)) == pytest.approx(1, rel=0.2)
    assert seen["tissue"] > 0.7
    assert seen["blood"] < 0.4


def test_compress_covers_the_dynamic_range() -> None:
    grey = compress(np.array([0.0, 1e-3, 1e-2, 1.0, 100.0]), floor=-60, span=60)
    np.testing.assert_allclose(grey, [0, 0, 85, 255, 255], atol=1e-3)


def test_flickering_dropouts_come_and_go_frame_by_frame() -> None:
    severity, changes = replace(SEVERITY["Poor"], dropouts=0.0, flicker=True), []
    for seed in range(20):  # one patch each
        loss = wall_dropouts(severity, 16, 81, np.random.default_rng(seed))
        course = loss[:, loss.min(0).argmin()]
        assert np.all(np.isclose(course, 0) | np.isclose(course, course.min()))  # there or not
        changes += list(np.diff(course) != 0)
    assert 0.4 < np.mean(changes) < 0.6
    fading = wall_dropouts(replace(severity, flicker=False), 16, 81, np.random.default_rng(3))
    course = fading[:, fading.min(0).argmin()]
    assert np.abs(np.diff(course)).max() < 0.6 * np.ptp(course)


@pytest.mark.parametrize("quality", SEVERITY)
def test_dropouts_come_and_go(quality: str) -> None:
    for seed in range(10):
        loss = wall_dropouts(SEVERITY[quality], 16, 81, np.random.default_rng(seed))
        assert loss.shape == (16, 81)
        assert loss.max() <= 0
        assert np.ptp(loss, axis=0).max() > 4, "no patch changes between frames"


def test_shadows_come_and_go() -> None:
    severity, rng = SEVERITY["Poor"], np.random.default_rng(3)
    changes = [np.ptp(gain(PROBE, severity, 16, rng), axis=0).max() for _ in range(20)]
    assert np.median(changes) > 5


def test_a_worse_quality_hides_the_wall() -> None:
    contrast = {}
    for quality in ("Good", "Poor"):
        films = [film(seed, 2, quality) for seed in range(6)]
        contrast[quality] = np.mean(
            [f.images[f.labels == 2].mean() - f.images[f.labels == 1].mean() for f in films]
        )
    assert contrast["Good"] > contrast["Poor"] + 5
    assert contrast["Poor"] > 5


def test_film_looks_like_a_sector() -> None:
    f = film()
    assert f.images.shape == f.labels.shape
    assert f.images.dtype == f.labels.dtype == np.uint8
    t, height, width = f.images.shape
    assert t == 6
    assert width / height == pytest.approx(1.21, abs=0.02)
    assert np.mean(f.images == 0) == pytest.approx(0.46, abs=0.06)
    corners = f.images[:, : height // 4, [*range(width // 4), *range(-width // 4, 0)]]
    assert not corners.any()
    assert not np.array_equal(f.images[0], f.images[1])


def test_grey_levels_are_those_of_real_films() -> None:
    levels = [
        [f.images[f.labels == k].mean() for k in (1, 2, 3)]
        for f in (film(seed, 2) for seed in range(10))
    ]
    cavity, wall, _ = np.mean(levels, 0)
    # CAMUS, 4CH, ED: cavity 35 to 107, wall 64 to 143 (5th to 95th percentile).
    assert 45 < cavity < 95
    assert 80 < wall < 135
    assert wall > cavity + 20
