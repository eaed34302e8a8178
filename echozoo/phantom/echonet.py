"""Generated patients in the layout of EchoNet-Dynamic: videos of 112 x 112 pixels and tracings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np

from echozoo.films.video_writer import write_video
from echozoo.phantom.patients import (
    PhantomOptions,
    draw_patient,
    film_patient,
    patient_name,
    split_patients,
)
from echozoo.whole_files import written_whole

PARTS = ("Videos", "FileList.csv", "VolumeTracings.csv", ".rows")
SIDE, RATE = 112, 50
_CHORDS = 20
_SUBSETS = {"training": "TRAIN", "validation": "VAL", "testing": "TEST"}
_FILES = ("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames")


def place(root: str | Path, number: int) -> Path:
    """What is there where a patient is written: its rows of the tables."""
    return Path(root) / ".rows" / f"{patient_name(number)}.json"


def prepare(root: Path, options: PhantomOptions) -> None:
    """Nothing: the tables come last."""


def write_patient(root: str | Path, number: int, options: PhantomOptions) -> None:
    """Film the four-chamber view: some filling, a contraction, and back to ED.

    Args:
        root: The phantom's folder.
        number: From 1 on.
        options: The phantom's.
    """
    name, film = patient_name(number), film_patient(number, options, "4CH")
    ventricle, card = draw_patient(number, options)
    last, before = len(film.images) - 1, number % 3
    order = [*range(before, 0, -1), *range(last + 1), *range(last - 1, -1, -1)]
    traced = {before: 0, before + last: last}
    if card.reversed:  # of another beat: ES comes first
        traced = {before + last: last, before + 2 * last: 0}
    frames = np.stack([_small(one, cv2.INTER_AREA) for one in film.images])
    write_video(Path(root) / "Videos" / f"{name}.avi", frames[order], RATE)
    rows = [
        [f"{name}.avi", *chord, frame]
        for frame, k in sorted(traced.items(), key=lambda item: -item[1])  # the small one first
        for chord in trace(_small((film.labels[k] == 1).astype(np.uint8), cv2.INTER_NEAREST))
    ]
    numbers = (ventricle.ejection_fraction, ventricle.esv, ventricle.edv)
    listed = [name, *(round(one, 3) for one in numbers), SIDE, SIDE, RATE, len(order)]
    place(root, number).parent.mkdir(exist_ok=True)
    with written_whole(place(root, number)) as part:
        part.write_text(json.dumps({"listed": listed, "traced": rows}), "utf-8")


def finish(root: Path, options: PhantomOptions) -> None:
    """Put the rows of all patients into the two tables."""
    subsets = {k: _SUBSETS[name] for name, them in split_patients(options).items() for k in them}
    listed, traced = [[*_FILES, "Split"]], [["FileName", "X1", "Y1", "X2", "Y2", "Frame"]]
    for number in range(1, options.patients + 1):
        rows = json.loads(place(root, number).read_text())
        listed.append([*rows["listed"], subsets[number]])
        traced += rows["traced"]
    for name, rows in (("FileList.csv", listed), ("VolumeTracings.csv", traced)):
        with written_whole(root / name) as part, part.open("w", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def trace(mask: np.ndarray) -> list[list[float]]:
    """Trace a ventricle as EchoNet's readers do: its long axis, then 20 chords across it.

    Args:
        mask: (H, W), one region.

    Returns:
        21 rows (X1, Y1, X2, Y2), from the apex down.
    """
    y, x = np.nonzero(mask)
    points = np.stack([x, y], axis=1).astype(float)
    centre = points.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((points - centre).T))
    axis = axes[:, 1] * np.sign(axes[1, 1] or 1)  # downwards
    normal = np.array([axis[1], -axis[0]])
    along, across = (points - centre) @ axis, (points - centre) @ normal
    ends = [centre + end * axis for end in (along.min(), along.max())]
    rows = [[*ends[0], *ends[1]]]
    for step in np.linspace(along.min() + 0.5, along.max() - 0.5, _CHORDS):
        near = across[np.abs(along - step) <= 1.0]
        sides = [centre + step * axis + side * normal for side in (near.min(), near.max())]
        rows.append([*sides[0], *sides[1]])
    return [[round(float(value), 4) for value in row] for row in rows]


def _small(image: np.ndarray, how: int) -> np.ndarray:
    return cv2.resize(image, (SIDE, SIDE), interpolation=how)
