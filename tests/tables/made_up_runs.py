"""What runs leave behind, made up."""

from __future__ import annotations

from echozoo.evaluation.report import write_content, write_rows
from echozoo.tables.record import RunRecord
from echozoo.tables.runs import Run


def results(dice: dict[tuple[str, int, str], float | None], absent: tuple = ()) -> list[dict]:
    """Rows of results.csv: Dice by patient, frame and structure; None is an empty prediction."""
    return [
        {
            "patient": patient,
            "view": "4CH",
            "sequence": f"{patient}_4CH",
            "frame": frame,
            "instant": "ED",
            "structure": structure,
            "status": "absent" if key in absent else "scored" if value is not None else "empty",
            "dice": float("nan") if value is None else value,
            "dice_with_empty_as_0": 0.0 if value is None else value,
        }
        for key, value in dice.items()
        for patient, frame, structure in [key]
    ]


def films(bad: dict[str, tuple[int, int] | None]) -> list[dict]:
    """Rows of temporal.csv: inconsistent frames of frames by patient; None is not judged."""
    return [
        {
            "patient": patient,
            "view": "4CH",
            "sequence": f"{patient}_4CH",
            "frames": counts[1] if counts else 2,
            "unjudged": "" if counts else "of fewer than three frames (stills)",
            "inconsistent_frames": float(counts[0]) if counts else float("nan"),
        }
        for patient, counts in bad.items()
    ]


def write_run(run: Run, rows: list[dict], temporal: list[dict] = (), **changes: object) -> None:
    """Leave behind what a tested run leaves."""
    record = {
        "config": str(run.config),
        "scale": run.scale,
        "seed": run.seed,
        "data": run.data_name,
        "dataset": list(run.dataset),
        "cfg_options": [],
        "amp": None,
        "starts_from": None,
        "fingerprint": run.fingerprint,
        "parameters": 1234567,
        "trainable": 1000,
        "train_command": "python tools/train.py toy.py",
        "test_command": "python tools/test.py toy.py RUN",
        "started": "2024-01-01T00:00:00+00:00",
        "train_seconds": 5400.0,
        "hardware": "An abacus, 2 cores",
        "trained": True,
        "trained_until": "epoch_50",
        "tested": True,
    } | changes
    RunRecord(**record).save(run.folder)
    write_rows(run.folder / "results.csv", rows)
    write_content(run.folder / "results.json", {"summaries": []})
    if temporal:
        write_rows(run.folder / "temporal.csv", temporal)
