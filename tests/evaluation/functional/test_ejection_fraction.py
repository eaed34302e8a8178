from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from echozoo.datasets.info import read_info
from echozoo.errors import ConfigError, DataError
from echozoo.evaluation.functional.disks import disks
from echozoo.evaluation.functional.ejection_fraction import (
    GLOBAL,
    PER_PHASE,
    ejection_fraction,
    find_ed_es,
    lv_volume,
)
from echozoo.films.io import read_volume

PATIENTS = ("patient0001", "patient0002", "patient0003")
# EF of the script published with CAMUS in 2023 on these masks (one step for everything).
PUBLISHED_EF = dict(zip(PATIENTS, (52.6, 39.0, 50.5), strict=True))
ANGLES = (0, 33, 90, 137, 180, 251)


def half_plane(angle: float, spacing: tuple[float, float], side: float = 130.0):
    """Coordinates in mm along and across an axis that is turned by an angle in degrees."""
    rows, columns = (int(side / step) for step in spacing)
    y, x = np.mgrid[:rows, :columns].astype(float)
    y, x = y * spacing[0] - side / 2 + 0.13, x * spacing[1] - side / 2 - 0.07
    turn = np.deg2rad(angle)
    return x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)


def ellipse(length: float, width: float, angle: float, spacing: tuple[float, float]) -> np.ndarray:
    along, across = half_plane(angle, spacing)
    return (along / (length / 2)) ** 2 + (across / (width / 2)) ** 2 <= 1


def heart(patient: Path) -> tuple[dict, list]:
    """LV masks (ED, ES) by view, and each view's spacing."""
    masks, spacings = {}, []
    for view in ("2CH", "4CH"):
        read = [
            read_volume(patient / f"{patient.name}_{view}_{i}_gt.mhd", label=True)
            for i in ("ED", "ES")
        ]
        masks[view] = tuple(volume.array[0] == 1 for volume in read)
        spacings.append(read[0].spacing)
    return masks, spacings


@pytest.mark.parametrize("name", PATIENTS)
def test_real_masks_give_the_volumes_of_their_info_files(shared: Path, name: str) -> None:
    folder = shared / "data/camus_mhd/training" / name
    masks, spacings = heart(folder)
    info = read_info(folder / "Info_4CH.cfg")
    found = ejection_fraction(masks["2CH"], masks["4CH"], spacings)
    assert found.edv_ml == pytest.approx(info.edv, abs=1.5)
    assert found.esv_ml == pytest.approx(info.esv, abs=1.5)
    assert found.ef_percent == pytest.approx(info.ef, abs=1)
    assert (found.method, found.step) == ("biplane", PER_PHASE)
    published = ejection_fraction(masks["2CH"], masks["4CH"], spacings, step=GLOBAL)
    assert published.ef_percent == pytest.approx(PUBLISHED_EF[name], abs=1)
    assert published.edv_ml == found.edv_ml


@pytest.mark.parametrize("name", PATIENTS)
def test_real_masks_may_be_turned_mirrored_and_moved(shared: Path, name: str) -> None:
    masks, spacings = heart(shared / "data/camus_mhd/training" / name)
    upright = ejection_fraction(masks["2CH"], masks["4CH"], spacings)

    def changed(change, spacing=None) -> float:
        pair = [tuple(np.ascontiguousarray(change(m)) for m in masks[v]) for v in ("2CH", "4CH")]
        return ejection_fraction(*pair, spacing or spacings).ef_percent

    swapped = [spacing[::-1] for spacing in spacings]
    for ef in (
        changed(np.fliplr),
        changed(np.flipud),
        changed(np.transpose, swapped),
        changed(np.rot90, swapped),
        changed(lambda mask: np.pad(mask, ((70, 0), (3, 41)))),
        changed(lambda mask: mask[::2], [(2 * dy, dx) for dy, dx in spacings]),
    ):
        assert ef == pytest.approx(upright.ef_percent, abs=1)
    # By any angle, on square pixels.
    square = [(0.308, 0.308)] * 2

    def turned(mask: np.ndarray) -> np.ndarray:
        mask = mask[::2].astype(np.uint8)
        height, width = mask.shape
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 37, 1)
        turn[:, 2] += 150
        size = (width + 300, height + 300)
        return cv2.warpAffine(mask, turn, size, flags=cv2.INTER_NEAREST)

    assert changed(turned, square) == pytest.approx(upright.ef_percent, abs=1)


@pytest.mark.parametrize("spacing", [(0.5, 0.5), (0.308, 0.616), (0.9, 0.45)])
@pytest.mark.parametrize("size", [(90, 50), (80, 56)])
def test_an_ellipsoid_has_its_volume_however_it_lies(size, spacing) -> None:
    length, width = size
    truth = np.pi / 6 * length * width**2 / 1000
    for angle in ANGLES:
        section = disks(ellipse(length, width, angle, spacing), spacing)
        assert lv_volume(section) == pytest.approx(truth, rel=0.01), angle
        assert section.length_mm == pytest.approx(length, rel=0.02)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_ventricle_with_a_flat_base_has_its_base_and_apex_found(angle: float) -> None:
    spacing, half, radius, cut = (0.4, 0.6), 50.0, 24.0, 0.6
    along, across = half_plane(angle, spacing)
    mask = ((along / half) ** 2 + (across / radius) ** 2 <= 1) & (along >= -cut * half)
    section = disks(mask, spacing)
    truth = np.pi * radius**2 * half * (2 / 3 + cut - cut**3 / 3) / 1000
    assert lv_volume(section) == pytest.approx(truth, rel=0.01)
    assert section.length_mm == pytest.approx(half * (1 + cut), rel=0.02)
    assert section.base_width_mm == pytest.approx(2 * radius * np.sqrt(1 - cut**2), rel=0.1)

    def axial(point) -> float:
        return float(np.median(along[int(round(point[1])), int(round(point[0]))]))

    assert axial(section.apex) == pytest.approx(half, abs=1.5)
    assert axial(section.base_centre) == pytest.approx(-cut * half, abs=1)
    assert axial(section.base.mean(axis=0)) == pytest.approx(-cut * half, abs=3)


def test_views_of_two_shapes_make_one_biplane_volume() -> None:
    spacing = (0.5, 0.5)
    pairs = [
        tuple(ellipse(*size, 90, spacing) for size in ((90, width), (70, width - 14)))
        for width in (44, 52)
    ]
    found = ejection_fraction(*pairs, (spacing, spacing))
    edv, esv = np.pi / 6 * 90 * 44 * 52 / 1000, np.pi / 6 * 70 * 30 * 38 / 1000
    assert (found.edv_ml, found.esv_ml) == pytest.approx((edv, esv), rel=0.01)
    whole = ejection_fraction(*pairs, (spacing, spacing), step=GLOBAL)
    assert whole.esv_ml == pytest.approx(esv * 90 / 70, rel=0.02)


def test_one_view_is_named_single_plane() -> None:
    spacing = (0.5, 0.5)
    pair = (ellipse(90, 50, 80, spacing), ellipse(75, 40, 80, spacing))
    found = ejection_fraction(None, pair, (None, spacing))
    assert found.method == "single-plane 4CH"
    assert found.edv_ml == pytest.approx(np.pi / 6 * 90 * 50**2 / 1000, rel=0.01)
    assert ejection_fraction(pair, None, (spacing, None)).method == "single-plane 2CH"


def test_masks_without_a_ventricle_give_nan() -> None:
    spacing = (0.5, 0.5)
    full, empty = ellipse(90, 50, 0, spacing), np.zeros((260, 260), bool)
    speck = empty.copy()
    speck[100:110, 100:110] = True  # 25 mm2
    line = empty.copy()
    line[5, :] = True
    for lost in (empty, speck, line):
        assert np.isnan(lv_volume(disks(lost, spacing)))
        assert np.isnan(disks(lost, spacing).diameters_mm).all()
        found = ejection_fraction((full, lost), (full, full), (spacing, spacing))
        assert np.isnan([found.esv_ml, found.ef_percent]).all()
        assert found.edv_ml > 0
    assert np.isnan(ejection_fraction((empty, full), None, (spacing, None)).ef_percent)


def test_specks_and_holes_do_not_count() -> None:
    spacing = (0.5, 0.5)
    mask = ellipse(90, 50, 60, spacing)
    clean = lv_volume(disks(mask, spacing))
    mask[2:20, 2:20] = True
    mask[125:135, 125:135] = False
    assert lv_volume(disks(mask, spacing)) == pytest.approx(clean)


def test_a_mask_that_touches_the_edge_of_the_image_is_measured() -> None:
    spacing = (0.5, 0.5)
    mask = ellipse(90, 50, 90, spacing)
    rows = np.flatnonzero(mask.any(axis=1))
    cropped = mask[rows[0] : rows[-1] + 1]
    volume = lv_volume(disks(cropped, spacing))
    assert volume == pytest.approx(lv_volume(disks(mask, spacing)))


def test_wrong_arguments_are_refused_in_one_line() -> None:
    mask = np.ones((50, 50), bool)
    with pytest.raises(DataError, match=r"\(1, 50, 50\): wanted one mask"):
        disks(mask[None], (1, 1))
    with pytest.raises(DataError, match="spacing.*wanted two positive numbers"):
        disks(mask, (0, 1))
    with pytest.raises(DataError, match="of no view"):
        ejection_fraction(None, None, (None, None))
    with pytest.raises(ConfigError, match="wanted one of per_phase, global"):
        ejection_fraction(None, (mask, mask), (None, (1, 1)), step="single")


def test_a_mask_of_a_real_size_is_quick() -> None:
    mask = ellipse(90, 50, 80, (0.21, 0.25))
    assert mask.shape == (619, 520)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        disks(mask, (0.21, 0.25))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1  # 13 ms on a shared core; pairs of points in a loop take seconds


def beats(period: int, count: float, phase: float = 0.0) -> np.ndarray:
    time = np.arange(int(period * count)) / period + phase
    return 30 + 10 * np.cos(2 * np.pi * time)


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        (beats(40, 0.525), (0, 20)),  # CAMUS: from ED to ES
        (beats(40, 0.525)[::-1], (20, 0)),  # and from ES to ED
        (np.linspace(40, 20, 12), (0, 11)),
        (beats(40, 1), (0, 20)),
        (beats(40, 1, 0.75), (10, 30)),
        ([30, 20], (0, 1)),
        ([20, 25, 30], (2, 0)),
    ],
)
def test_ed_and_es_of_one_beat_or_half_a_beat(areas, expected) -> None:
    assert find_ed_es(np.asarray(areas)) == expected


def test_ed_and_es_of_several_noisy_beats_belong_to_one_beat() -> None:
    rng = np.random.default_rng(3)
    for phase in rng.uniform(0, 1, 20):
        clean = beats(30, 4, phase)
        areas = clean + rng.normal(0, 0.5, clean.size)
        areas[[37, 80]] = 0  # a frame whose mask is empty
        areas[55] = 60  # and one that leaked
        areas[10] = np.nan
        ed, es = find_ed_es(areas)
        assert 9 <= es - ed <= 21
        assert clean[ed] > 38.5
        assert clean[es] < 21.5


@pytest.mark.parametrize("areas", [[], [30.0], [0, 0, 0, 30], [np.nan] * 5, [30.0] * 8])
def test_a_curve_without_a_beat_is_refused(areas) -> None:
    with pytest.raises(DataError):
        find_ed_es(np.array(areas))
