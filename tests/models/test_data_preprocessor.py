from __future__ import annotations

import pytest
import torch

from echozoo.errors import ConfigError
from echozoo.models.data_preprocessor import EchoDataPreprocessor
from echozoo.structures import EchoDataSample


def batch(*shapes: tuple[int, ...]) -> dict:
    return {"inputs": [torch.full(shape, 255.0) for shape in shapes], "data_samples": []}


def test_clips_are_stacked_and_scaled_to_one():
    inputs = EchoDataPreprocessor()(batch((3, 1, 4, 5), (3, 1, 4, 5)))["inputs"]
    assert inputs.shape == (2, 3, 1, 4, 5)
    assert (inputs == 1).all()


def test_three_means_make_three_channels():
    preprocessor = EchoDataPreprocessor(mean=(255.0, 155.0, 55.0), std=(1.0, 10.0, 100.0))
    inputs = preprocessor(batch((2, 1, 4, 4)))["inputs"]
    assert inputs.shape == (1, 2, 3, 4, 4)
    assert inputs[0, 0, :, 0, 0].tolist() == [0, 10, 2]


def test_clips_of_different_length_are_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"\(2, 1, 4, 4\), \(3, 1, 4, 4\).*batch_size=1"):
        EchoDataPreprocessor()(batch((2, 1, 4, 4), (3, 1, 4, 4)))


def test_means_without_as_many_stds_are_refused():
    with pytest.raises(ConfigError, match="3 values in mean and 1 in std"):
        EchoDataPreprocessor(mean=(1, 2, 3), std=(1,))


def test_minmax_stretches_each_frame_by_its_own_darkest_and_brightest_pixel():
    clip = torch.tensor([[20.0, 70.0, 120.0], [3.0, 3.0, 4.0], [9.0, 9.0, 9.0]])
    clip = clip[:, None, None].expand(-1, 1, 2, -1)  # T, 1, H, W
    inputs = EchoDataPreprocessor(minmax=True)({"inputs": [clip], "data_samples": []})["inputs"]
    assert inputs[0, :, 0, 0].tolist() == [[0, 0.5, 1], [0, 0, 1], [0, 0, 0]]


def test_minmax_leaves_padding_out():
    clip = torch.full((2, 1, 3, 4), 0.0)
    clip[..., :2, :3] = torch.tensor([50.0, 100.0, 150.0])
    sample = EchoDataSample(metainfo=dict(valid_size=(2, 3)))
    data = {"inputs": [clip], "data_samples": [sample]}
    inputs = EchoDataPreprocessor(minmax=True)(data)["inputs"]
    assert inputs[0, 1, 0].tolist() == [[0, 0.5, 1, 0], [0, 0.5, 1, 0], [0, 0, 0, 0]]


def test_scales_frames_without_samples():
    frames = torch.tensor([10.0, 20.0, 30.0]).expand(2, 1, 4, 3)
    scale = EchoDataPreprocessor(mean=(0.0, 255.0), std=(255.0, 1.0), minmax=True).scale
    assert scale(frames)[1, :, 0].tolist() == [[0, 0.5, 1], [-255, -127.5, 0]]
