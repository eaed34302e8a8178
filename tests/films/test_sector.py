from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from film_files import moving_disc, write_dicom, write_video
from scanner_screens import fan, on_screen, overlap, real_stills

from echozoo.films.contents import open_b_mode
from echozoo.films.facts import read_facts
from echozoo.films.film import open_film
from echozoo.films.sector import (
    DETECTED,
    HEADER,
    NOT_FOUND,
    WHOLE,
    cut_film,
    detect_sector,
    find_sector,
    outside_sector,
)

SCREEN = (300, 400)


@pytest.mark.parametrize("frames", [1, 8], ids=["a still", "a film"])
@pytest.mark.parametrize("scale", [0.5, 0.85])
def test_a_sector_on_a_screen(frames: int, scale: float) -> None:
    film, box = on_screen(fan(frames, (200, 250)), SCREEN, scale)
    found = detect_sector(film)
    assert found.how == DETECTED
    assert overlap(found[:4], box) > 0.93, (found, box)
    assert f"rows {found.top}-{found.bottom - 1}" in found.note


def test_images_that_are_sectors_stay_whole() -> None:
    for frames in (fan(6, (200, 250)), fan(1, (200, 250)), moving_disc(5, (60, 80))):
        found = detect_sector(frames)
        assert (found.how, found.note, found.size) == (WHOLE, "", frames.shape[1:])


@pytest.mark.parametrize("what", ["nothing", "a strip", "text"])
def test_screens_without_a_sector(what: str) -> None:
    screen = np.zeros((3, *SCREEN), np.uint8)
    if what == "a strip":
        screen[:, 160:280, 20:380] = np.random.default_rng(0).integers(20, 255, (3, 120, 360))
    if what == "text":
        screen[:] = on_screen(np.zeros((3, 9, 9), np.uint8), SCREEN, 0.5)[0]
    assert detect_sector(screen).note == NOT_FOUND


def test_real_stills_on_screens(shared: Path) -> None:
    """Native ones stay whole; on an 800 x 600 screen their own box is found again."""
    for number, (image, _) in enumerate(real_stills(shared, 8)):
        assert detect_sector(image).how == WHOLE
        film, box = on_screen(image, (600, 800), (0.6, 0.75, 0.9)[number % 3], seed=number)
        assert overlap(detect_sector(film)[:4], box) > 0.9


def test_real_films(shared: Path, tmp_path: Path) -> None:
    for name in ("apical_four_chamber.mp4", "patient0045_2CH_10frames.nii.gz"):
        assert find_sector(open_film(shared / "data/films" / name)).how == WHOLE
    from pydicom.data import get_testdata_file

    path = get_testdata_file("examples_ybr_color.dcm", download=False)
    film = open_b_mode(path)  # its header's region is that of a larger image
    assert overlap((*film.place, *np.add(film.place, film.size)), (25, 40, 207, 299)) > 0.75


REGION = dict(
    RegionLocationMinX0=100,
    RegionLocationMinY0=40,
    RegionLocationMaxX1=299,
    RegionLocationMaxY1=239,
    PhysicalDeltaX=0.03,
    PhysicalDeltaY=0.05,
)


def test_the_header_says_it(tmp_path: Path) -> None:
    frames = moving_disc(4, SCREEN)
    write_dicom(tmp_path / "a.dcm", frames, REGION, Modality="US")
    film = open_b_mode(tmp_path / "a.dcm")
    assert (film.size, film.place, film.spacing) == ((200, 200), (40, 100), (0.5, 0.3))
    assert "cut to the 2-D region of its header" in film.notes
    np.testing.assert_array_equal(film.frames(1, 3), frames[1:3, 40:240, 100:300])
    assert film.geometry.origin == pytest.approx((30, 20, 0))
    labels = np.ones((2, 200, 200), np.uint8)
    whole = film.put_back(labels)
    assert whole.shape == (2, *SCREEN)
    assert whole.sum() == labels.sum()
    np.testing.assert_array_equal(film.inside(whole), labels)
    film.close()
    assert open_b_mode(tmp_path / "a.dcm", crop=False).size == SCREEN


def test_the_largest_of_several_regions_and_its_spacing(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.dataset import Dataset

    write_dicom(tmp_path / "a.dcm", moving_disc(2, SCREEN), REGION)
    data, other = dcmread(tmp_path / "a.dcm"), Dataset()
    other.update(data.SequenceOfUltrasoundRegions[0])
    other.RegionLocationMinX0, other.RegionLocationMaxX1 = 0, 80
    other.PhysicalDeltaX = other.PhysicalDeltaY = 0.02
    data.SequenceOfUltrasoundRegions.insert(0, other)
    data.save_as(tmp_path / "a.dcm")
    assert open_film(tmp_path / "a.dcm").spacing is None
    film = open_b_mode(tmp_path / "a.dcm")
    assert (film.size, film.spacing) == ((200, 200), (0.5, 0.3))
    assert film.notes == ["cut to the 2-D region of its header, the largest of 2"]


@pytest.mark.parametrize(
    "change",
    [dict(RegionLocationMaxX1=401), dict(RegionSpatialFormat=3), dict(RegionDataType=2)],
    ids=["of another size", "a spectrum", "colour flow"],
)
def test_regions_that_are_not_the_sector(tmp_path: Path, change: dict) -> None:
    frames, box = on_screen(fan(4, (200, 250)), SCREEN, 0.6)
    write_dicom(tmp_path / "a.dcm", frames, REGION | change)
    film = open_b_mode(tmp_path / "a.dcm", force=True)
    assert overlap((*film.place, *np.add(film.place, film.size)), box) > 0.93


def test_a_header_that_covers_all_leaves_it_to_the_look(tmp_path: Path) -> None:
    frames, box = on_screen(fan(4, (200, 250)), SCREEN, 0.6)
    write_dicom(tmp_path / "a.dcm", frames, {})
    write_dicom(tmp_path / "b.dcm", frames, REGION)
    films = [open_b_mode(tmp_path / name, crop=False) for name in ("a.dcm", "b.dcm")]
    detected, told = map(find_sector, films)
    assert (detected.how, told.how) == (DETECTED, HEADER)
    assert overlap(detected[:4], box) > 0.93
    assert cut_film(films[0], detected).whole.size == SCREEN


def test_other_kinds_have_no_header(tmp_path: Path) -> None:
    frames, box = on_screen(fan(8, (200, 250)), SCREEN, 0.6)
    write_video(tmp_path / "a.mp4", frames)
    assert read_facts(tmp_path / "a.mp4") is None
    film = open_b_mode(tmp_path / "a.mp4")
    assert overlap((*film.place, *np.add(film.place, film.size)), box) > 0.93


def test_what_is_outside_of_a_sector() -> None:
    """Beside the fan, and not the dark chamber in it."""
    frames = fan(8, (200, 250))
    outside = outside_sector(open_film(frames))
    lit = frames.max(0) > 0
    assert not outside[lit].mean() > 0.02
    assert outside[5:60, :40].all()
    assert not outside[80:140, 110:140].any()
