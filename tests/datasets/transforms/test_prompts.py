from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from echozoo.datasets.transforms.geometry import ResizeClip
from echozoo.datasets.transforms.prompts import BoxPrompts, MaskPrompts, PointPrompts
from echozoo.errors import ConfigError, DataError

RULES = ["random", "raster_middle", "centroid", "farthest_from_edge"]


def one_structure(mask: np.ndarray, seed: int = 0) -> dict:
    labels = mask.astype(np.uint8)[None]
    rng = np.random.default_rng(seed)
    return dict(images=labels * 100, labels=labels, structures=("lv",), rng=rng)


def crescent() -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[5:35, 10:50] = True
    mask[5:30, 18:42] = False  # the centre of mass lies in the hollow
    return mask


@pytest.mark.parametrize("rule", RULES)
def test_points_lie_on_their_structures(rule: str, make_clip: Callable[..., dict]) -> None:
    clip = PointPrompts(rule)(make_clip())
    assert clip["points"].shape == (3, 3, 1, 2)
    assert clip["points"].dtype == np.float32
    assert clip["point_labels"].shape == (3, 3, 1)
    assert clip["point_labels"].dtype == np.int64
    assert (clip["point_labels"] == 1).all()
    for t, k in np.ndindex(3, 3):
        x, y = clip["points"][t, k, 0].astype(int)
        assert clip["labels"][t, y, x] == k + 1


@pytest.mark.parametrize("rule", RULES)
def test_points_are_x_then_y(rule: str) -> None:
    mask = np.zeros((40, 90), bool)
    mask[8, 71] = True
    assert PointPrompts(rule)(one_structure(mask))["points"].tolist() == [[[[71, 8]]]]


def test_raster_middle_is_the_published_element() -> None:
    mask = crescent()
    rows, columns = np.nonzero(mask)
    middle = len(rows) // 2
    points = PointPrompts("raster_middle")(one_structure(mask))["points"]
    assert points[0, 0, 0].tolist() == [columns[middle], rows[middle]]


def test_centroid_outside_snaps_to_the_structure() -> None:
    mask = crescent()
    x, y = PointPrompts("centroid")(one_structure(mask))["points"][0, 0, 0].astype(int)
    centre = np.argwhere(mask).mean(axis=0)
    assert not mask[tuple(centre.round().astype(int))]
    assert mask[y, x]
    distances = np.linalg.norm(np.argwhere(mask) - centre, axis=1)
    assert np.hypot(y - centre[0], x - centre[1]) == pytest.approx(distances.min())


def test_farthest_from_edge_counts_the_border_of_the_image() -> None:
    mask = np.zeros((21, 31), bool)
    mask[:, 20:] = True  # 11 columns, along the border
    points = PointPrompts("farthest_from_edge", num_points=2)(one_structure(mask))["points"][0, 0]
    assert points[0, 0] == 25
    assert np.abs(points[0] - points[1]).max() >= 5


def test_random_points_cover_the_structure_and_follow_the_seed() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:4, 3:7] = True
    rule = PointPrompts("random", num_points=8)
    points = rule(one_structure(mask))["points"][0, 0]
    assert {tuple(point) for point in points} == {(x, y) for x in range(3, 7) for y in (2, 3)}
    rule = PointPrompts("random")
    drawn = [rule(one_structure(crescent(), seed))["points"].tolist() for seed in (4, 4, 5)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("rule", RULES)
def test_an_absent_structure_gets_a_point_of_the_background(rule: str) -> None:
    clip = PointPrompts(rule)(one_structure(np.zeros((11, 11), bool)))
    assert clip["point_labels"].tolist() == [[[0]]]
    if rule != "random":
        assert clip["points"].tolist() == [[[[5, 5]]]]


@pytest.mark.parametrize("rule", ["random", "raster_middle", "farthest_from_edge"])
def test_foreground_points_come_first_then_background(rule: str) -> None:
    mask = crescent()
    clip = PointPrompts(rule, num_points=3, num_background=2)(one_structure(mask))
    assert clip["point_labels"].tolist() == [[[1, 1, 1, 0, 0]]]
    x, y = clip["points"][0, 0].astype(int).T
    assert mask[y, x].tolist() == [True, True, True, False, False]
    assert len(set(zip(x, y, strict=True))) == 5


def test_without_any_background_points_are_padding() -> None:
    clip = PointPrompts("random", num_background=2)(one_structure(np.ones((4, 4), bool)))
    assert clip["point_labels"].tolist() == [[[1, -1, -1]]]


def test_padding_of_the_image_gets_no_point() -> None:
    for seed in range(10):
        clip = one_structure(np.zeros((10, 40), bool), seed)
        clip = PointPrompts("random", num_points=5)(ResizeClip((40, 40), keep_aspect=True)(clip))
        assert clip["points"][..., 1].max() < 10


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="'middle', choose one of"):
        PointPrompts("middle")
    with pytest.raises(ConfigError, match="num_points is 3"):
        PointPrompts("centroid", num_points=3)


@pytest.mark.parametrize("transform", [PointPrompts(), BoxPrompts(), MaskPrompts((4, 4))])
def test_without_masks_there_are_no_prompts(
    transform: PointPrompts, make_clip: Callable[..., dict]
) -> None:
    clip = make_clip()
    del clip["labels"]
    with pytest.raises(DataError, match="^patient0001_4CH: frames without a mask"):
        transform(clip)


def test_boxes_are_tight_and_x_first() -> None:
    boxes = BoxPrompts()(one_structure(crescent()))["boxes"]
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[[10, 5, 49, 34]]]


def test_the_box_of_an_absent_structure_is_the_image() -> None:
    assert BoxPrompts(0.05)(one_structure(np.zeros((9, 20), bool)))["boxes"].tolist() == [
        [[0, 0, 19, 8]]
    ]


def test_jittered_boxes_stay_near_and_inside() -> None:
    mask = np.zeros((50, 100), bool)
    mask[0:21, 20:61] = True
    drawn = np.array([BoxPrompts(0.1)(one_structure(mask, s))["boxes"][0, 0] for s in range(50)])
    moved = np.abs(drawn - (20, 0, 60, 20)).max(axis=0)
    assert (moved <= (6, 3, 6, 3)).all()
    assert (moved >= (4, 2, 4, 2)).all()
    assert drawn.min() == 0
    assert len(np.unique(drawn[:, 0])) == 50


def test_boxes_of_medsam_grow_outwards_alone() -> None:
    mask = np.zeros((50, 100), bool)
    mask[3:21, 20:61] = True  # 3 pixels from the upper border
    box = BoxPrompts(outward=5)
    drawn = np.array([box(one_structure(mask, s))["boxes"][0, 0] for s in range(100)])
    steps = (drawn - (20, 3, 60, 20)) * (-1, -1, 1, 1)
    for side, most in zip(steps.T, (5, 3, 5, 5), strict=True):
        assert set(side.tolist()) == set(range(most + 1))  # whole pixels, each side by itself
    assert len(np.unique(steps, axis=0)) > 50
    exact = BoxPrompts(outward=0)(one_structure(mask))["boxes"]
    assert exact.tolist() == [[[20, 3, 60, 20]]]


def test_coarse_masks_are_logits_of_coverage() -> None:
    mask = np.zeros((16, 32), bool)
    mask[:8, :12] = True
    masks = MaskPrompts(size=(4, 4), logit=10)(one_structure(mask))["mask_prompts"]
    assert masks.shape == (1, 1, 4, 4)
    assert masks.dtype == np.float32
    assert masks[0, 0, 0].tolist() == [10, 0, -10, -10]
    assert (masks[0, 0, 2:] == -10).all()


@pytest.mark.parametrize("rule", ["random", "farthest_from_edge"])
def test_what_is_not_labelled_gets_prompts_that_say_nothing(
    rule: str, make_clip: Callable[..., dict]
) -> None:
    clip = make_clip()
    clip["labelled"] = np.array([[True, True, True], [False] * 3, [True, False, True]])
    for transform in (PointPrompts(rule), BoxPrompts(), MaskPrompts((4, 4))):
        clip = transform(clip)
    there = clip["labelled"]
    assert (clip["point_labels"][there] == 1).all()
    assert (clip["point_labels"][~there] == -1).all()
    assert not clip["points"][~there].any()
    assert not clip["boxes"][~there].any()
    assert clip["boxes"][there].any(axis=1).all()
    assert (clip["mask_prompts"][~there] == 0).all()
    assert (clip["mask_prompts"][there] != 0).any()
