"""The best and the worst images of a test, kept while it runs and written as pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from echozoo.evaluation.functional.overlap import dice
from echozoo.structures import EchoDataSample
from echozoo.visualization.film import comparison, display_size

INDEX = "cases.json"


@dataclass(frozen=True)
class Case:
    """One image of a test, with what a picture of it needs."""

    meta: EchoDataSample
    """The clip's sample without its tensors."""
    frame: int
    instant: str
    image: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    counted: Sequence[bool]
    """Which structures are measured."""
    dice: dict[str, float]
    """For each structure of the reference; 0 where the prediction is empty."""

    @property
    def score(self) -> float:
        """Mean Dice of the image's structures."""
        return sum(self.dice.values()) / len(self.dice)

    @property
    def name(self) -> tuple[str, int]:
        """The film and the frame."""
        return self.meta.sequence, self.frame

    def picture(self, height: int) -> np.ndarray:
        """Draw reference and prediction side by side, (H, W, 3) uint8."""
        size = display_size(self.meta.native_size, self.meta.spacing, height)
        return comparison(
            self.image,
            self.reference,
            self.prediction,
            self.meta.structures,
            size,
            f"{self.meta.patient} · {self.meta.view}",
            f"frame {self.frame}" + (f" · {self.instant}" if self.instant else ""),
            self.counted,
        )


class ExtremeCases:
    """The images with the highest and the lowest mean Dice, at most one a film at either end.

    No more than 2 ``count`` images are held at a time.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._best: dict[str, Case] = {}
        self._worst: dict[str, Case] = {}

    def offer(
        self,
        meta: EchoDataSample,
        frame: int,
        instant: str,
        image: np.ndarray,
        reference: np.ndarray,
        prediction: np.ndarray,
        counted: Sequence[bool],
    ) -> None:
        """Keep an image if it belongs here; one whose reference is empty never does.

        Args:
            meta: The clip's sample without its tensors.
            frame: Place in the film.
            instant: "ED", "ES" or "".
            image: Gray levels (h, w) uint8, of any resolution.
            reference: Label map (H0, W0).
            prediction: Label map (H0, W0).
            counted: Which of the K structures are measured.
        """
        scores = {
            name: np.nan_to_num(dice(prediction == k, reference == k)).item()
            for k, name in enumerate(meta.structures, start=1)
            if counted[k - 1] and (reference == k).any()
        }
        if self.count and scores:
            # Copies: what comes are views, which would keep their whole clips.
            arrays = image.copy(), reference.copy(), prediction.copy()
            self._keep(Case(meta, frame, instant, *arrays, counted, scores))

    def join(self, others: Iterable[ExtremeCases]) -> None:
        """Take in what other processes have kept."""
        for other in others:
            for case in (*other._best.values(), *other._worst.values()):
                self._keep(case)

    def write(self, folder: Path, height: int) -> None:
        """Write ``best_1.png`` …, ``worst_1.png`` …, and ``cases.json``, which says what they are.

        Args:
            folder: Made where it is absent; pictures of an earlier test are removed.
            height: Height of a panel in pixels.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("best_*.png"), *folder.glob("worst_*.png")):
            old.unlink()
        worst = sorted(self._worst.values(), key=_from_worst)
        shown = {case.name for case in worst}  # of a small test set, not everything twice
        best = sorted((c for c in self._best.values() if c.name not in shown), key=_from_best)
        index = []
        for kind, cases in (("worst", worst), ("best", best)):
            for rank, case in enumerate(cases, start=1):
                file = f"{kind}_{rank}.png"
                Image.fromarray(case.picture(height)).save(folder / file)
                index.append(_entry(kind, file, case))
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def _keep(self, case: Case) -> None:
        for kept, order in ((self._best, _from_best), (self._worst, _from_worst)):
            rival = kept.get(case.meta.sequence, case)
            kept[case.meta.sequence] = min(rival, case, key=order)
            if len(kept) > self.count:
                del kept[max(kept, key=lambda name: order(kept[name]))]


def _from_best(case: Case) -> tuple:
    return -case.score, *case.name


def _from_worst(case: Case) -> tuple:
    return case.score, *case.name


def _entry(kind: str, file: str, case: Case) -> dict:
    return {
        "kind": kind,
        "file": file,
        "patient": case.meta.patient,
        "view": case.meta.view,
        "sequence": case.meta.sequence,
        "frame": case.frame,
        "instant": case.instant,
        "quality": case.meta.get("quality"),
        "mean_dice": round(case.score, 6),
        "dice": {name: round(value, 6) for name, value in case.dice.items()},
    }
