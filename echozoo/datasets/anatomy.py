"""The vocabulary: structures and their labels in our files, views, instants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, IntEnum

import numpy as np

from echozoo.errors import ConfigError


class Structure(IntEnum):
    """A segmented structure; its value is its label in files that we write (0 is background).

    Attributes:
        short: Name in configs and tables, "lv".
        full_name: Name for people.
        colour: RGB in 0..255, told apart under the common colour deficiencies.
    """

    short: str
    full_name: str
    colour: tuple[int, int, int]

    LV = 1, "lv", "left ventricular cavity", (213, 94, 0)
    MYO = 2, "myo", "left ventricular myocardium", (0, 158, 115)
    LA = 3, "la", "left atrium", (86, 180, 233)

    def __new__(
        cls, value: int, short: str, full_name: str, colour: tuple[int, int, int]
    ) -> Structure:
        """Make the label the member's value, and keep the rest as its attributes."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.short, member.full_name, member.colour = short, full_name, colour
        return member


class View(str, Enum):
    """An apical view; its value is its name in file names."""

    A2C = "2CH"
    A4C = "4CH"

    @property
    def full_name(self) -> str:
        """Name for people."""
        return {"2CH": "apical two-chamber", "4CH": "apical four-chamber"}[self.value]


class Instant(str, Enum):
    """A named moment of the cardiac cycle; its value is its name in file names."""

    ED = "ED"
    ES = "ES"

    @property
    def full_name(self) -> str:
        """Name for people."""
        return {"ED": "end diastole", "ES": "end systole"}[self.value]


STRUCTURES = tuple(structure.short for structure in Structure)
VIEWS = tuple(view.value for view in View)
INSTANTS = tuple(instant.value for instant in Instant)
QUALITIES = ("Good", "Medium", "Poor")


def choose_structures(names: Sequence[str]) -> tuple[Structure, ...]:
    """Look structures up by their short names, in the order of their labels.

    Raises:
        ConfigError: A name is unknown, or there is none.
    """
    unknown = [name for name in names if name not in STRUCTURES]
    if unknown or not names:
        raise ConfigError(f"structures={names!r}: wanted one or more of {', '.join(STRUCTURES)}")
    return tuple(structure for structure in Structure if structure.short in names)


def palette(names: Sequence[str] = STRUCTURES) -> list[tuple[int, int, int]]:
    """RGB colours of the structures with these short names, in the order of their labels."""
    return [structure.colour for structure in choose_structures(names)]


LABEL_VALUES = {structure.short: structure.value for structure in Structure}
UNLABELLED = 255
"""Fills the label map of a frame that has no reference."""


def label_table(names: Sequence[str], label_values: Mapping[str, int] = LABEL_VALUES) -> np.ndarray:
    """A table that turns labels on disk into contiguous ones.

    Args:
        names: Short names of the chosen structures.
        label_values: Of the structures that the files label, their values there.

    Returns:
        (256,) uint8: entry v is k where v is the label of the k-th chosen structure (counted from
        1), and 0 for background and the structures that were not chosen.
    """
    table = np.zeros(256, np.uint8)
    for k, structure in enumerate(choose_structures(names), start=1):
        if structure.short in label_values:
            table[label_values[structure.short]] = k
    return table


def label_values(names: Sequence[str]) -> np.ndarray:
    """The way back: entry k of (K + 1,) uint8 is the label on disk of the k-th chosen structure."""
    return np.array([0, *choose_structures(names)], np.uint8)


def split_labels(labels: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Take a map (H, W) of labels on disk apart: a bool mask by structure."""
    return {structure.short: labels == structure for structure in choose_structures(names)}


def join_masks(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join one or more bool masks (H, W) by structure into a map (H, W) uint8 of labels on disk.

    Where masks overlap, the cavity stands over the myocardium, and both over the atrium.
    """
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for structure in reversed(choose_structures(tuple(masks))):
        labels[masks[structure.short]] = structure
    return labels
