"""Who a phantom's patients are, whatever files they are written into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echozoo.errors import ConfigError
from echozoo.phantom.anatomy import Ventricle, draw_ventricle
from echozoo.phantom.artefacts import QUALITIES, draw_quality
from echozoo.phantom.film import PhantomFilm, render_film

VIEWS = ("2CH", "4CH")
SUBSETS = ("training", "validation", "testing")


@dataclass(frozen=True)
class PhantomOptions:
    """What decides every byte of a phantom.

    Attributes:
        patients: Number of patients, at least 3 (one for each subset).
        seed: Seed; patient k is the same whatever the number of patients.
        spacing: Side of a pixel, mm.
        frames: Least and greatest number of frames in a film.
        quality: "Good", "Medium" or "Poor" for all films; None draws them as often as CAMUS has
            them.
        flicker: Whether wall dropouts and shadows come and go frame by frame, rather than fade
            over a good part of the film.
        layout: Of the files: "camus", "echonet" or "hmc_qu".
    """

    patients: int
    seed: int = 0
    spacing: float = 0.6
    frames: tuple[int, int] = (10, 24)
    quality: str | None = None
    flicker: bool = False
    layout: str = "camus"

    def __post_init__(self) -> None:
        if self.patients < 3:
            raise ConfigError(
                f"--patients {self.patients}: wanted 3 or more, one for each subset at least"
            )
        if not 2 <= self.frames[0] <= self.frames[1]:
            raise ConfigError(
                f"--frames {self.frames[0]} {self.frames[1]}: wanted 2 <= LOW <= HIGH"
            )
        if not 0.2 <= self.spacing <= 3:
            raise ConfigError(f"--spacing {self.spacing}: wanted 0.2 to 3 mm")
        if self.quality not in (None, *QUALITIES):
            raise ConfigError(f"--quality {self.quality}: wanted one of {', '.join(QUALITIES)}")
        if self.layout not in ("camus", "echonet", "hmc_qu"):
            raise ConfigError(f"--layout {self.layout}: wanted camus, echonet or hmc_qu")


def patient_name(number: int) -> str:
    """CAMUS's name of a patient, ``patient0001`` for 1."""
    return f"patient{number:04d}"


def split_patients(options: PhantomOptions) -> dict[str, list[int]]:
    """Seeded 7:1:2 split, at least one patient in each subset."""
    total = options.patients
    order = np.random.default_rng([options.seed, 0]).permutation(total) + 1
    testing, validation = max(1, round(0.2 * total)), max(1, round(0.1 * total))
    parts = np.split(order, [total - validation - testing, total - testing])
    return {subset: sorted(part.tolist()) for subset, part in zip(SUBSETS, parts, strict=True)}


@dataclass(frozen=True)
class PatientCard:
    """What the Info files say of a patient, and how each view is filmed."""

    sex: str
    age: int
    reversed: bool
    frames: dict[str, int]
    quality: dict[str, str]


def draw_patient(number: int, options: PhantomOptions) -> tuple[Ventricle, PatientCard]:
    """Draw a patient's ventricle and Info entries.

    One patient in eight is filmed from ES to ED, as some of CAMUS's are.

    Args:
        number: From 1 on.
        options: The phantom's.
    """
    rng = np.random.default_rng([options.seed, number])
    ventricle = draw_ventricle(rng)
    low, high = options.frames
    frames = int(rng.integers(low, high + 1))
    card = PatientCard(
        sex=str(rng.choice(["F", "M"])),
        age=int(np.clip(rng.normal(65, 15), 18, 93)),
        reversed=(number + options.seed) % 8 == 3,
        frames={view: int(np.clip(frames + rng.integers(-1, 2), low, high)) for view in VIEWS},
        quality={view: options.quality or draw_quality(view, rng) for view in VIEWS},
    )
    return ventricle, card


def film_patient(number: int, options: PhantomOptions, view: str) -> PhantomFilm:
    """Film one view of a patient from ED to ES.

    Args:
        number: From 1 on.
        options: The phantom's.
        view: One of `VIEWS`.
    """
    ventricle, card = draw_patient(number, options)
    rng = np.random.default_rng([options.seed, number, VIEWS.index(view)])
    frames, quality = card.frames[view], card.quality[view]
    return render_film(ventricle, view, frames, options.spacing, quality, rng, options.flicker)
