"""What results depend on, as one number: those of the same recipe are not made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import echozoo
from echozoo.apis.outcomes import Task
from echozoo.apis.sources import LABEL_FILE, SUMMARY_FILE
from echozoo.films.apart import apart
from echozoo.films.headers import source_files
from echozoo.models.weight_files import file_sha256


def recipe_of(task: Task, options: Mapping[str, Any]) -> str:
    """A film's content, and all that its results depend on, as SHA-256.

    Args:
        task: The film.
        options: What the results of all films depend on: the model, its weights, its options.

    Raises:
        DataError: The film's file is absent or empty, or a data file of it is.
    """
    if isinstance(task.source, np.ndarray):
        content = [hashlib.sha256(np.ascontiguousarray(task.source)).hexdigest()]
    else:
        files = apart(source_files, Path(task.source))
        content = [file_sha256(file) for file in files]
    own = {"content": content, "spacing": task.spacing, "frame_time_ms": task.frame_time_ms}
    own |= {"mp4": task.mp4, "dicom_seg": task.dicom_seg, "hide": bool(task.hide)}
    told = own | {"echozoo": echozoo.__version__, **options}
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def finished(folder: Path, recipe: str) -> dict | None:
    """The summary of results of this recipe, None where there are none or not all.

    A summary is put in its folder after all else (see `whole_folder`).
    """
    try:
        summary = json.loads((folder / SUMMARY_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(summary, dict) and (folder / LABEL_FILE).is_file()
    return summary if whole and summary.get("recipe") == recipe else None
