from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from echozoo.apis.measuring import measure_film, measure_frame
from echozoo.evaluation.functional import geometry
from echozoo.films.film import open_film

SPACING = (2.0, 1.0)


def ellipse(scale: float) -> np.ndarray:
    rows, columns = np.indices((60, 90))
    return ((rows - 30) / 22) ** 2 + ((columns - 45) / 30) ** 2 < scale**2


def measured(
    scales: list[float | None],
    structures=("lv", "la"),
    spacing=SPACING,
    name="p_4CH",
    instants=(None, None),
):
    """Measures of ellipses of these sizes; None is a frame that nobody segmented."""
    film = open_film(np.zeros((len(scales), 60, 90), np.uint8), spacing)
    film.name = name
    frames = [
        None if s is None else measure_frame(ellipse(s).astype(np.uint8), structures, spacing)
        for s in scales
    ]
    return measure_film(film, structures, frames, instants=instants)


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


def test_without_spacing_the_fraction_stands_and_the_volumes_do_not() -> None:
    known, unknown = (measured([1, 0.8, 0.6], spacing=one) for one in ((1.5, 1.5), None))
    assert unknown.ef.ef_percent == pytest.approx(known.ef.ef_percent)
    assert np.isnan([unknown.ef.edv_ml, unknown.ef.esv_ml]).all()
    assert unknown.volumes_ml is None
    assert "without ml" in unknown.notes[-1]


def test_the_median_of_several_beats() -> None:
    """Beats down to .7, .6 and .8, with halves of others at both ends."""
    scales = [0.8]
    for least in (0.7, 0.6, 0.8):
        scales += [0.9, 0.97, 1, 1, 1, 0.96, 0.9, *([(0.9 + least) / 2] * 2), *([least] * 3)]
    scales += [0.85, 0.9, 0.97, 1, 1, 1, 0.9]
    found = measured(scales)
    efs = [beat.ef.ef_percent for beat in found.beats]
    wanted = [100 * (1 - least**3) for least in (0.7, 0.6, 0.8)]
    np.testing.assert_allclose(efs, wanted, atol=4)
    assert found.ef.ef_percent == np.median(efs)
    assert found.beats[0].ed == found.ed
    assert any(note.startswith("3 beats, EF ") for note in found.notes)


@pytest.mark.parametrize(
    ("scales", "name", "reason"),
    [
        ([1, 0.9, 0.6], "p_4CH", ""),
        ([1, 0.7, 0.35], "p_4CH", "impossible"),
        ([0.6, 0.8, 1], "p_4CH", ""),
        ([1, 0.9, 0.7], "a film", "the view is not known"),
        ([1, 0.9, 0.7], "p_PLAX", "the view is not known"),
        ([1, 0.7, 1, 0.7, 1, 0.7], "p_4CH", "67% of the frames have an implausible label map"),
    ],
)
def test_what_is_withheld_and_why(scales: list, name: str, reason: str) -> None:
    found = measured(scales, ("lv",), name=name)
    assert found.withheld.startswith(reason)
    assert (found.ef is None) == bool(found.withheld) == bool(reason)
    assert (found.certainty == 0) == bool(reason)
    assert any("withheld" in note for note in found.notes) == bool(reason)


def test_instants_that_a_person_sets() -> None:
    beat = [0.9, 0.97, 1, 1, 1, 0.96, 0.9, 0.8, 0.8, 0.7, 0.7, 0.7]
    scales = [0.8, *beat, *beat, 0.85, 0.9, 0.97, 1, 1, 1, 0.9]
    told = measured(scales, ("lv",), instants=(2, 8))
    assert [beat[:2] for beat in told.beats] == [(2, 8)]
    assert (told.ed, told.es) == (2, 8)
    assert told.ef.ef_percent == pytest.approx(100 * (1 - (0.8 / 0.97) ** 3), abs=2)
    # One alone belongs to the beat that it is nearest to.
    first, second = (beat[:2] for beat in measured(scales, ("lv",)).beats)
    alone = measured(scales, ("lv",), instants=(second[0] + 1, None))
    assert (alone.ed, alone.es) == (second[0] + 1, second[1])
    alone = measured(scales, ("lv",), instants=(None, first[1] - 1))
    assert (alone.ed, alone.es) == (first[0], first[1] - 1)
    nothing = measured([0.9, 1.0, None, 0.7], ("lv",), instants=(1, 2))
    assert (nothing.ed, nothing.ef) == (None, None)
    assert "frame 2, set as ED or ES, shows no ventricle" in " ".join(nothing.notes)


def test_a_ventricle_that_the_sector_cuts() -> None:
    film = open_film(np.zeros((3, 60, 90), np.uint8), SPACING)
    film.name = "p_4CH"
    outside = np.indices((60, 90))[1] < 30
    frames = [
        measure_frame(ellipse(s).astype(np.uint8), ("lv",), SPACING, outside=outside)
        for s in (1, 0.9, 0.7)
    ]
    share = (ellipse(1) & outside).sum() / ellipse(1).sum()
    assert frames[0].outside == pytest.approx(share)
    found = measure_film(film, ("lv",), frames)
    assert found.withheld == f"{share:.0%} of the left ventricle lies outside of the sector"


def test_a_ventricle_that_the_image_ends_in() -> None:
    labels = ellipse(1)[20:].astype(np.uint8)
    found = measure_frame(labels, ("lv",), SPACING, outside=np.zeros(labels.shape, bool))
    whole = measure_frame(ellipse(1).astype(np.uint8), ("lv",), SPACING, outside=ellipse(0.01))
    assert found.outside > 0.2
    assert whole.outside < 0.01


def test_strain_is_how_much_the_outline_shortens() -> None:
    film = open_film(np.zeros((2, 120, 90), np.uint8), (1.0, 1.0))
    film.name = "p_4CH"
    rows, columns = np.indices((120, 90))
    cut = [
        (((rows - 60) / 50) ** 2 + ((columns - 45) / 28) ** 2 < scale**2) & (rows - 60 < 35 * scale)
        for scale in (1.0, 0.8)
    ]
    frames = [measure_frame(one.astype(np.uint8), ("lv",), (1.0, 1.0)) for one in cut]
    measures = measure_film(film, ("lv",), frames)
    assert measures.gls_percent == pytest.approx(-20, abs=0.5)
    assert measured([1, 0.9, 0.8], name="film").gls_percent is None, "no view, no EF, no strain"


def test_the_atriums_volume_is_that_of_measured_label_maps() -> None:
    labels = ellipse(0.6).astype(np.uint8)
    labels[46:58, 35:55] = 3
    found = measure_frame(labels, ("lv", "la"), SPACING)
    assert found.la_ml == geometry.measure_frame(labels, SPACING).la_volume_ml > 0
    assert np.isnan(measure_frame(labels, ("lv", "la"), None).la_ml)
    assert np.isnan(measure_frame(labels, ("la",), SPACING).la_ml)
