from __future__ import annotations

import numpy as np
import pytest

from echozoo.benchmark import measures
from echozoo.benchmark.label_maps import data_samples, distort, generated_samples
from echozoo.benchmark.measures import compare_measures, monai_means, own_means


@pytest.fixture(scope="module")
def samples() -> list[dict]:
    return list(generated_samples(1, seed=3))


def test_a_generated_test_is_of_camus_size(samples):
    assert [sample["sequence"] for sample in samples] == ["patient0001_2CH", "patient0001_4CH"]
    for sample in samples:
        frames, height, width = sample["native_labels"].shape
        assert frames == 2
        assert 300 < height < 800
        assert 350 < width < 900
        assert set(np.unique(sample["native_labels"])) == {0, 1, 2, 3}
        assert sample["pred_masks"].shape == (2, 3, height, width)


def test_the_same_numbers_as_monai(samples):
    ours, theirs = own_means(samples), monai_means(samples)
    assert len(ours) == 18
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert 0.5 < ours["lv/dice"] < 1
    assert 0 < ours["lv/assd_mm"] < ours["lv/hd95_mm"] < ours["lv/hd_mm"] < 10


def test_empty_masks_are_in_no_mean_of_either(samples):
    spoilt = {**samples[0], "pred_masks": samples[0]["pred_masks"].copy()}
    spoilt["pred_masks"][0, 0] = False
    pair = [spoilt, samples[1]]
    assert own_means(pair) == pytest.approx(monai_means(pair), rel=1e-4)


def test_rows_and_what_differs(samples, monkeypatch):
    result = compare_measures(samples[:1], repeats=2, warmup=0)
    assert result.disagreement is None
    assert [row["side"] for row in result.rows] == ["MONAI", "echozoo CAMUSMetric"]
    assert result.rows[1]["images"] == 2
    assert result.rows[1]["cases"] == 6
    assert result.rows[1]["difference"] < 1e-4
    wrong = own_means(samples[:1]) | {"la/iou": 0.5}
    monkeypatch.setattr(measures, "own_means", lambda samples: wrong)
    result = compare_measures(samples[:1], repeats=1, warmup=0)
    assert result.disagreement.startswith("measures: la/iou is 0.5 with echozoo and 0.")


def test_a_prediction_is_off_by_some_pixels(samples):
    labels = samples[0]["native_labels"][0]
    predicted = distort(labels, np.random.default_rng(0))
    assert 0.9 < (predicted == labels).mean() < 1


def test_label_maps_of_a_data_set(phantom):
    dataset = dict(type="CAMUSDataset", data_root=str(phantom), subset="train", split="files")
    found = list(data_samples(dataset, patients=1))
    assert [sample["view"] for sample in found] == ["2CH", "4CH"]
    assert found[0]["native_labels"].shape == found[0]["pred_labels"].shape
    assert found[0]["spacing"] == pytest.approx((1.5, 1.5))
