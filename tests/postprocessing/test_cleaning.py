from __future__ import annotations

import numpy as np
import pytest

from echozoo.errors import ConfigError
from echozoo.postprocessing.cleaning import CloseGap, FillHoles, LargestComponent
from echozoo.registry import POSTPROCESSING

NAMES = ("lv", "myo", "la")
LV, MYO, LA = range(3)


def heart() -> np.ndarray:
    """Masks (3, 40, 50): a cavity in a wall that is open below, where the atrium is."""
    masks = np.zeros((3, 40, 50), bool)
    masks[MYO, 4:24, 10:40] = True
    masks[LV, 8:24, 14:36] = True
    masks[MYO] &= ~masks[LV]
    masks[LA, 24:34, 14:36] = True
    return masks


STEPS = (LargestComponent(), FillHoles(), CloseGap())


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_a_sound_heart_an_empty_image_and_the_input_are_left_alone(step):
    for masks in (heart(), np.zeros_like(heart())):
        before = masks.copy()
        after = step(masks, NAMES, (0.3, 0.3))
        assert (after == before).all()
        assert (masks == before).all()
        assert after is not masks


def test_the_largest_component_stays_and_corners_connect():
    masks = heart()
    masks[LV, 0:2, 0:2] = True
    masks[LA, 34, 36] = True  # touches the atrium's corner
    clean = LargestComponent()(masks, NAMES)
    assert (clean[LV] == heart()[LV]).all()
    assert clean[LA, 34, 36]


def test_only_the_structures_that_are_named():
    masks = heart()
    masks[LV, 0, 0] = masks[LA, 0, 49] = True
    clean = LargestComponent(structures=["la"])(masks, NAMES)
    assert clean[LV, 0, 0]
    assert not clean[LA, 0, 49]
    with pytest.raises(ConfigError, match="rv"):
        LargestComponent(structures=["rv"])
    holed = heart()
    holed[LV, 12, 20] = holed[LA, 28, 20] = False
    filled = FillHoles(structures=("lv",))(holed, NAMES)
    assert filled[LV, 12, 20]
    assert not filled[LA, 28, 20]


def test_holes_are_filled_by_what_is_around_them():
    masks = heart()
    masks[LV, 12:15, 20:24] = False
    masks[MYO, 5, 20] = False
    assert (FillHoles()(masks, NAMES) == heart()).all()


def test_what_another_structure_fills_is_no_hole():
    masks = heart()
    masks[LV, 12:15, 20:24] = False
    masks[LA, 12:15, 20:24] = True
    assert (FillHoles()(masks, NAMES) == masks).all()


def test_background_at_the_edge_of_the_image_is_no_hole():
    masks = np.zeros((3, 10, 10), bool)
    masks[LA, :6] = True
    masks[LA, 0:3, 4:6] = False
    assert (FillHoles()(masks, NAMES) == masks).all()


def test_the_cavity_of_a_ventricle_that_was_not_found_is_no_hole_of_the_wall():
    masks = heart()
    masks[MYO, 24:26, 10:40] = True  # a closed ring
    masks[LV] = masks[LA] = False
    assert (FillHoles()(masks, NAMES) == masks).all()
    alone = masks[MYO : MYO + 1]
    assert (FillHoles()(alone, ("myo",)) == alone).all()


def test_a_gap_that_both_enclose_goes_to_the_wall_however_wide():
    masks = heart()
    masks[LV, 8:14, 20:30] = False  # wider than the slits that are closed
    closed = CloseGap(width_mm=1.0)(masks, NAMES, (1.0, 1.0))
    assert closed[MYO, 8:14, 20:30].all()
    assert (closed[LV] == masks[LV]).all()


@pytest.mark.parametrize(("gap", "closed"), [(1, True), (2, True), (3, False)])
def test_an_open_slit_is_closed_up_to_its_width(gap, closed):
    masks = heart()
    masks[LA] = False
    masks[LV, :, 14 : 14 + gap] = False  # open below
    result = CloseGap(width_mm=2.0)(masks, NAMES, (1.0, 1.0))
    assert result[MYO, 10:22, 14 : 14 + gap].all() == closed
    assert result[MYO].sum() >= masks[MYO].sum()
    assert not result[MYO, 25:].any()  # nothing grows below the base


def test_the_width_is_in_mm_of_anisotropic_pixels():
    masks = heart()
    masks[LA] = False
    masks[LV, :, 14:18] = False  # four columns
    assert CloseGap(width_mm=2.0)(masks, NAMES, (1.0, 0.5))[MYO, 12:20, 14:18].all()
    assert not CloseGap(width_mm=2.0)(masks, NAMES, (0.5, 1.0))[MYO, 12:20, 14:18].any()


def test_without_both_there_is_no_gap():
    masks = heart()[[LV, LA]]
    masks[:, 10:12] = False
    assert (CloseGap()(masks, ("lv", "la"), None) == masks).all()
    lost = heart()
    lost[MYO] = False
    assert (CloseGap()(lost, NAMES, None) == lost).all()


def test_are_built_by_name():
    step = POSTPROCESSING.build(dict(type="CloseGap", width_mm=1.5))
    assert step.width_mm == 1.5
