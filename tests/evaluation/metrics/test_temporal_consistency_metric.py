from __future__ import annotations

import csv
import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator

from echozoo.errors import ConfigError, DataError
from echozoo.evaluation.functional.attributes import film_attributes
from echozoo.evaluation.functional.temporal import derive_limits, judge
from echozoo.evaluation.metrics.temporal_consistency_metric import TemporalConsistencyMetric
from echozoo.registry import METRICS
from echozoo.structures import EchoDataSample

SPACING = (1.0, 1.25)
STRUCTURES = ("lv", "myo", "la")
FRAMES = 9
QUIET = dict(n_resamples=20)
MODULE = "echozoo.evaluation.metrics.temporal_consistency_metric"


def heart(scale: float) -> np.ndarray:
    y, x = np.mgrid[:110, :90].astype(float)
    y, x = y * SPACING[0] - 85, x * SPACING[1] - 56
    labels = np.zeros(y.shape, np.uint8)
    labels[((y / (60 * scale + 10)) ** 2 + (x / (20 * scale + 10)) ** 2 <= 1) & (y <= 0)] = 2
    labels[((y / (60 * scale)) ** 2 + (x / (20 * scale)) ** 2 <= 1) & (y <= 0)] = 1
    labels[(((y - 10) / 10) ** 2 + (x / 15) ** 2 <= 1) & (y > 0)] = 3
    return labels


@cache
def _film(patient: int) -> np.ndarray:
    depth = 0.2 + 0.01 * patient
    return np.stack([heart(1 - depth * np.sin(t / FRAMES * np.pi / 2)) for t in range(FRAMES)])


def film(patient: int) -> np.ndarray:
    """A heart that contracts smoothly, (9, H, W)."""
    return _film(patient).copy()


def clip(patient: int, predicted: np.ndarray, frames=range(FRAMES), **changes) -> EchoDataSample:
    """The clip that shows these frames of a patient's film."""
    frames = tuple(frames)
    maps = torch.from_numpy(predicted[list(frames)])
    name = f"patient{patient:04d}"
    meta = {
        "patient": name,
        "view": "4CH",
        "sequence": f"{name}_4CH",
        "frames": frames,
        "instants": tuple({0: "ED", FRAMES - 1: "ES"}.get(frame, "") for frame in frames),
        "structures": STRUCTURES,
        "spacing": SPACING,
    }
    return EchoDataSample(
        metainfo=meta | changes,
        native_labels=torch.from_numpy(film(patient)[list(frames)]),
        pred_masks=torch.stack([maps == k for k in (1, 2, 3)], dim=1),
        pred_labels=maps,
    )


@cache
def _limits() -> dict:
    return derive_limits([film_attributes(film(k), STRUCTURES, SPACING) for k in range(3)])


def limits_of() -> dict:
    found = {key: limit._asdict() for key, limit in _limits().items()}
    return {"name": "hearts", "attributes": found, "provenance": "these very hearts"}


def jumping(patient: int, *frames: int) -> np.ndarray:
    """The film with a smaller heart in some frames."""
    maps = film(patient)
    for frame in frames:
        maps[frame] = heart(0.6)
    return maps


def evaluate(clips: list[EchoDataSample], **options) -> dict:
    evaluator = Evaluator(TemporalConsistencyMetric(**{"limits": limits_of(), **QUIET, **options}))
    for one in clips:
        evaluator.process([one])
    found = evaluator.evaluate(len(clips))
    return {key.removeprefix("temporal/"): value for key, value in found.items()}


def test_reference_masks_keep_limits_that_are_from_them() -> None:
    built = METRICS.build({"type": "TemporalConsistencyMetric"})
    assert isinstance(built, TemporalConsistencyMetric)
    assert built.limits.name == "camus"
    found = evaluate([clip(k, film(k)) for k in range(3)])
    assert (found["tci_frames"], found["bad_sequences"], found["num_failed_frames"]) == (0, 0, 0)
    assert (found["num_frames"], found["num_sequences"]) == (3 * FRAMES, 3)
    assert found["num_unjudged_sequences"] == 0
    assert 0 < found["error_to_threshold"] < 1
    assert found["error_to_threshold"] == found["reference_error_to_threshold"]
    assert next(iter(found)) == "tci_frames"


def test_counts_are_those_of_the_functions() -> None:
    predicted = [jumping(0, 4), film(1), jumping(2, 2, 6)]
    found = evaluate([clip(k, maps) for k, maps in enumerate(predicted)])
    limits = TemporalConsistencyMetric(limits_of()).limits.attributes
    verdicts = [judge(film_attributes(maps, STRUCTURES, SPACING), limits) for maps in predicted]
    assert found["tci_frames"] == sum(int(v.frames.sum()) for v in verdicts) > 3
    assert found["tci_frames_ratio"] == pytest.approx(found["tci_frames"] / (3 * FRAMES))
    assert (found["bad_sequences"], found["bad_sequences_ratio"]) == (2, pytest.approx(2 / 3))
    for key in limits:
        name = key.rsplit("_", 1)[0]
        expected = sum(int(v.inconsistent[key].sum()) for v in verdicts)
        assert found[f"{name}/inconsistent_frames"] == expected
    assert found["error_to_threshold"] == pytest.approx(
        np.mean([v.error_to_threshold for v in verdicts])
    )
    assert found["reference_tci_frames"] == found["reference_bad_sequences"] == 0


def test_a_film_in_clips_counts_every_frame_once_in_order() -> None:
    predicted = jumping(0, 4)
    whole = evaluate([clip(0, predicted)])
    parts = [clip(0, predicted, frames) for frames in (range(5, 9), range(4), range(3, 7))]
    assert evaluate(parts) == pytest.approx(whole, nan_ok=True)
    assert evaluate([*parts, parts[0]]) == pytest.approx(whole, nan_ok=True)
    every_second = [clip(0, predicted, range(start, FRAMES, 2)) for start in (0, 1)]
    assert evaluate(every_second) == pytest.approx(whole, nan_ok=True)
    to_and_fro = clip(0, predicted, [0, 1, 2, 3, 4, 5, 6, 7, 8, 7, 6])
    assert evaluate([to_and_fro]) == pytest.approx(whole, nan_ok=True)


def test_failures_are_inconsistent_and_counted_apart() -> None:
    predicted = film(0)
    predicted[3] = 0
    predicted[8][predicted[8] == 2] = 0  # the last frame has lost its wall
    found = evaluate([clip(0, predicted), clip(1, film(1))])
    assert found["num_failed_frames"] == 2
    assert found["lv_area/failed_frames"] == found["lv_area/inconsistent_frames"] == 1
    assert found["myo_area/failed_frames"] == found["myo_area/inconsistent_frames"] == 2
    assert (found["tci_frames"], found["bad_sequences"]) == (2, 1)


def test_what_cannot_be_judged_is_not_zero(monkeypatch, tmp_path: Path) -> None:
    shown = []
    monkeypatch.setattr(f"{MODULE}.print_log", lambda text, **_: shown.append(text))
    clips = [
        clip(0, film(0), [0, 1]),
        clip(1, film(1), [0, 1, 2, 5, 6]),
        clip(2, film(2), spacing=None),
    ]
    found = evaluate(clips, out_dir=str(tmp_path))
    assert (found["num_frames"], found["num_sequences"]) == (0, 0)
    assert found["num_unjudged_sequences"] == 3
    for key in ("tci_frames", "bad_sequences_ratio", "num_failed_frames", "error_to_threshold"):
        assert math.isnan(found[key]), key
    assert math.isnan(found["lv_area/inconsistent_frames"])
    line = shown[-1]
    assert "3 of 3 films not judged: 1 of fewer than three frames (stills); 1 with frames" in line
    content = json.loads((tmp_path / "temporal.json").read_text())
    assert sum(content["unjudged_sequences"].values()) == 3
    assert content["prediction"]["inconsistent_frames"] is None
    with open(tmp_path / "temporal.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["inconsistent_frames"] for row in rows] == ["", "", ""]
    assert rows[1]["unjudged"] == "with frames missing between"
    judged = evaluate([*clips[:2], clip(2, film(2))])
    assert (judged["tci_frames"], judged["num_frames"]) == (0, FRAMES)


def test_frames_without_a_whole_label_are_judged_and_have_no_floor(tmp_path: Path) -> None:
    jump = film(0)
    jump[7] = film(0)[0]  # far from its neighbours, at a frame that nobody has labelled
    clips = [clip(0, jump), clip(1, film(1)), clip(2, film(2))]
    assert evaluate(clips[:1])["tci_frames"] > 0
    for one, unlabelled in zip(clips, ([7, 8], [], range(FRAMES)), strict=True):
        labelled = torch.ones(FRAMES, 3, dtype=torch.bool)
        labelled[list(unlabelled), 1] = False
        one.labelled = labelled
        one.native_labels[~labelled.all(1)] = 255
    found = evaluate(clips, out_dir=str(tmp_path))
    assert (found["num_frames"], found["num_sequences"]) == (3 * FRAMES, 3)
    assert (found["tci_frames"] > 0, found["num_unjudged_sequences"]) == (True, 0)
    with open(tmp_path / "temporal.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["reference_inconsistent_frames"] for row in rows] == ["", "0", ""]


def test_given_frames_are_not_judged(monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(f"{MODULE}.print_log", lambda text, **_: shown.append(text))
    one = clip(0, film(0))
    one.given = torch.tensor([True, *[False] * (FRAMES - 2), True])
    assert evaluate([one])["num_frames"] == FRAMES - 2
    assert "2 frames whose masks were given are in no number" in shown[-1]


def test_an_lv_alone_has_four_attributes(monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(f"{MODULE}.print_log", lambda text, **_: shown.append(text))
    one = clip(0, jumping(0, 4))
    alone = EchoDataSample(
        metainfo={**one.metainfo, "structures": ("lv",)},
        native_labels=(one.native_labels == 1).to(torch.uint8),
        pred_masks=one.pred_masks[:, :1],
    )
    found, full = evaluate([alone]), evaluate([one])
    names = [key.split("/")[0] for key in found if key.endswith("/inconsistent_frames")]
    assert names == ["lv_area", "lv_orientation", "lv_base_width", "lv_length"]
    for name in names:
        key = f"{name}/inconsistent_frames"
        assert found[key] == full[key]
    assert "not judged, for want of a structure or of limits: myo_area, epi_center_x" in shown[0]
    assert "not judged" not in shown[1]


def test_only_attributes_with_limits_are_judged() -> None:
    limits = limits_of()
    limits["attributes"] = {"myo_area_cm2": limits["attributes"]["myo_area_cm2"]}
    found = evaluate([clip(0, jumping(0, 4))], limits=limits)
    assert [key for key in found if "/" in key] == [
        "myo_area/inconsistent_frames",
        "myo_area/failed_frames",
    ]


def test_the_table_has_denominators_floor_and_provenance(monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(f"{MODULE}.print_log", lambda text, **_: shown.append(text))
    clips = [clip(k, jumping(k, 4)) for k in range(3)]
    found = evaluate(clips)
    assert f"{found['tci_frames']} of {3 * FRAMES}" in shown[0]
    assert "3 of 3" in shown[0]
    assert f"0 of {3 * FRAMES}" in shown[0]
    assert "limits hearts: these very hearts" in shown[0]
    assert "not all within these limits" not in shown[0]
    tight = limits_of()
    for limit in tight["attributes"].values():
        limit["threshold"] /= 2
    evaluate(clips, limits=tight)
    assert "the reference masks are not all within these limits" in shown[1]
    evaluate(clips, report=False)
    assert len(shown) == 2


def test_files_hold_every_film_and_frame(tmp_path: Path) -> None:
    clips = [clip(0, jumping(0, 4)), clip(1, film(1))]
    found = evaluate(clips, out_dir=str(tmp_path / "new"), config_name="x.py")
    with open(tmp_path / "new/temporal.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["sequence"] for row in rows] == ["patient0000_4CH", "patient0001_4CH"]
    assert int(rows[0]["inconsistent_frames"]) == found["tci_frames"]
    assert int(rows[0]["lv_area_inconsistent_frames"]) == found["lv_area/inconsistent_frames"]
    assert (rows[0]["frames"], rows[0]["failed_frames"], rows[0]["unjudged"]) == ("9", "0", "")
    with open(tmp_path / "new/temporal_frames.csv", newline="") as file:
        frames = list(csv.DictReader(file))
    assert len(frames) == 2 * FRAMES
    assert "lv_area" in frames[4]["inconsistent"].split()
    assert float(frames[4]["lv_area_cm2"]) < float(frames[4]["reference_lv_area_cm2"])
    assert frames[0]["lv_area_cm2"] == frames[0]["reference_lv_area_cm2"]
    content = json.loads((tmp_path / "new/temporal.json").read_text())
    assert content["config"] == "x.py"
    assert content["limits"]["provenance"] == "these very hearts"
    assert content["prediction"]["inconsistent_frames"] == found["tci_frames"]
    assert content["prediction"]["frames"] == 2 * FRAMES
    assert content["reference"]["inconsistent_frames"] == 0
    interval = content["intervals"]["inconsistent_sequences_ratio"]
    assert interval["low"] <= 0.5 <= interval["high"]
    assert {"command", "date", "versions", "definitions"} <= set(content)


def test_overlapping_masks_without_a_label_map_take_the_first() -> None:
    one = clip(0, film(0))
    del one.pred_labels
    one.pred_masks[:, 1] |= one.pred_masks[:, 0]
    assert evaluate([one]) == pytest.approx(evaluate([clip(0, film(0))]), nan_ok=True)


def test_missing_predictions_and_limits_are_refused() -> None:
    one = clip(0, film(0))
    del one.pred_masks
    with pytest.raises(DataError, match="no pred_masks"):
        evaluate([one])
    with pytest.raises(ConfigError, match="wanted 'camus' or a JSON file"):
        TemporalConsistencyMetric(limits="nowhere.json")


def _clips_for_two() -> list[EchoDataSample]:
    predicted = [jumping(k, 3, 6) for k in range(2)]
    windows = (range(4), range(4, 8), range(5, 9))
    clips = [clip(k, maps, frames) for k, maps in enumerate(predicted) for frames in windows]
    return clips[:5] + [clip(2, film(2), [0, 1])] + clips[5:]


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    clips = _clips_for_two()
    found = evaluate([clips[i] for i in DefaultSampler(clips, shuffle=False)])
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_work, (str(tmp_path),), nprocs=2)
    alone = evaluate(_clips_for_two())
    assert (alone["num_sequences"], alone["num_unjudged_sequences"]) == (2, 1)
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found == pytest.approx(alone, nan_ok=True)
