from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from film_files import moving_disc, write_dicom, write_video
from PIL import Image

from echozoo.errors import DataError, NoFilmError
from echozoo.films.contents import COLOURED, open_b_mode

FRAMES = moving_disc(4, (60, 80))
COLOURS = np.repeat(FRAMES[..., None], 3, axis=-1)
COLOURS[:, 20:30, 30:50] = (220, 30, 20)
COLOURS[2:, 20:30, 30:50] = (10, 40, 230)


@pytest.mark.parametrize(
    ("region", "tags", "reason"),
    [
        ({}, dict(Modality="CT"), "modality CT, wanted US"),
        ({}, dict(ImageType=["ORIGINAL", "PRIMARY", "", "0011"]), "colour Doppler, by its image"),
        ({}, dict(ImageType=["ORIGINAL", "PRIMARY", "", "0002"]), "M-mode, by its image type"),
        (dict(RegionSpatialFormat=2), {}, "M-mode, by an ultrasound region"),
        (dict(RegionSpatialFormat=3), {}, "a spectrum, by an ultrasound region"),
        (dict(RegionDataType=2), {}, "colour Doppler, by an ultrasound region"),
        (dict(RegionDataType=18), {}, "no region of tissue"),
    ],
)
def test_headers_of_other_things(tmp_path: Path, region: dict, tags: dict, reason: str) -> None:
    write_dicom(tmp_path / "a.dcm", FRAMES, region, **tags)
    with pytest.raises(NoFilmError, match=reason):
        open_b_mode(tmp_path / "a.dcm")
    film = open_b_mode(tmp_path / "a.dcm", force=True)
    assert any(note.startswith(f"no B-mode film: {reason}") for note in film.notes)


def test_headers_of_b_mode(tmp_path: Path) -> None:
    kinds = ["ORIGINAL", "PRIMARY", "TTE", "0001"]
    write_dicom(tmp_path / "a.dcm", FRAMES, {}, Modality="US", ImageType=kinds, PatientID="7")
    film = open_b_mode(tmp_path / "a.dcm")
    assert (film.facts.modality, film.facts.patient, film.facts.modes) == ("US", "7", ())


@pytest.mark.parametrize("kind", ["dcm", "mp4", "png"])
def test_colours_of_doppler(tmp_path: Path, kind: str) -> None:
    path, tinted = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    sepia = (FRAMES[..., None] * np.array([1.0, 0.9, 0.75])).astype(np.uint8)
    for name, frames in ((path, COLOURS), (tinted, sepia)):
        if kind == "dcm":
            write_dicom(name, frames)
        elif kind == "mp4":
            write_video(name, frames)
        else:
            Image.fromarray(frames[0]).save(name)
    with pytest.raises(NoFilmError, match="colour Doppler, by the colour of 4% of its pixels"):
        open_b_mode(path)
    assert open_b_mode(path, force=True).coloured == pytest.approx(200 / 4800, rel=0.1)
    assert open_b_mode(tinted).coloured < COLOURED


def test_what_has_no_pixels_and_what_is_damaged(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    for name in ("reportsi.dcm", "rtplan.dcm"):
        with pytest.raises(NoFilmError, match="no image: "):
            open_b_mode(get_testdata_file(name, download=False), force=True)
    write_dicom(tmp_path / "a.dcm", FRAMES)
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:-5000])
    with pytest.raises(DataError) as error:
        open_b_mode(tmp_path / "cut.dcm")
    assert not isinstance(error.value, NoFilmError)
