"""The metric that validates and tests segmentation: overlap and boundary distances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from mmengine.logging import print_log

from echozoo.datasets.shared_frames import rank
from echozoo.errors import DataError
from echozoo.evaluation.functional.aggregate import (
    ABSENT,
    ALL,
    EMPTY,
    MEAN,
    SCORED,
    Summary,
    summarise,
)
from echozoo.evaluation.functional.overlap import dice, iou
from echozoo.evaluation.functional.surface import hd_px, surface_distances
from echozoo.evaluation.metrics.case_metric import (
    CaseMetric,
    counted_cases,
    given_frames,
    given_note,
    to_numpy,
)
from echozoo.evaluation.report import flags_note, results_table, write_csv, write_json
from echozoo.postprocessing.plausibility import areas_of, film_flags, frame_flags
from echozoo.registry import METRICS

OVERLAP = ("dice", "iou")
SURFACE = ("hd_mm", "hd95_mm", "assd_mm", "hd_px")
EMPTY_AS_0 = "dice_with_empty_as_0"


@dataclass(frozen=True)
class ScoredClip:
    """The one result that a sample leaves: its cases, frame by frame."""

    sequence: str
    frames: tuple[int, ...]
    """Every frame of the clip in its order, repetitions included."""
    rows: dict[int, list[dict[str, Any]]]
    """For each distinct frame one row a labelled structure."""
    patient: str = ""
    view: str = ""
    given: tuple[int, ...] = ()
    """Frames whose masks the segmentor was given; they have no rows."""

    @classmethod
    def of(cls, sample: dict[str, Any], rows: dict[int, list[dict[str, Any]]]) -> ScoredClip:
        """What a predicted sample leaves."""
        frames = tuple(int(frame) for frame in sample["frames"])
        given = tuple(sorted(given_frames(sample)))
        return cls(sample["sequence"], frames, rows, sample["patient"], sample["view"], given)


@METRICS.register_module(name=["SegmentationMetric", "CAMUSMetric"])
class SegmentationMetric(CaseMetric):
    """Dice, IoU, Hausdorff distance, HD95 and ASSD per image, then per structure, instant and view.

    A case is one structure in one image, measured on the native grid. A prediction that is empty
    where the structure is, and a structure that the reference lacks, have no distance and no
    overlap worth a mean: they are NaN, and counted beside every mean. As a mean over the rest
    flatters a model that gives up on hard images, ``dice_with_empty_as_0`` counts an empty
    prediction as the 0 that it is: **choose checkpoints by it** (``save_best=
    "camus/dice_with_empty_as_0", rule="greater"``). A model that predicts nothing has NaN under
    ``camus/dice`` and 0 there.

    Keys, under ``camus/``: ``dice iou hd_mm hd95_mm assd_mm hd_px dice_with_empty_as_0`` as means
    over the structures' means, the same for each structure (``lv/dice``), ``num_images
    num_patients``, and for each structure ``lv/num_empty``, ``lv/num_absent``. Millimetres are NaN
    for images of unknown spacing.

    Every frame of every film counts once: where clips overlap, in the clip that shows most frames
    on both sides of it; where a clip repeats a frame (short films are padded so), at the first
    of its places. What is not ``labelled`` is no case, nor is a frame whose masks were ``given``,
    as a memory's first frame is. The cases of all processes are gathered in
    memory, without files. Configs of earlier versions know the metric as ``CAMUSMetric``.

    Args:
        surface: Measure distances too; without them a validation costs next to nothing.
        report: Show the results table with 95 % intervals, flag implausible predictions (see
            `echozoo.postprocessing.plausibility`), and write files.
        out_dir: Folder for ``results.csv`` (one row a case) and ``results.json`` (the summary);
            None writes nothing. Needs ``report``.
        config_name: Noted in results.json.
        seed: Of the patient bootstrap.
        n_resamples: Of the patient bootstrap.
        prefix: Of the keys; "camus" if None.
    """

    default_prefix = "camus"

    def __init__(self, surface: bool = True, **shared: Any) -> None:
        super().__init__(**shared)
        self.surface = surface

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score a batch of clips; each leaves exactly one result.

        Raises:
            DataError: Masks are missing or do not fit the reference.
        """
        self.results.extend(
            score_clip(sample, self.surface, flagged=self.report) for sample in data_samples
        )

    def compute_metrics(self, results: list[ScoredClip]) -> dict[str, float]:
        """Summarise the gathered clips, on the first process.

        Raises:
            DataError: Nothing is labelled.
        """
        rows = merge_clips(results)
        given, note = given_note(results)
        if not rows:
            raise DataError(
                f"{len(results)} clips and no labelled frame in them, {given} with given masks"
                " aside; wanted one at least; test on data with masks, in longer clips"
            )
        structures = tuple(dict.fromkeys(row["structure"] for row in rows))
        metrics = (*OVERLAP, *(SURFACE if self.surface else ()), EMPTY_AS_0)
        n_resamples = self.n_resamples if self.report else 0
        summaries = summarise(rows, metrics, structures, n_resamples, self.seed)
        if self.report:
            flag_films(rows)
            lines = results_table(summaries), flags_note(rows), *([note] if note else [])
            print_log("\n" + "\n".join(lines), logger="current")
            if self.out_dir is not None:
                write_csv(self.out_dir, rows)
                bootstrap = {"n_resamples": self.n_resamples, "seed": self.seed}
                name = self.config_name
                write_json(self.out_dir, summaries, name, bootstrap, given, self.about)
        return _flatten([s for s in summaries if s.instant == s.view == ALL])


def score_clip(sample: dict[str, Any], surface: bool = True, flagged: bool = False) -> ScoredClip:
    """Measure every distinct frame of a predicted clip.

    Args:
        sample: An `EchoDataSample` as a dict, predictions included.
        surface: Measure distances too.
        flagged: Look for what is implausible in each frame too. Its rows then end with
            ``predicted_px``, the prediction's pixels on the native grid, and ``flags``, a list.

    Raises:
        DataError: Masks are missing or do not fit the reference.
    """
    predictions, labels, labelled = case_masks(sample)
    frames = tuple(int(frame) for frame in sample["frames"])
    rows = {}
    for place, frame in enumerate(frames):
        if frame in rows or not labelled[place].any():
            continue
        image = {
            "patient": sample["patient"],
            "view": sample["view"],
            "sequence": sample["sequence"],
            "frame": frame,
            "instant": sample["instants"][place],
            "quality": sample.get("quality"),
        }
        rows[frame] = [
            image
            | {"structure": name}
            | _score(predictions[place, k], labels[place] == k + 1, sample["spacing"], surface)
            for k, name in enumerate(sample["structures"])
            if labelled[place, k]
        ]
        if flagged:
            _flag(rows[frame], sample, place)
    return ScoredClip.of(sample, rows)


def flag_films(rows: Sequence[dict[str, Any]]) -> None:
    """Add to the rows' ``flags`` what is implausible beside the other frames of a film.

    Args:
        rows: One a case with ``predicted_px`` and ``flags``, sorted by film and frame.
    """
    for _, film in groupby(rows, key=lambda row: row["sequence"]):
        frames = [list(group) for _, group in groupby(film, key=lambda row: row["frame"])]
        for name in dict.fromkeys(row["structure"] for frame in frames for row in frame):
            cases = [row for frame in frames for row in frame if row["structure"] == name]
            areas = np.array([[row["predicted_px"]] for row in cases])
            found = film_flags(areas, [name], [row["frame"] for row in cases])
            for row, flags in zip(cases, found, strict=True):
                row["flags"] += flags


def _flag(rows: Sequence[dict[str, Any]], sample: dict[str, Any], place: int) -> None:
    labels, names = predicted_labels(sample, place), sample["structures"]
    areas = dict(zip(names, areas_of(labels, len(names)), strict=True))
    flags = frame_flags(labels, names, sample["spacing"])
    for row in rows:
        row["predicted_px"] = int(areas[row["structure"]])
        row["flags"] = [flag for flag in flags if flag.split(":")[0] == row["structure"]]


def merge_clips(clips: Iterable[ScoredClip]) -> list[dict[str, Any]]:
    """Take every frame of every film once.

    Where clips share a frame, the one counts that `echozoo.datasets.shared_frames.rank` prefers,
    as in inference: a rule that the order of clips, and so the number of processes, does not enter.

    Returns:
        One row a case, sorted by film and frame.
    """
    chosen: dict[tuple[str, int], tuple[tuple, ScoredClip]] = {}
    for clip in clips:
        for frame in clip.rows:
            key, worth = (clip.sequence, frame), rank(clip.frames, frame)
            if key not in chosen or worth < chosen[key][0]:
                chosen[key] = worth, clip
    return [row for key in sorted(chosen) for row in chosen[key][1].rows[key[1]]]


def case_masks(sample: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The predicted and the reference masks of a sample, on the native grid.

    Args:
        sample: An `EchoDataSample` as a dict, predictions included.

    Returns:
        Predictions (T, K, H0, W0), the label map (T, H0, W0), and which structures of which frames
        count (T, K) bool, see `counted_cases`.

    Raises:
        DataError: They are missing or do not fit one another.
    """
    for field in ("pred_masks", "native_labels"):
        if sample.get(field) is None:
            raise DataError(
                f"{sample['sequence']}: the sample has no {field}; test with a dataset in "
                "test_mode and a segmentor in mode 'predict'"
            )
    predictions, labels = to_numpy(sample["pred_masks"]), to_numpy(sample["native_labels"])
    frames, size = labels.shape[:1], labels.shape[1:]
    wanted = (*frames, len(sample["structures"]), *size)
    if predictions.shape != wanted:
        raise DataError(
            f"{sample['sequence']}: pred_masks are {predictions.shape}, wanted {wanted} "
            "(frames, structures, height, width of the reference)"
        )
    return predictions, labels, counted_cases(sample)


def predicted_labels(sample: dict[str, Any], place: int) -> np.ndarray:
    """The prediction of one frame as a label map, on the native grid.

    Args:
        sample: An `EchoDataSample` as a dict, predictions included.
        place: Of the frame in the clip.

    Returns:
        (H0, W0), k for the k-th structure; where masks overlap and there is no ``pred_labels``,
        the first structure's.
    """
    if sample.get("pred_labels") is not None:
        return to_numpy(sample["pred_labels"][place])
    masks = to_numpy(sample["pred_masks"][place])
    return np.where(masks.any(axis=0), masks.argmax(axis=0) + 1, 0)


def _score(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: tuple[float, float] | None,
    surface: bool,
) -> dict[str, Any]:
    status = SCORED
    if not reference.any():
        status = ABSENT
    elif not prediction.any():
        status = EMPTY
    row = {"status": status, "dice": dice(prediction, reference), "iou": iou(prediction, reference)}
    row[EMPTY_AS_0] = 0.0 if status == EMPTY else row["dice"]
    if surface:
        distances = (float("nan"),) * 3
        if spacing is not None:
            distances = surface_distances(prediction, reference, tuple(spacing))
        row.update(zip(SURFACE, (*distances, hd_px(prediction, reference)), strict=True))
    return row


def _flatten(summaries: Sequence[Summary]) -> dict[str, float]:
    # The mean over structures first: a log line begins with what is looked for.
    (overall,) = (summary for summary in summaries if summary.structure == MEAN)
    metrics: dict[str, float] = {name: e.mean for name, e in overall.estimates.items()}
    metrics |= {"num_images": overall.num_images, "num_patients": overall.num_patients}
    for summary in summaries:
        if summary is not overall:
            numbers = {name: e.mean for name, e in summary.estimates.items()}
            numbers |= {"num_empty": summary.num_empty, "num_absent": summary.num_absent}
            metrics |= {f"{summary.structure}/{name}": n for name, n in numbers.items()}
    return metrics
