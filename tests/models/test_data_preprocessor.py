from __future__ import annotations

import pytest
import torch

from echozoo.errors import ConfigError
from echozoo.models.data_preprocessor import EchoDataPreprocessor


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
