from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator

from echozoo.errors import DataError
from echozoo.evaluation.functional import dice, hd_px, surface_distances
from echozoo.evaluation.metrics.segmentation_metric import (
    SegmentationMetric,
    flag_films,
    merge_clips,
    score_clip,
)
from echozoo.registry import METRICS
from echozoo.structures import EchoDataSample

SIZE = (48, 60)
STRUCTURES = ("lv", "myo", "la")
SPACING = (0.3, 0.5)


def labels_of(seed: int, num_frames: int = 2) -> np.ndarray:
    """Label maps (T, H, W) of a heart whose place is drawn from the seed."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((num_frames, *SIZE), np.uint8)
    for frame in labels:
        top, left = rng.integers(4, 9, 2)
        frame[top : top + 24, left : left + 30] = 2
        frame[top + 4 : top + 24, left + 5 : left + 25] = 1
        frame[top + 24 : top + 34, left + 5 : left + 25] = 3
    return labels


def sample_of(index: int = 0, **changes) -> EchoDataSample:
    """A clip with a reference and a prediction that are a little apart."""
    frames = changes.pop("frames", (0, 9))
    instants = {0: "ED", 9: "ES"}
    patient, view = f"patient{index // 2:04d}", ("2CH", "4CH")[index % 2]
    reference, prediction = (labels_of(2 * index + i, len(frames)) for i in (0, 1))
    masks = np.stack([prediction == k for k in (1, 2, 3)], axis=1)
    meta = {
        "patient": patient,
        "view": view,
        "sequence": f"{patient}_{view}",
        "frames": frames,
        "instants": tuple(instants.get(frame, "") for frame in frames),
        "structures": STRUCTURES,
        "spacing": SPACING,
        "quality": "Good",
    }
    fields = {"native_labels": torch.from_numpy(reference), "pred_masks": torch.from_numpy(masks)}
    fields |= {name: changes.pop(name) for name in tuple(changes) if name in fields}
    return EchoDataSample(metainfo=meta | changes, **fields)


def evaluate(samples: list[EchoDataSample], size: int | None = None, **options) -> dict:
    evaluator = Evaluator(SegmentationMetric(**options))
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples) if size is None else size)


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and np.array_equal(
        list(one.values()), list(other.values()), equal_nan=True
    )


def test_is_built_by_name() -> None:
    for name in ("SegmentationMetric", "CAMUSMetric"):
        assert isinstance(METRICS.build({"type": name}), SegmentationMetric)


def test_what_is_not_labelled_is_no_case(tmp_path: Path) -> None:
    labelled = sample_of(0)
    partly = sample_of(0)
    partly.labelled = torch.tensor([[True, False, True], [False] * 3])
    partly.native_labels[1] = 255
    nothing = sample_of(1)
    nothing.labelled = torch.zeros(2, 3, dtype=torch.bool)
    metrics = evaluate([partly, nothing], out_dir=str(tmp_path), n_resamples=10)
    rows = score_clip(labelled.to_dict()).rows[0]
    assert metrics["camus/num_images"] == metrics["camus/num_patients"] == 1
    assert metrics["camus/lv/dice"] == rows[0]["dice"]
    assert metrics["camus/dice"] == pytest.approx((rows[0]["dice"] + rows[2]["dice"]) / 2)
    assert "camus/myo/dice" not in metrics
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 3


def test_given_frames_are_in_no_number_and_said(tmp_path: Path, monkeypatch) -> None:
    shown = []
    module = "echozoo.evaluation.metrics.segmentation_metric.print_log"
    monkeypatch.setattr(module, lambda text, **_: shown.append(text))
    clips = [sample_of(k, frames=(0, 9, 0)) for k in range(2)]  # to and fro: a short film
    wanted = evaluate([sample_of(k, frames=(9, 9, 9)) for k in range(2)], report=False)
    for clip in clips:
        clip.given = torch.tensor([True, False, False])
        clip.native_labels[[0, 2]] = 0
    found = evaluate(clips, out_dir=str(tmp_path))
    assert found["camus/num_images"] == wanted["camus/num_images"] == 2
    assert "2 frames whose masks were given are in no number" in shown[0]
    assert json.loads((tmp_path / "results.json").read_text())["given_frames"] == 2
    for clip in clips:
        clip.given = torch.ones(3, dtype=torch.bool)
    with pytest.raises(DataError, match="no labelled frame in them, 4 with given masks aside"):
        evaluate(clips)


def test_nothing_labelled_is_said() -> None:
    sample = sample_of(0)
    sample.labelled = torch.zeros(2, 3, dtype=torch.bool)
    with pytest.raises(DataError, match="no labelled frame"):
        evaluate([sample])


def test_metrics_are_means_over_images_then_over_structures() -> None:
    samples = [sample_of(i) for i in range(3)]
    metrics = evaluate(samples, n_resamples=10)
    expected = {"dice": {}, "hd95_mm": {}, "hd_px": {}}
    for k, name in enumerate(STRUCTURES):
        pairs = [
            (s.pred_masks[t, k].numpy(), s.native_labels[t].numpy() == k + 1)
            for s in samples
            for t in range(2)
        ]
        expected["dice"][name] = np.mean([dice(*pair) for pair in pairs])
        expected["hd95_mm"][name] = np.mean([surface_distances(*p, SPACING).hd95 for p in pairs])
        expected["hd_px"][name] = np.mean([hd_px(*pair) for pair in pairs])
    for metric, by_structure in expected.items():
        for name, value in by_structure.items():
            assert metrics[f"camus/{name}/{metric}"] == pytest.approx(value)
        assert metrics[f"camus/{metric}"] == pytest.approx(np.mean(list(by_structure.values())))
    assert (metrics["camus/num_images"], metrics["camus/num_patients"]) == (6, 2)
    assert next(iter(metrics)) == "camus/dice"


def test_each_sample_leaves_one_result() -> None:
    metric = SegmentationMetric()
    metric.process(None, [sample_of(i).to_dict() for i in range(3)])
    assert len(metric.results) == 3


def test_empty_and_absent_are_nan_and_counted_and_a_zero_for_checkpoints() -> None:
    empty, absent = sample_of(0), sample_of(1)
    empty.pred_masks[0, 2] = False
    absent.native_labels[absent.native_labels == 2] = 0
    metrics = evaluate([empty, absent, sample_of(2)], n_resamples=10)
    assert (metrics["camus/la/num_empty"], metrics["camus/la/num_absent"]) == (1, 0)
    assert (metrics["camus/myo/num_empty"], metrics["camus/myo/num_absent"]) == (0, 2)
    # Six atria: five with a Dice, one missed. Four myocardia, all measured.
    five_of_six = metrics["camus/la/dice"] * 5 / 6
    assert metrics["camus/la/dice_with_empty_as_0"] == pytest.approx(five_of_six)
    assert metrics["camus/myo/dice_with_empty_as_0"] == metrics["camus/myo/dice"]


def test_a_model_that_predicts_nothing_scores_zero_where_checkpoints_are_chosen() -> None:
    sample = sample_of()
    sample.pred_masks.zero_()
    metrics = evaluate([sample], n_resamples=10)
    assert math.isnan(metrics["camus/dice"])
    assert math.isnan(metrics["camus/hd_mm"])
    assert metrics["camus/dice_with_empty_as_0"] == 0.0
    assert metrics["camus/lv/num_empty"] == 2


def test_unknown_spacing_leaves_pixels_only(caplog) -> None:
    metrics = evaluate([sample_of(spacing=None)], n_resamples=10)
    assert all(math.isnan(metrics[f"camus/{name}"]) for name in ("hd_mm", "hd95_mm", "assd_mm"))
    assert metrics["camus/hd_px"] > 0
    assert metrics["camus/dice"] > 0


def test_a_cheap_validation_measures_overlap_and_shows_no_table(monkeypatch) -> None:
    shown = []
    module = "echozoo.evaluation.metrics.segmentation_metric"
    monkeypatch.setattr(f"{module}.print_log", lambda text, **_: shown.append(text))
    monkeypatch.setattr(f"{module}.surface_distances", None)
    metrics = evaluate([sample_of()], surface=False, report=False)
    assert {key.split("/")[-1] for key in metrics} == {
        "dice",
        "iou",
        "dice_with_empty_as_0",
        "num_images",
        "num_patients",
        "num_empty",
        "num_absent",
    }
    assert not shown


def test_a_subset_of_structures_is_counted_from_one() -> None:
    sample = sample_of(structures=("myo",))
    sample.native_labels = (sample.native_labels == 2).to(torch.uint8)
    sample.pred_masks = sample.pred_masks[:, 1:2]
    metrics = evaluate([sample], n_resamples=10)
    whole = evaluate([sample_of()], n_resamples=10)
    assert metrics["camus/dice"] == whole["camus/myo/dice"]
    assert "camus/lv/dice" not in metrics


def test_frames_of_overlapping_and_padded_clips_count_once() -> None:
    film = [(0, 1, 2, 3), (2, 3, 4, 5), (4, 5, 4, 5)]
    clips = [score_clip(sample_of(frames=frames).to_dict(), surface=False) for frames in film]
    rows = merge_clips(clips)
    assert [(r["frame"], r["structure"]) for r in rows] == [
        (frame, name) for frame in range(6) for name in sorted(STRUCTURES, key=STRUCTURES.index)
    ]
    # Frame 2 has a neighbour on each side in the first clip, frame 4 in the second and in the
    # third at its second place, but there it is padding; equal ranks fall to the clip that
    # starts first.
    for frame, clip in ((0, 0), (2, 0), (3, 1), (4, 1), (5, 2)):
        expected = clips[clip].rows[frame]
        assert [r for r in rows if r["frame"] == frame] == expected, frame
    assert merge_clips(clips[::-1]) == rows
    assert merge_clips([*clips, clips[1]]) == rows


def test_no_case_is_cut_when_more_clips_come_than_the_dataset_has() -> None:
    samples = [sample_of(i) for i in (0, 1, 0, 2)]
    distinct = evaluate([sample_of(i) for i in range(3)], n_resamples=10)
    assert same(evaluate(samples, size=3, n_resamples=10), distinct)


def test_masks_that_do_not_fit_are_refused_by_name() -> None:
    sample = sample_of()
    sample.pred_masks = sample.pred_masks[:, :2]
    with pytest.raises(DataError, match=r"patient0000_2CH.*\(2, 2, 48, 60\).*\(2, 3, 48, 60\)"):
        evaluate([sample])
    del sample.pred_masks
    with pytest.raises(DataError, match="patient0000_2CH.*no pred_masks"):
        evaluate([sample])


def test_files_hold_every_case_and_what_the_numbers_mean(tmp_path: Path) -> None:
    samples = [sample_of(i) for i in range(4)]
    samples[0].pred_masks[0, 0] = False
    metrics = evaluate(samples, out_dir=str(tmp_path / "new"), config_name="x.py", n_resamples=50)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "results.csv",
        "results.json",
    ]
    with open(tmp_path / "new/results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 2 * 3
    assert rows[0] == rows[0] | {
        "patient": "patient0000",
        "view": "2CH",
        "sequence": "patient0000_2CH",
        "frame": "0",
        "instant": "ED",
        "quality": "Good",
        "structure": "lv",
        "status": "empty",
        "dice": "",
        "hd_mm": "",
        "dice_with_empty_as_0": "0",
    }
    atria = [float(row["hd_mm"]) for row in rows if row["structure"] == "la"]
    assert np.mean(atria) == pytest.approx(metrics["camus/la/hd_mm"], rel=1e-5)

    content = json.loads((tmp_path / "new/results.json").read_text())
    assert content["config"] == "x.py"
    assert content["bootstrap"] | {"n_resamples": 50, "seed": 0} == content["bootstrap"]
    assert "MONAI" in content["definitions"]["hd95_mm"]
    (overall,) = (
        s
        for s in content["summaries"]
        if (s["instant"], s["view"], s["structure"]) == ("all", "all", "lv")
    )
    assert overall["num_empty"] == 1
    assert overall["estimates"]["dice"]["mean"] == pytest.approx(metrics["camus/lv/dice"])
    groups = {(s["instant"], s["view"]) for s in content["summaries"]}
    assert groups == {(i, v) for i in ("all", "ED", "ES") for v in ("all", "2CH", "4CH")}


def test_implausible_predictions_are_flagged_by_structure(tmp_path: Path) -> None:
    sample = sample_of(frames=(0, 1, 2))
    sample.pred_masks[:] = sample.pred_masks[:1]
    sample.pred_masks[0, 2, 0, 0] = True  # a speck beside the atrium
    sample.pred_masks[1, 2] = False
    evaluate([sample, sample_of(1)], out_dir=str(tmp_path), n_resamples=10)
    with open(tmp_path / "results.csv", newline="") as file:
        rows = {
            (row["frame"], row["structure"]): row
            for row in csv.DictReader(file)
            if row["view"] == "2CH"
        }
    found = {key: row["flags"] for key, row in rows.items() if row["flags"]}
    assert found == {("0", "la"): "la:components", ("1", "la"): "la:empty"}
    assert rows["0", "la"]["predicted_px"] == str(10 * 20 + 1)
    definitions = json.loads((tmp_path / "results.json").read_text())["definitions"]
    assert "in several pieces" in definitions["flags"]


def test_flags_see_the_whole_film_not_the_clip() -> None:
    clips = [sample_of(frames=frames) for frames in ((0, 1), (2, 3))]
    for clip in clips:
        clip.pred_masks[:] = clips[0].pred_masks[:1]
    clips[1].pred_masks[0, 0, 20:] = False  # the cavity shrinks in frame 2
    clips[1].pred_labels = torch.zeros(2, *SIZE, dtype=torch.uint8)
    for k in range(3):
        clips[1].pred_labels[clips[1].pred_masks[:, k]] = k + 1
    rows = merge_clips(score_clip(clip.to_dict(), False, flagged=True) for clip in clips)
    flag_films(rows)
    jumps = [
        (r["frame"], r["structure"]) for r in rows if f"{r['structure']}:area_jump" in r["flags"]
    ]
    assert jumps == [(1, "lv"), (2, "lv")]


def test_real_masks_against_their_dilated_copies(shared: Path, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    ndimage = pytest.importorskip("scipy.ndimage")
    samples = []
    for path in sorted((shared / "data/camus_mini/database_nifti").glob("*/*_gt.nii.gz"))[:6]:
        patient, view, instant, _ = path.name.split("_")
        image = sitk.ReadImage(str(path))
        labels = sitk.GetArrayFromImage(image).squeeze().astype(np.uint8)[None]
        masks = [ndimage.binary_dilation(labels[0] == k, iterations=3) for k in (1, 2, 3)]
        samples.append(
            sample_of(
                patient=patient,
                view=view,
                sequence=f"{patient}_{view}",
                frames=({"ED": 0, "ES": 1}[instant],),
                instants=(instant,),
                spacing=image.GetSpacing()[1::-1],
                native_labels=torch.from_numpy(labels),
                pred_masks=torch.from_numpy(np.stack(masks)[None]),
            )
        )
    metrics = evaluate(samples, out_dir=str(tmp_path), n_resamples=50)
    assert (metrics["camus/num_images"], metrics["camus/num_patients"]) == (6, 3)
    for name in STRUCTURES:
        assert 0.8 < metrics[f"camus/{name}/dice"] < 1
        # Three city-block steps: 3 pixels of 0.308 mm straight out, never more.
        assert metrics[f"camus/{name}/hd_mm"] == pytest.approx(3 * 0.308, rel=1e-3)


CASES = {"odd": 5, "even": 4, "fewer than processes": 1}


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    found = {}
    for name, size in CASES.items():
        indices = list(DefaultSampler(range(size), shuffle=False))  # pads with the first samples
        found[name] = evaluate([sample_of(i) for i in indices], size, n_resamples=20)
    indices = list(DefaultSampler(range(5), shuffle=False, round_up=False))
    found["not padded"] = evaluate([sample_of(i) for i in indices], 5, n_resamples=20)
    # A sampler that deals in blocks: mmengine's cut to the dataset's length would lose sample 1.
    block = [(2, 0, 0), (3, 1, 4)][rank]
    found["blocks"] = evaluate([sample_of(i) for i in block], 5, n_resamples=20)
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def test_two_processes_give_the_result_of_one_and_leave_no_files(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.multiprocessing.spawn(_work, (str(tmp_path),), nprocs=2)
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for name, metrics in found.items():
            size = CASES.get(name, 5)
            expected = evaluate([sample_of(i) for i in range(size)], n_resamples=20)
            assert same(metrics, expected), (rank, name)
    assert {path.name for path in tmp_path.iterdir()} <= {"0.json", "1.json", "meet"}
