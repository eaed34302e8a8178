from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from echozoo.apis.measuring import measure_film, measure_frame
from echozoo.films.film import open_film

SPACING = (2.0, 1.0)


def ellipse(scale: float) -> np.ndarray:
    rows, columns = np.indices((60, 90))
    return ((rows - 30) / 22) ** 2 + ((columns - 45) / 30) ** 2 < scale**2


def measured(scales: list[float | None], structures=("lv", "la"), spacing=SPACING):
    """Measures of ellipses of these sizes; None is a frame that nobody segmented."""
    film = open_film(np.zeros((len(scales), 60, 90), np.uint8), spacing)
    frames = [
        None if s is None else measure_frame(ellipse(s).astype(np.uint8), structures, spacing)
        for s in scales
    ]
    return measure_film(film, structures, frames)


def test_a_structure_that_is_lost_has_no_area_and_one_nobody_looked_for_no_number() -> None:
    labels = ellipse(1).astype(np.uint8)
    sought = measure_frame(labels, ("lv", "la"), SPACING)
    np.testing.assert_array_equal(sought.pixels, [labels.sum(), 0])
    other = measure_frame(labels, ("lv", "la"), SPACING, sought=("la",))
    np.testing.assert_array_equal(other.pixels, [np.nan, 0])
    assert sought.disks is not None
    assert other.disks is None


def test_instants_are_frames_that_show_a_ventricle() -> None:
    measures = measured([1, None, 0.9, None, None, 0.6, None])
    assert (measures.ed, measures.es) == (0, 5)
    assert measures.ef.ef_percent == pytest.approx(100 * (1 - 0.6**3), abs=3)
    assert np.isnan(measures.areas[1]).all()
    assert [measures.instant(frame) for frame in (0, 1, 5)] == ["ED", "", "ES"]
    lost = measured([1, 0.9, 0.8, 0.7, 0])
    assert (lost.ed, lost.es) == (0, 3)


def test_one_frame_alone_has_no_instants() -> None:
    measures = measured([None, 1, None])
    assert measures.ed is measures.es is measures.ef is None
    assert "1 frames of 3 show a ventricle" in measures.notes[0]
    still = measured([1])
    assert still.ed_disks is still.es_disks is not None


def test_jumps_are_told_beside_neighbours_that_were_segmented() -> None:
    jump = measured([1, 0.5, 1, None, 1]).flags
    assert ["lv:area_jump" in flags for flags in jump] == [False, True, False, False, False]
    assert jump[3] == []


def test_the_table_counts_from_0_and_leaves_cells_without_a_number_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(measured([1, None, 0.5]).table())))
    assert [row["frame"] for row in rows] == ["0", "1", "2"]
    assert float(rows[0]["lv_area_cm2"]) == pytest.approx(ellipse(1).sum() * 2 / 100, rel=1e-5)
    assert (rows[1]["lv_area_cm2"], rows[1]["lv_volume_ml"]) == ("", "")
    assert float(rows[0]["la_area_cm2"]) == 0
    pixels = measured([1, 0.5], ("lv",), None)
    assert pixels.table().splitlines()[0] == "frame,time_ms,instant,lv_area_px2,flags"
    assert pixels.ef is None
