"""What stands beside the count of inconsistent frames."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from echozoo.evaluation.metrics.temporal_consistency_metric import TemporalConsistencyMetric
from echozoo.structures import EchoDataSample

FRAMES = 7
SIZE = (80, 70)


def discs(radii: np.ndarray) -> torch.Tensor:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] - np.array([[[39.5]], [[34.5]]])
    # Longer than wide: a circle has no main axis.
    inside = np.hypot(y / 1.3, x) < np.reshape(radii, (-1, 1, 1))
    return torch.from_numpy(inside.astype(np.uint8))


def clip(predicted, true, labelled=None, **changes) -> EchoDataSample:
    maps, references = discs(predicted), discs(true)
    meta = {
        "patient": "p",
        "view": "4CH",
        "sequence": "p_4CH",
        "frames": tuple(range(len(maps))),
        "instants": ("ED", *[""] * (len(maps) - 2), "ES"),
        "structures": ("lv",),
        "spacing": (1.0, 1.0),
    }
    sample = EchoDataSample(
        metainfo=meta | changes,
        native_labels=references,
        pred_masks=maps[:, None] == 1,
        pred_labels=maps,
    )
    if labelled is not None:
        sample.labelled = torch.tensor(labelled)[:, None]
        sample.native_labels[~sample.labelled[:, 0]] = 255
    return sample


def measure(*clips: EchoDataSample, **options) -> dict[str, float]:
    evaluator = Evaluator(TemporalConsistencyMetric(**{"n_resamples": 10, **options}))
    for one in clips:
        evaluator.process([one])
    found = evaluator.evaluate(len(clips))
    return {key.removeprefix("temporal/"): value for key, value in found.items()}


BEAT = np.linspace(28, 22, FRAMES)


def test_a_flattened_beat_is_steady_and_shows_as_an_error_of_area_change():
    true, flat = measure(clip(BEAT, BEAT)), measure(clip(np.full(FRAMES, 25), BEAT))
    assert flat["tci_frames"] == 0
    assert true["area_change_error_pp"] == 0
    change = 100 * (1 - (22 / 28) ** 2)
    assert true["area_change_pp"] == pytest.approx(change, abs=1)
    assert flat["area_change_pp"] == 0
    assert flat["area_change_error_pp"] == pytest.approx(true["area_change_pp"])
    assert flat["contour_jitter_mm"] == pytest.approx(0, abs=1e-6)


def test_flicker_is_rough_and_jitters():
    flicker = BEAT + np.tile([1.0, -1.0], 4)[:FRAMES]
    rough, steady = measure(clip(flicker, BEAT)), measure(clip(BEAT, BEAT))
    assert rough["contour_jitter_mm"] == pytest.approx(2.3, abs=0.3)
    assert steady["contour_jitter_mm"] < 0.4
    assert rough["area_roughness_percent"] > 5 * steady["area_roughness_percent"]
    assert rough["reference_contour_jitter_mm"] == steady["contour_jitter_mm"]
    assert math.isnan(rough["contour_jitter_px"])


def test_where_only_the_ends_are_labelled_predictions_are_judged_all_the_same(tmp_path):
    ends = [True, *[False] * (FRAMES - 2), True]
    flicker = BEAT + np.tile([1.0, -1.0], 4)[:FRAMES]
    found = measure(clip(flicker, BEAT, ends), out_dir=str(tmp_path))
    whole = measure(clip(flicker, BEAT))
    for key in ("tci_frames", "num_frames", "area_roughness_percent", "contour_jitter_mm"):
        assert found[key] == whole[key]
    assert whole["tci_frames"] > 0
    assert math.isnan(found["reference_tci_frames"])
    assert found["area_change_error_pp"] == whole["area_change_error_pp"]
    content = json.loads((tmp_path / "temporal.json").read_text())
    assert content["courses"]["area_change_error_pp"]["films"] == 1
    assert "area_change_error_pp" in (tmp_path / "temporal.csv").read_text()


def test_of_unknown_spacing_there_are_courses_in_pixels_and_no_counts():
    found = measure(clip(BEAT + np.tile([1.0, -1.0], 4)[:FRAMES], BEAT, spacing=None))
    assert math.isnan(found["tci_frames"])
    assert found["contour_jitter_px"] == pytest.approx(2.3, abs=0.3)
    assert math.isnan(found["contour_jitter_mm"])
    assert found["area_change_error_pp"] > 0


def test_a_film_with_frames_missing_has_its_change_alone():
    found = measure(clip(BEAT[[0, 3, 6]], BEAT[[0, 3, 6]], frames=(0, 3, 6)))
    assert found["area_change_error_pp"] == 0
    assert math.isnan(found["area_roughness_percent"])
