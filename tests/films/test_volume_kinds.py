"""Kinds of NIfTI and MetaImage headers: the values that nibabel reads, or one line."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from film_files import moving_disc

from echozoo.errors import DataError
from echozoo.films.film import NO_SPACING, open_film

FILM = moving_disc(5, (40, 48))
# Where the fields of a NIfTI-1 header are, and their types.
PLACES = {
    **dict(dim=(40, "<h"), bitpix=(72, "<h"), pixdim1=(80, "<f"), pixdim2=(84, "<f")),
    **dict(vox_offset=(108, "<f"), slope=(112, "<f"), intercept=(116, "<f")),
}


def nifti(path: Path, array: np.ndarray = FILM, **fields: float) -> Path:
    """A film of 0.5 x 0.3 mm pixels with other values in some fields of its header."""
    image = nibabel.Nifti1Image(array.T, np.diag([-0.3, -0.5, 1, 1]))
    data = bytearray(image.to_bytes())
    for name, value in fields.items():
        place, kind = PLACES[name]
        struct.pack_into(kind, data, place, value)
    path.write_bytes(gzip.compress(data) if "packed" in path.name.lower() else data)
    return path


@pytest.mark.parametrize("name", ["A.NII", "PACKED.NII.GZ", "packed.nii", "none"])
def test_names_say_nothing(name, tmp_path):
    film = open_film(nifti(tmp_path / name))
    np.testing.assert_array_equal(film.frames(), FILM)
    assert (film.spacing, film.notes) == ((0.5, 0.3), [])


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (dict(slope=0, intercept=50), FILM),
        (dict(slope=np.nan, intercept=np.nan), FILM),
        (dict(slope=1 / 255, intercept=0), FILM),
        (dict(slope=0.5, intercept=20), FILM / 2 + 20),
    ],
    ids=["none", "unset", "fractions", "halved"],
)
def test_scaled_values(fields, wanted, tmp_path):
    frames = open_film(nifti(tmp_path / "a.nii", **fields)).frames()
    np.testing.assert_allclose(frames, wanted, atol=0.5)
    nibabels = nibabel.load(tmp_path / "a.nii").get_fdata().T
    factor = 255 if nibabels.max() <= 1 else 1
    np.testing.assert_allclose(frames, nibabels * factor, atol=0.5)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (dict(slope=2, intercept=0), "wanted 8-bit values, 0 to 255"),
        (dict(slope=np.inf, intercept=0), "wanted finite numbers"),
        (dict(vox_offset=0), "pixels at byte 0 (vox_offset), wanted 352"),
        (dict(vox_offset=np.nan), "pixels at byte nan"),
        (dict(vox_offset=1e9), "truncated"),
        (dict(dim=-1), "-1 axes"),
        (dict(dim=30_000), "30000 axes"),
        (dict(bitpix=64), "bitpix 64 for NIfTI type 2, wanted 8"),
    ],
    ids=str,
)
def test_headers_that_cannot_be(fields, reason, tmp_path):
    with pytest.raises(DataError) as caught:
        open_film(nifti(tmp_path / "a.nii", **fields))
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/a.nii: ")


@pytest.mark.parametrize(
    ("fields", "spacing", "note"),
    [
        (dict(pixdim1=-0.3), (0.5, 0.3), None),
        (dict(pixdim1=np.nan), None, "spacing of 0.5 x nan mm in its header"),
        (dict(pixdim2=1e-30), None, "spacing of 1e-30 x 0.3 mm in its header, wanted 0.01 to 10"),
        (dict(pixdim1=0.6, pixdim2=1), (1, 0.6), "its sform says 0.5 x 0.3 mm, its pixdim 1 x 0.6"),
    ],
    ids=str,
)
def test_spacing(fields, spacing, note, tmp_path):
    film = open_film(nifti(tmp_path / "a.nii", **fields))
    assert film.spacing == spacing
    assert (NO_SPACING in film.notes) == (spacing is None)
    assert not film.notes if note is None else note in film.notes[0]


HEADER = """NDims = 3
BinaryData = True
{}DimSize = 48 40 5
ElementType = MET_UCHAR
ElementDataFile = LOCAL
"""


def test_a_metaimage_without_spacing(tmp_path):
    path = tmp_path / "a.mha"
    path.write_bytes(HEADER.format("").encode() + FILM.tobytes())
    film = open_film(path)
    np.testing.assert_array_equal(film.frames(), FILM)
    assert (film.spacing, film.notes) == (None, [NO_SPACING])
    path.write_bytes(HEADER.format("ElementSpacing = 0.3 0.5 1\n").encode() + FILM.tobytes())
    assert open_film(path).spacing == (0.5, 0.3)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("NDims = 3", "NDims = -1", "NDims -1, DimSize '48 40 5'"),
        ("BinaryData = True", "BinaryData = False", "numbers as text"),
        ("48 40 5", "48 40 99999999", "more than the limit"),
        ("48 40 5", "48 40 6", "truncated"),
        ("MET_UCHAR", "MET_OTHER", "ElementType MET_OTHER"),
        ("LOCAL", "../a.raw", "outside of its folder"),
        ("LOCAL", "%999999999d.raw 0 4 1", "is not beside it"),
    ],
)
def test_metaimage_headers_that_cannot_be(old, new, reason, tmp_path):
    path = tmp_path / "a.mha"
    path.write_bytes(HEADER.format("").replace(old, new).encode() + FILM.tobytes())
    with pytest.raises(DataError) as caught:
        open_film(path)
    assert reason in str(caught.value)
