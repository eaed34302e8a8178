from __future__ import annotations

import numpy as np
import torch

from echozoo.datasets.anatomy import palette
from echozoo.structures import EchoDataSample
from echozoo.visualization.grid import clip_grid


def clip(frames: int, points: bool = True) -> tuple[torch.Tensor, EchoDataSample]:
    sample = EchoDataSample(
        metainfo=dict(
            patient="patient0001",
            view="4CH",
            quality=None,
            frames=tuple(range(frames)),
            instants=("ED", *[""] * (frames - 1)),
            structures=("lv",),
        )
    )
    if points:
        sample.gt_labels = torch.zeros(frames, 32, 32, dtype=torch.uint8)
        sample.points = torch.full((frames, 1, 1, 2), 8.0)
        sample.point_labels = torch.ones(frames, 1, 1, dtype=torch.int64)
        sample.boxes = torch.tensor([4.0, 4, 12, 12]).expand(frames, 1, 4)
    return torch.full((frames, 1, 32, 32), 50.0), sample


def test_a_row_a_clip_and_a_column_a_frame() -> None:
    one, two = clip_grid([clip(2)], height=64), clip_grid([clip(2), clip(4)], height=64)
    assert one.dtype == np.uint8
    assert two.shape[1] - 6 == 2 * (one.shape[1] - 6)
    assert two.shape[0] - one.shape[0] == 64 + 28


def test_prompts_are_drawn_where_they_are() -> None:
    frame = clip_grid([clip(1)], height=64)[28:92, 6:70]
    plain = clip_grid([clip(1, points=False)], height=64)[28:92, 6:70]
    rows, columns = np.nonzero((frame != plain).any(axis=-1))
    # Box corners at 4 and 12 of 32 pixels: pixel centres at 8.5 and 24.5 of 64.
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (8, 24)
    assert frame[16, 16].tolist() == list(palette()[0])
