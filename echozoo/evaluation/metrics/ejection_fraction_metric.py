"""The metric that tests volumes and ejection fraction against those of the reference masks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from echozoo.errors import ConfigError
from echozoo.evaluation import clinical_report as report
from echozoo.evaluation.functional.disks import Disks, disks
from echozoo.evaluation.functional.ejection_fraction import (
    METHODS,
    PER_PHASE,
    STEPS,
    EjectionFraction,
    ejection_fraction_of_disks,
)
from echozoo.evaluation.metrics.case_metric import CaseMetric, given_note
from echozoo.evaluation.metrics.segmentation_metric import ScoredClip, case_masks, merge_clips
from echozoo.evaluation.patients import info_reference
from echozoo.evaluation.report import origin, write_content, write_rows
from echozoo.registry import METRICS

_INSTANTS = ("ED", "ES")


@dataclass(frozen=True)
class PatientResult:
    """The volumes and EF of one patient, predicted and of the reference masks."""

    patient: str
    predicted: EjectionFraction
    reference: EjectionFraction
    info: EjectionFraction | None = None
    """What the Info files say, if samples bring it; in its ``step`` the convention it follows."""
    predicted_as_info: EjectionFraction | None = None
    """The prediction by that convention."""

    @property
    def measured(self) -> bool:
        """Whether both have an EF."""
        return not math.isnan(self.predicted.ef_percent + self.reference.ef_percent)


@METRICS.register_module()
class EjectionFractionMetric(CaseMetric):
    """EDV, ESV and EF of each patient from predicted LV masks, against the reference masks.

    Stands beside `SegmentationMetric` in a config's ``test_evaluator``. Biplane by the method of
    disks where both views show ED and ES, otherwise single-plane, and named so in the table, the
    files and ``num_biplane``; prediction and reference are always measured the same way. Volumes
    come from the native grid; one of unknown spacing has an EF, a ratio, but no volumes. A patient
    whose prediction shows no ventricle has no EF: it is in no mean, and counted in
    ``num_without_ef``.

    Keys, under ``clinical/``: ``ef_mae_pp ef_bias_pp ef_sd_pp ef_loa_low_pp ef_loa_high_pp ef_r``,
    the same for ``edv_..._ml`` and ``esv_..._ml``, ``num_patients num_biplane num_without_ef``.
    ``pp`` are percentage points. Bias is predicted - reference. Where samples have the meta field
    ``info`` (an `echozoo.datasets.info.Info`), also ``info_ef_mae_pp`` and so on, against what the
    Info files say, in the convention of each patient's Info file.

    Args:
        step: Height of the disks: "per_phase", the clinical one, or "global", that of the script
            published with CAMUS in 2023 (see `echozoo.evaluation.functional.ejection_fraction`).
        report: Show the table of agreement, and write files.
        out_dir: Folder for ``ef.csv`` (one row a patient) and ``ef.json`` (the agreement with
            intervals); None writes nothing. Needs ``report``.
        config_name: Noted in ef.json.
        seed: Of the bootstrap over patients.
        n_resamples: Of the bootstrap over patients.
        prefix: Of the keys; "clinical" if None.

    Raises:
        ConfigError: The step is unknown.
    """

    default_prefix = "clinical"

    def __init__(self, step: str = PER_PHASE, **shared: Any) -> None:
        if step not in STEPS:
            raise ConfigError(f"step={step!r}: wanted one of {', '.join(STEPS)}")
        super().__init__(**shared)
        self.step = step

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure the ED and ES frames of a batch of clips; each leaves exactly one result.

        Raises:
            DataError: Masks are missing or do not fit the reference.
        """
        self.results.extend(section_clip(sample) for sample in data_samples)

    def compute_metrics(self, results: list[ScoredClip]) -> dict[str, float]:
        """Compare the gathered patients, on the first process."""
        rows = merge_clips(results)
        patients = patient_results(rows, self.step)
        informed = [patient for patient in patients if patient.info is not None]
        comparison = self._compare([(p.predicted, p.reference) for p in patients])
        with_info = self._compare([(p.predicted_as_info, p.info) for p in informed])
        methods = Counter(patient.reference.method for patient in patients)
        counts = {
            "num_patients": len(patients),
            "num_biplane": methods["biplane"],
            "num_without_ef": sum(not patient.measured for patient in patients),
        }
        if self.report:
            title = f"predicted against reference masks, {_named(methods)}, step {self.step}"
            print_log(f"\n{report.agreement_table(title, comparison)}", logger="current")
            unseen = {row["patient"] for row in rows} - {one.patient for one in patients}
            for note in (given_note(results)[1], *_without_ef(patients, len(unseen))):
                if note:
                    print_log(note, logger="current")
            if informed:
                title = f"predicted against {informed[0].info.method}, {len(informed)} patients"
                print_log(f"\n{report.agreement_table(title, with_info)}", logger="current")
            if self.out_dir is not None:
                agreement = {"reference_masks": report.as_content(comparison)}
                agreement |= {"info": report.as_content(with_info)} if informed else {}
                self._write(patients, agreement, dict(methods) | counts)
        metrics = report.scalars(comparison) | counts
        if informed:
            metrics |= {f"info_{key}": value for key, value in report.scalars(with_info).items()}
        return metrics

    def _compare(self, pairs: list[tuple[EjectionFraction, EjectionFraction]]) -> dict:
        measured, reference = ([pair[side] for pair in pairs] for side in (0, 1))
        n_resamples = self.n_resamples if self.report else 0
        return report.compare(measured, reference, n_resamples, self.seed)

    def _write(self, patients: list[PatientResult], agreement: dict, counts: dict) -> None:
        folder = Path(self.out_dir)
        rows = []
        for p in patients:
            rows.append(report.side_by_side(p.patient, p.predicted, p.reference))
            if any(other.info for other in patients):
                info = p.info or report.missing("", "")
                rows[-1] |= {f"info_{q.field}": getattr(info, q.field) for q in report.QUANTITIES}
                rows[-1] |= {"info_step": info.step}
        write_rows(folder / "ef.csv", rows)
        content = {
            "config": self.config_name,
            **origin(),
            "definitions": report.DEFINITIONS,
            "step": self.step,
            "patients": counts,
            "agreement": agreement,
        }
        write_content(folder / "ef.json", content)


def section_clip(sample: dict[str, Any]) -> ScoredClip:
    """Cut the LV of a clip's ED and ES frames into disks, predicted and reference.

    Args:
        sample: An `EchoDataSample` as a dict, predictions included.

    Returns:
        The clip; a frame's row holds ``prediction`` and ``reference`` as `Disks`. Without frames
        where it shows no ED or ES with a labelled LV.

    Raises:
        DataError: Masks are missing or do not fit the reference.
    """
    predictions, labels, labelled = case_masks(sample)
    frames = tuple(int(frame) for frame in sample["frames"])
    rows: dict[int, list[dict[str, Any]]] = {}
    if "lv" in sample["structures"]:
        # Of unknown spacing a pixel stands for a millimetre: EF does not depend on it.
        spacing = sample["spacing"] or (1.0, 1.0)
        lv = sample["structures"].index("lv")
        for place, (frame, instant) in enumerate(zip(frames, sample["instants"], strict=True)):
            if instant in _INSTANTS and frame not in rows and labelled[place, lv]:
                rows[frame] = [
                    {
                        "patient": sample["patient"],
                        "view": sample["view"],
                        "instant": instant,
                        "info": sample.get("info"),
                        "scaled": sample["spacing"] is not None,
                        "prediction": disks(predictions[place, lv], spacing),
                        "reference": disks(labels[place] == lv + 1, spacing),
                    }
                ]
    return ScoredClip.of(sample, rows)


def patient_results(rows: Iterable[dict[str, Any]], step: str) -> list[PatientResult]:
    """Put the sections of each patient together.

    A view counts where the reference shows a ventricle at ED and at ES, one of unknown spacing
    where no other does; a patient without such a view is left out.

    Args:
        rows: As `section_clip` makes them.
        step: "per_phase" or "global".

    Returns:
        Sorted by name.
    """
    patients: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in rows:
        patients.setdefault(row["patient"], {})[row["view"], row["instant"]] = row
    results = []
    for patient, found in sorted(patients.items()):
        scaled = {key: row for key, row in found.items() if row["scaled"]}
        views = [_pairs(scaled or found, view) for view in ("2CH", "4CH")]
        if not any(views):
            continue

        def measured(side: str, step: str, views=views, has_volumes=bool(scaled)):
            ef = ejection_fraction_of_disks(*(view and view[side] for view in views), step=step)
            return ef if has_volumes else ef._replace(edv_ml=math.nan, esv_ml=math.nan)

        predicted, reference = (measured(side, step) for side in ("prediction", "reference"))
        info = info_reference([row["info"] for row in found.values() if row["info"]])
        as_info = info and measured("prediction", info.step)
        results.append(PatientResult(patient, predicted, reference, info, as_info))
    return results


def _pairs(found: dict, view: str) -> dict[str, tuple[Disks, Disks]] | None:
    rows = [found.get((view, instant)) for instant in _INSTANTS]
    if any(row is None or math.isnan(row["reference"].length_mm) for row in rows):
        return None
    return {side: tuple(row[side] for row in rows) for side in ("prediction", "reference")}


def _without_ef(patients: list[PatientResult], unseen: int) -> Iterator[str]:
    """Say how many patients have no EF, and why: a table without them looks as good as any."""
    if count := sum(not patient.measured for patient in patients):
        yield (
            f"no EF, since no ventricle is predicted at ED or at ES: {count} of {len(patients)}"
            " patients; they are in no number above"
        )
    if unseen:
        yield f"left out, since no reference shows a ventricle at ED and ES: {unseen} patients"


def _named(methods: Counter[str]) -> str:
    counted = [f"{methods[name]} {name}" for name in METHODS if methods[name]]
    return ", ".join(counted) or "no patient with ED and ES"
