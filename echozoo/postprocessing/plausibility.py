"""Flags for frames whose label map cannot be a heart's: looked for without a reference.

A flag is a short code, "<structure>:<what>"; `MEANINGS` says in words what each is, with its
threshold and where that is from. None of them is raised by 412 references of CAMUS (203
patients, ED and ES).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echozoo.postprocessing.regions import component_sizes, holes

OPEN_CAVITY = 0.4
"""Share of the left ventricle's outline against background, at most: N. Painchaud et al., IEEE TMI
2022 (vital's anatomical checks). In CAMUS's references it is below 0.01 with the left atrium among
the structures, 0.06 to 0.21 without: the base is open then."""
WALL_AT_ATRIUM = 0.11
"""Share of the myocardium's outline against the left atrium, at most: from the same source. In
CAMUS's references it is below 0.05."""
AREA_JUMP = 0.1
"""Distance of an area from the mean of its neighbours', as a share of the film's median area.
In the references that Painchaud et al. examined, the largest was 0.70 cm² (left ventricle) and
0.62 cm² (myocardium); their smallest areas are 9 and 11 cm². A tenth is more than that in any film.
"""

MEANINGS = {
    "components": "in several pieces",
    "holes": "background enclosed by the structure",
    "empty": "not found in this frame, but in others of the film",
    "area_jump": f"area further than {AREA_JUMP:.0%} of the film's median from the mean of the "
    "frames before and after",
    "open": f"more than {OPEN_CAVITY:.0%} of the cavity's outline lies against background",
    "at_atrium": f"more than {WALL_AT_ATRIUM:.0%} of the wall's outline lies against the atrium",
}
"""What stands behind the colon of a flag, in words."""


def flags(
    label_maps: np.ndarray,
    structures: Sequence[str],
    spacing: tuple[float, float] | None = None,
    frames: Sequence[int] | None = None,
) -> list[list[str]]:
    """Flag what is implausible in each frame of a film.

    Args:
        label_maps: (T, H, W), k for the k-th structure, 0 for background. T = 1 is legal.
        structures: The K short names, "lv", "myo", "la" or some of them.
        spacing: (dy, dx) of a pixel, for the lengths of outlines; square where None.
        frames: The T places in the film; 0, 1, … where None. Areas are compared between direct
            neighbours only.

    Returns:
        For each frame its flags, such as ``["lv:components", "la:empty"]``; mostly an empty list.
    """
    label_maps = np.asarray(label_maps)
    places = range(len(label_maps)) if frames is None else frames
    areas = np.array([areas_of(labels, len(structures)) for labels in label_maps])
    of_film = film_flags(areas, structures, places)
    return [
        frame_flags(labels, structures, spacing) + more
        for labels, more in zip(label_maps, of_film, strict=True)
    ]


def areas_of(labels: np.ndarray, num_structures: int) -> np.ndarray:
    """Pixels (K,) of each structure in a label map (H, W)."""
    return np.bincount(labels.ravel(), minlength=num_structures + 1)[1 : num_structures + 1]


def frame_flags(
    labels: np.ndarray, structures: Sequence[str], spacing: tuple[float, float] | None = None
) -> list[str]:
    """Flag what is implausible in one frame by itself; see `flags`."""
    names = list(structures)
    masks = np.stack([labels == k for k in range(1, len(names) + 1)])
    pieces = {name for name, m in zip(names, masks, strict=True) if len(component_sizes(m)[1]) > 1}
    found = [f"{name}:components" for name in names if name in pieces]
    with_holes = {index for _, index in holes(masks, names)}
    found += [f"{name}:holes" for k, name in enumerate(names) if k in with_holes]
    borders = frontiers(labels, len(names) + 1, spacing or (1.0, 1.0))
    if "lv" in names and _share(borders, names.index("lv") + 1, 0) > OPEN_CAVITY:
        found.append("lv:open")
    if {"myo", "la"} <= set(names):
        share = _share(borders, names.index("myo") + 1, names.index("la") + 1)
        if share > WALL_AT_ATRIUM:
            found.append("myo:at_atrium")
    return found


def film_flags(
    areas: np.ndarray, structures: Sequence[str], frames: Sequence[int]
) -> list[list[str]]:
    """Flag what is implausible beside the other frames of a film.

    Args:
        areas: (T, K) of each structure in each frame, in any unit.
        structures: The K short names.
        frames: The T places in the film.

    Returns:
        For each frame its flags. The first and the last frame have one neighbour and so no jump.
    """
    areas = np.asarray(areas, dtype=float).reshape(len(frames), len(structures))
    place = {frame: row for row, frame in enumerate(frames)}
    found: list[list[str]] = [[] for _ in frames]
    for k, name in enumerate(structures):
        area = areas[:, k]
        if not area.any():
            continue
        typical = np.median(area[area > 0])
        for row, frame in enumerate(frames):
            if area[row] == 0:
                found[row].append(f"{name}:empty")
            elif frame - 1 in place and frame + 1 in place:
                before, after = area[place[frame - 1]], area[place[frame + 1]]
                # A neighbour that lost the structure is flagged itself.
                if min(before, after) > 0:
                    jump = abs(area[row] - (before + after) / 2)
                    if jump > AREA_JUMP * typical:
                        found[row].append(f"{name}:area_jump")
    return found


def frontiers(labels: np.ndarray, count: int, spacing: tuple[float, float]) -> np.ndarray:
    """Lengths of the borders between the regions of a label map.

    Args:
        labels: (H, W), values below ``count``.
        count: C, number of labels with background.
        spacing: (dy, dx) of a pixel.

    Returns:
        (C, C), symmetric, in the spacing's unit, along the edges of pixels; diagonal 0. The edge of
        the image is no border.
    """
    labels = labels.astype(np.intp)
    total = np.zeros((count, count))
    dy, dx = spacing
    for one, other, length in (
        (labels[:, :-1], labels[:, 1:], dy),
        (labels[:-1], labels[1:], dx),
    ):
        pairs = np.bincount((one * count + other).ravel(), minlength=count**2)
        total += length * pairs.reshape(count, count)
    total += total.T
    np.fill_diagonal(total, 0)
    return total


def _share(borders: np.ndarray, label: int, other: int) -> float:
    outline = borders[label].sum()
    return borders[label, other] / outline if outline else 0.0
