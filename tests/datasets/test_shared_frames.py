from __future__ import annotations

import pytest

from echozoo.datasets.films import tiling_windows
from echozoo.datasets.shared_frames import own_frames, rank


@pytest.mark.parametrize(
    ("clips", "own"),
    [
        ([(0, 1, 2, 3)], [[0, 1, 2, 3]]),
        ([(0, 1, 2, 1)], [[0, 1, 2]]),  # to and fro
        ([(0, 1, 2, 3), (3, 4, 5, 6)], [[0, 1, 2, 3], [4, 5, 6]]),  # as far inside: the first
        ([(0, 1, 2, 3), (2, 3, 4, 5)], [[0, 1, 2], [3, 4, 5]]),
    ],
)
def test_the_clip_counts_that_shows_most_around_a_frame(clips, own) -> None:
    assert own_frames(clips) == own
    assert own_frames(clips[::-1]) == own[::-1]


@pytest.mark.parametrize("length", [1, 3, 8, 13, 17])
def test_every_frame_of_a_film_belongs_to_one_clip(length: int) -> None:
    clips = tiling_windows(length, 8, 1)
    assert sorted(sum(own_frames(clips), [])) == list(range(length))


def test_rank_prefers_the_middle_then_the_earlier() -> None:
    assert rank((0, 1, 2), 1) < rank((1, 2, 3), 1)
    assert rank((0, 1, 2), 2) < rank((2, 3, 4), 2)
