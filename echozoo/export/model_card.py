"""The page that goes with published weights: what they are, and what they are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echozoo.apis.model import LoadedModel
from echozoo.datasets.anatomy import choose_structures
from echozoo.evaluation.functional.aggregate import ALL
from echozoo.models.weight_files import file_sha256

_DECIMALS = 3
_USE = (
    "Research. **Not for diagnosis**, nor for any decision about a patient. Not a medical device."
)
_SHOWN = ("dice", "iou", "hd_mm", "hd95_mm", "assd_mm")


def model_card(
    loaded: LoadedModel, weights: Path, metadata: Mapping[str, str], results: Mapping[str, Any]
) -> str:
    """Write the card of a published model.

    Args:
        loaded: The model.
        weights: Its safetensors file.
        metadata: The texts in that file.
        results: What ``results.json`` holds; empty where the model was not tested.
    """
    sections = {
        "Intended use": _USE,
        "Use": _commands(metadata["name"], weights.name),
        "Input and output": _format(loaded),
        "Parameters": _parameters(loaded),
        "Training": _training(metadata),
        "Metrics": metrics_text(results) if results else "Not measured.",
        "Limits": _limits(metadata["training_data"]),
        "Licence": f"Weights: {metadata['licence']}.\n\nThe code of echozoo: Apache-2.0.",
        "Verify": _verification(weights, metadata),
    }
    head = (
        f"# {metadata['name']}\n\nSegments {_structures(loaded)} in echocardiograms. Published "
        f"with echozoo {metadata['echozoo_version']} on {metadata['date'][:10]}."
    )
    return (
        "\n\n".join([head, *(f"## {title}\n\n{text}" for title, text in sections.items())]) + "\n"
    )


def _commands(name: str, weights: str) -> str:
    return (
        f"```bash\nechozoo infer {weights} FILM -o out\n"
        f"echozoo serve {weights}\n"
        f"echozoo test {name}.py {weights} --data-root CAMUS\n"
        f"echozoo export {name}.py {weights} -o onnx/\n```\n\n"
        "The config is a Python file and runs as such: read it before you use one that you do not "
        "trust. Reading the weights runs nothing."
    )


def _structures(loaded: LoadedModel) -> str:
    return ", ".join(part.full_name for part in choose_structures(loaded.structures))


def _format(loaded: LoadedModel) -> str:
    height, width = loaded.input_size
    scaling = loaded.model.data_preprocessor
    mean, std = (", ".join(f"{v:g}" for v in t.flatten()) for t in (scaling.mean, scaling.std))
    aspect = (
        "its longer side fitted, zeros at the bottom or right"
        if loaded.keep_aspect
        else "stretched to that size"
    )
    clips = loaded.model.sees == "clip"
    frames = "frames of one clip together, in order" if clips else "any frames"
    kinds = ", ".join(loaded.prompts)
    stretched = "each frame stretched to 0..255, then " if scaling.minmax else ""
    prompts = f"{kinds}, (x, y) in pixels of the input" if kinds else "none"
    return (
        f"- images: grey values 0..255, {height} x {width} pixels, {aspect}\n"
        f"- scaling: {stretched}(value - {mean}) / {std}\n"
        f"- frames: {frames}\n- prompts: {prompts}\n"
        f"- output: a mask each of {' '.join(loaded.structures)}"
    )


def _parameters(loaded: LoadedModel) -> str:
    sizes = [(p.numel(), p.requires_grad) for p in loaded.model.parameters()]
    total, trainable = sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)
    return f"{total:,}, of which {trainable:,} train."


def _training(metadata: Mapping[str, str]) -> str:
    return (
        f"- data: {metadata['training_data']}\n- started from: {metadata['started_from']}\n"
        f"- checkpoint: {metadata['checkpoint']}"
    )


def metrics_text(results: Mapping[str, Any]) -> str:
    """Lay out what ``results.json`` holds as a table, with what the numbers mean.

    Raises:
        KeyError, IndexError, TypeError: It holds something else.
    """
    overall = [s for s in results["summaries"] if s["instant"] == s["view"] == ALL]
    metrics = [metric for metric in _SHOWN if metric in overall[0]["estimates"]]
    rows = [
        "| structure | images | patients | empty | " + " | ".join(metrics) + " |",
        "|---|--:|--:|--:|" + "--:|" * len(metrics),
    ]
    for summary in overall:
        cells = [_cell(summary["estimates"][metric]) for metric in metrics]
        counts = [summary[key] for key in ("num_images", "num_patients", "num_empty")]
        rows.append(f"| {' | '.join(map(str, (summary['structure'], *counts, *cells)))} |")
    definitions = results.get("definitions", {})
    meaning = [f"- {metric}: {definitions[metric]}" for metric in metrics if metric in definitions]
    note = (
        f"Measured on {results['date'][:10]} by\n`{results['command']}`:\n"
        "means over images with 95 % bootstrap intervals over patients. Empty predictions and "
        "absent structures are in no mean. Every instant and view: metadata of the weights."
    )
    return "\n".join([*rows, "", *meaning, "", note])


def _cell(estimate: Mapping[str, float | None]) -> str:
    mean, low, high = (estimate.get(key) for key in ("mean", "low", "high"))
    if mean is None:
        return "-"
    interval = "" if None in (low, high) else f" ({low:.{_DECIMALS}f}-{high:.{_DECIMALS}f})"
    return f"{mean:.{_DECIMALS}f}{interval}"


def _limits(data: str) -> str:
    return (
        f"- Trained on {data.partition(';')[0]}: other scanners, views, ages and diseases were not "
        "looked at.\n- Metrics with prompts are those of prompts made from the reference masks.\n"
        "- A mask may come out of an image that shows no heart."
    )


def _verification(weights: Path, metadata: Mapping[str, str]) -> str:
    return (
        f"`echozoo publish --verify {weights.name}`\n\n"
        f"- SHA-256 of the file: `{file_sha256(weights)}`\n"
        f"- SHA-256 of the weights: `{metadata['weights_sha256']}` "
        "(defined at the head of `echozoo/export/weights_file.py`)"
    )
