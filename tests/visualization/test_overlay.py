from __future__ import annotations

import numpy as np

from echozoo.datasets.anatomy import palette
from echozoo.visualization.overlay import draw_boxes, draw_points, overlay, resize_labels


def block() -> np.ndarray:
    labels = np.zeros((60, 90), np.uint8)
    labels[10:40, 20:50] = 1
    labels[10:40, 50:80] = 3
    return labels


def test_without_labels_it_is_the_gray_image() -> None:
    image = np.linspace(-20, 300, 60 * 90).reshape(60, 90)
    picture = overlay(image)
    assert picture.dtype == np.uint8
    assert picture.min() == 0
    assert picture.max() == 255
    assert (picture == picture[..., :1]).all()


def near(pixel: np.ndarray, label: int) -> bool:
    """Whether it is the label's colour, up to what antialiasing does to a thin line."""
    return np.abs(pixel.astype(int) - palette()[label - 1]).max() <= 30


def test_fill_blends_and_outlines_are_opaque() -> None:
    picture = overlay(np.full((60, 90), 100.0), block(), fill=0.25)
    for label, x in ((1, 35), (3, 65)):
        colour = np.array(palette()[label - 1])
        assert np.abs(picture[25, x] - (75 + 0.25 * colour)).max() <= 0.5
        assert near(picture[10, x], label)
        assert near(picture[39, x], label)
    assert near(picture[25, 20], 1)
    assert near(picture[25, 79], 3)
    assert (picture[50, 5] == 100).all()


def test_colours_may_be_given() -> None:
    picture = overlay(np.zeros((60, 90)), block(), [(9, 8, 7), (0, 0, 0), (1, 2, 3)], fill=1)
    assert picture[25, 35].tolist() == [9, 8, 7]
    assert picture[25, 65].tolist() == [1, 2, 3]


def test_points_are_x_then_y_and_padding_is_not_drawn() -> None:
    picture = np.zeros((60, 90, 3), np.uint8)
    points = np.array([[[70.0, 15.0], [5.0, 5.0]], [[20.0, 40.0], [0.0, 0.0]]])
    draw_points(picture, points, np.array([[1, -1], [0, -1]]))
    assert picture[15, 70].tolist() == list(palette()[0])
    assert picture[40, 20].tolist() == list(palette()[1])
    assert not picture[:10, :10].any()


def test_boxes_are_x_then_y() -> None:
    picture = np.zeros((60, 90, 3), np.uint8)
    draw_boxes(picture, np.array([[10, 20, 80, 30]]))
    rows, columns = np.nonzero(picture.any(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 30, 10, 80)


def test_labels_grow_smoothly_and_stay_labels() -> None:
    large = resize_labels(block(), (240, 360))
    assert large.shape == (240, 360)
    assert large.dtype == np.uint8
    assert set(np.unique(large)) == {0, 1, 3}
    assert np.mean(large == np.kron(block(), np.ones((4, 4), np.uint8))) > 0.99
