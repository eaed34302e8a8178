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

from echozoo.datasets.info import Info
from echozoo.errors import ConfigError
from echozoo.evaluation.functional.ejection_fraction import ejection_fraction
from echozoo.evaluation.metrics.ejection_fraction_metric import EjectionFractionMetric
from echozoo.registry import METRICS
from echozoo.structures import EchoDataSample

SPACING = (0.8, 1.0)
STRUCTURES = ("lv", "myo", "la")
QUIET = dict(n_resamples=20)
MODULE = "echozoo.evaluation.metrics.ejection_fraction_metric"


def ventricle(length: float, width: float) -> np.ndarray:
    y, x = np.mgrid[:130, :90].astype(float)
    y, x = y * SPACING[0] - 85, x * SPACING[1] - 45
    return ((y / length) ** 2 + (x / width) ** 2 <= 1) & (y <= 0)


def sample_of(patient: int, view: str, **changes) -> EchoDataSample:
    """A clip ED, between, ES whose prediction is a little larger than its reference."""
    rng = np.random.default_rng([patient, view == "4CH"])
    sizes = np.array([[75, 25], [70, 22], [65, 19]]) + rng.uniform(-5, 5, 2)
    reference = np.stack([ventricle(*size) for size in sizes])
    masks = np.zeros((3, 3, *reference.shape[1:]), bool)
    masks[:, 0] = [ventricle(*size) for size in sizes + rng.uniform(-1, 2, 2)]
    name = f"patient{patient:04d}"
    meta = {
        "patient": name,
        "view": view,
        "sequence": f"{name}_{view}",
        "frames": (0, 1, 2),
        "instants": ("ED", "", "ES"),
        "structures": STRUCTURES,
        "spacing": SPACING,
        "quality": "Good",
    }
    return EchoDataSample(
        metainfo=meta | changes,
        native_labels=torch.from_numpy(reference.astype(np.uint8)),
        pred_masks=torch.from_numpy(masks),
    )


def samples(patients: int = 4) -> list[EchoDataSample]:
    return [sample_of(k, view) for k in range(patients) for view in ("2CH", "4CH")]


def evaluate(clips: list[EchoDataSample], **options) -> dict:
    evaluator = Evaluator(EjectionFractionMetric(**{**QUIET, **options}))
    for clip in clips:
        evaluator.process([clip])
    found = evaluator.evaluate(len(clips))
    return {key.removeprefix("clinical/"): value for key, value in found.items()}


def expected(clips: list[EchoDataSample], step: str = "per_phase") -> list[tuple]:
    """(predicted, reference) of the patients of pairs of clips, straight from the function."""
    pairs = []
    for two, four in zip(clips[::2], clips[1::2], strict=True):
        masks = [
            [(m[0], m[2]) for m in (clip.pred_masks[:, 0].numpy(), clip.native_labels.numpy() == 1)]
            for clip in (two, four)
        ]
        pairs.append(
            tuple(
                ejection_fraction(masks[0][side], masks[1][side], (SPACING, SPACING), step)
                for side in (0, 1)
            )
        )
    return pairs


@pytest.mark.parametrize("step", ["per_phase", "global"])
def test_compares_predicted_with_reference_masks(step: str) -> None:
    assert isinstance(METRICS.build({"type": "EjectionFractionMetric"}), EjectionFractionMetric)
    clips = samples()
    found = evaluate(clips, step=step)
    pairs = expected(clips, step)
    ef = np.array([[one.ef_percent for one in pair] for pair in pairs])
    edv = np.array([[one.edv_ml for one in pair] for pair in pairs])
    assert found["ef_mae_pp"] == pytest.approx(np.abs(ef[:, 0] - ef[:, 1]).mean())
    assert found["ef_bias_pp"] == pytest.approx((ef[:, 0] - ef[:, 1]).mean())
    assert found["ef_r"] == pytest.approx(np.corrcoef(ef.T)[0, 1])
    assert found["edv_mae_ml"] == pytest.approx(np.abs(edv[:, 0] - edv[:, 1]).mean())
    assert found["edv_bias_ml"] > 0
    assert (found["num_patients"], found["num_biplane"], found["num_without_ef"]) == (4, 4, 0)
    assert next(iter(found)) == "ef_mae_pp"


def test_a_view_that_is_not_there_makes_it_single_plane() -> None:
    clips = samples()[1:]
    clips[-1].set_metainfo({"instants": ("ED", "", "")})  # the last patient's 4CH has no ES
    found = evaluate(clips)
    assert (found["num_patients"], found["num_biplane"]) == (4, 2)
    assert not math.isnan(found["ef_mae_pp"])


def test_an_empty_prediction_has_no_ef_and_is_counted() -> None:
    clips = samples()
    clips[3].pred_masks[2, 0] = False
    found, rest = evaluate(clips), evaluate(clips[:2] + clips[4:])
    assert (found["num_patients"], found["num_without_ef"]) == (4, 1)
    assert found["ef_mae_pp"] == rest["ef_mae_pp"]


def test_who_has_no_ef_is_said(monkeypatch) -> None:
    printed: list[str] = []
    monkeypatch.setattr(f"{MODULE}.print_log", lambda text, logger: printed.append(text))
    clips = samples(3)
    for clip in clips[:4]:
        clip.pred_masks.zero_()
    clips[4].native_labels.zero_(), clips[5].native_labels.zero_()
    found = evaluate(clips)
    assert (found["num_patients"], found["num_without_ef"]) == (2, 2)
    assert printed[-2].startswith("no EF, since no ventricle is predicted at ED or at ES: 2 of 2 ")
    assert printed[-1] == "left out, since no reference shows a ventricle at ED and ES: 1 patients"
    printed.clear()
    evaluate(samples(1))
    assert len(printed) == 1


def test_of_unknown_spacing_there_is_an_ef_and_no_volume() -> None:
    known = evaluate([sample_of(0, "4CH", spacing=(1.0, 1.0))])
    found = evaluate([sample_of(0, "4CH", spacing=None)])
    assert found["num_patients"] == 1
    assert found["ef_mae_pp"] == known["ef_mae_pp"]
    assert math.isnan(found["edv_mae_ml"])
    # Views of known spacing alone are put together.
    both = [sample_of(0, "4CH", spacing=(1.0, 1.0)), sample_of(0, "2CH", spacing=None)]
    assert evaluate(both)["num_biplane"] == 0
    assert evaluate(both)["edv_mae_ml"] == known["edv_mae_ml"]


def test_without_ed_or_lv_there_is_nothing_to_measure() -> None:
    for changes in (
        {"instants": ("ED", "", "")},
        {"structures": ("myo", "la", "other")},
    ):
        found = evaluate([sample_of(0, "4CH", **changes)])
        assert found["num_patients"] == 0
        assert math.isnan(found["ef_mae_pp"])


@pytest.mark.parametrize("left", ["labelled", "given"])
def test_frames_without_a_label_or_with_given_masks_are_not_measured(monkeypatch, left) -> None:
    shown = []
    monkeypatch.setattr(f"{MODULE}.print_log", lambda text, **_: shown.append(text))
    clips = samples(3)
    wanted = evaluate([*clips[:3], *clips[4:]])
    if left == "labelled":
        clips[3].labelled = torch.ones(3, 3, dtype=torch.bool)
        clips[3].labelled[2, 0] = False  # the LV at ES of one view
        clips[3].native_labels[2] = 255
    else:
        clips[3].given = torch.tensor([False, False, True])
    shown.clear()
    assert evaluate(clips) == wanted
    note = "1 frames whose masks were given are in no number"
    assert (note in shown) == (left == "given")


def test_info_files_are_compared_in_their_own_convention() -> None:
    clips = samples()
    infos = [Info(ef=50, edv=100, esv=50)] * 4 + [Info(ef=40)] * 4
    for clip, info in zip(clips, infos, strict=True):
        clip.set_metainfo({"info": info})
    found = evaluate(clips)
    differences = [pair[0].ef_percent - 50 for pair in expected(clips)[:2]]
    differences += [pair[0].ef_percent - 40 for pair in expected(clips, "global")[2:]]
    assert found["info_ef_bias_pp"] == pytest.approx(np.mean(differences))
    edv = [pair[0].edv_ml - 100 for pair in expected(clips)[:2]]
    assert found["info_edv_bias_ml"] == pytest.approx(np.mean(edv))


def test_a_frame_that_two_clips_show_counts_once() -> None:
    clips = samples(2)
    other = sample_of(0, "2CH", frames=(1, 2, 2), instants=("", "ES", "ES"))
    other.pred_masks.zero_()
    assert evaluate([*clips, clips[2]]) == pytest.approx(evaluate(clips), nan_ok=True)
    # In `other`, ES has a neighbour on both sides, so that clip is the one that counts.
    assert evaluate([*clips, other])["num_without_ef"] == 1


def test_files_hold_every_patient_and_the_intervals(tmp_path: Path) -> None:
    found = evaluate(samples(), out_dir=str(tmp_path / "new"), config_name="x.py")
    with open(tmp_path / "new/ef.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["patient"] for row in rows] == [f"patient{k:04d}" for k in range(4)]
    assert rows[0]["method"] == "biplane"
    differences = [float(r["ef_percent"]) - float(r["reference_ef_percent"]) for r in rows]
    assert np.mean(differences) == pytest.approx(found["ef_bias_pp"], abs=1e-3)
    content = json.loads((tmp_path / "new/ef.json").read_text())
    assert (content["config"], content["step"]) == ("x.py", "per_phase")
    assert content["patients"]["biplane"] == 4
    mae = content["agreement"]["reference_masks"]["ef_pp"]["mae"]
    assert mae["value"] == pytest.approx(found["ef_mae_pp"])
    assert mae["low"] <= mae["value"] <= mae["high"]


def test_the_table_names_the_method_and_the_step(monkeypatch) -> None:
    shown = []
    module = "echozoo.evaluation.metrics.ejection_fraction_metric"
    monkeypatch.setattr(f"{module}.print_log", lambda text, **_: shown.append(text))
    evaluate(samples()[1:])
    assert "3 biplane, 1 single-plane 4CH, step per_phase" in shown[0]
    assert "EF, pp" in shown[0]
    evaluate(samples(), report=False)
    assert len(shown) == 1


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="wanted one of per_phase, global"):
        EjectionFractionMetric(step="ed")


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    clips = samples(3)[:5]
    found = evaluate([clips[i] for i in DefaultSampler(clips, shuffle=False)])
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_work, (str(tmp_path),), nprocs=2)
    alone = evaluate(samples(3)[:5])
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found == pytest.approx(alone, nan_ok=True)
