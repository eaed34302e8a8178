from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from echozoo.datasets.transforms.formatting import PackClip
from echozoo.datasets.transforms.geometry import ResizeClip
from echozoo.datasets.transforms.prompts import BoxPrompts, PointPrompts


def test_a_packed_clip_has_every_field(make_clip: Callable[..., dict]) -> None:
    clip = make_clip()
    for transform in (ResizeClip((32, 32)), PointPrompts(), BoxPrompts()):
        clip = transform(clip)
    packed = PackClip()(clip)
    inputs, sample = packed["inputs"], packed["data_samples"]
    assert inputs.shape == (3, 1, 32, 32)
    assert inputs.dtype == torch.float32
    assert inputs.max() == 230
    fields = {key: (tuple(value.shape), value.dtype) for key, value in sample.items()}
    assert fields == {
        "gt_labels": ((3, 32, 32), torch.uint8),
        "native_labels": ((3, 60, 90), torch.uint8),
        "points": ((3, 3, 1, 2), torch.float32),
        "point_labels": ((3, 3, 1), torch.int64),
        "boxes": ((3, 3, 4), torch.float32),
    }
    assert sample.metainfo == dict(
        patient="patient0001",
        view="4CH",
        sequence="patient0001_4CH",
        quality="Good",
        frames=(0, 1, 2),
        instants=("ED", "", "ES"),
        structures=("lv", "myo", "la"),
        spacing=(0.308, 0.308),
        native_size=(60, 90),
        input_size=(32, 32),
        valid_size=(32, 32),
    )


def test_views_and_read_only_arrays_are_packed(make_clip: Callable[..., dict]) -> None:
    clip = make_clip()
    clip["labels"] = clip["labels"][::-1]  # a sequence turned from ES->ED
    clip["native_labels"].flags.writeable = False
    clip["images"] = clip["images"].astype(np.float32)[::-1]
    sample = PackClip()(clip)["data_samples"]
    sample.native_labels[:] = 0
    assert clip["native_labels"].any()


def test_a_clip_without_labels_is_packed(make_clip: Callable[..., dict]) -> None:
    clip = make_clip()
    del clip["labels"], clip["native_labels"]
    sample = PackClip()(ResizeClip((32, 48))(clip))["data_samples"]
    assert "gt_labels" not in sample
    assert sample.valid_size == (32, 48)
