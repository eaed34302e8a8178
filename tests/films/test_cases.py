"""Kinds of files that users have, and the right value of each; hostile ones are one line."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from film_files import moving_disc

from echozoo.errors import DataError
from echozoo.evaluation.patients import measure_patient
from echozoo.films.film import open_film
from echozoo.films.io import read_noted, read_volume, write_volume

FILM = moving_disc(5, (40, 48))


def raised(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_film(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


CASES = [  # name, frames, darkest and brightest, spacing, in its notes
    ("trunc.avi", 10, (0, 255), None, "10 are missing"),
    ("u16a.png", 1, (0, 250), None, ""),
    ("d_16.dcm", 6, (0, 179), None, ""),
    ("d_16_12.dcm", 6, (0, 179), None, "12-bit pixels"),
    ("d_pal16_8.dcm", 6, (76, 255), None, "colour"),
    ("d_nof.dcm", 6, (0, 179), None, "6 frames are there"),
    ("d_422.dcm", 6, (0, 179), None, "colour"),
    ("d_defl.dcm", 6, (0, 179), None, ""),
    ("d_r2.dcm", 6, (0, 179), None, "2 ultrasound regions of different spacing"),
    ("d_badnof.dcm", 6, (0, 179), None, "says 1A"),
    ("u8frac.nii.gz", 5, (0, 199), (0.5, 0.3), ""),
    ("s0.nii.gz", 5, (0, 199), (0.5, 0.3), ""),
    ("UPPER.NII.GZ", 5, (0, 199), (0.5, 0.3), ""),
    ("reallygz.nii", 5, (0, 199), (0.5, 0.3), ""),
    ("n2.nii.gz", 5, (0, 199), (0.5, 0.3), ""),
    ("negpix.nii.gz", 5, (0, 199), (0.5, 0.3), ""),
    ("sq.nii.gz", 5, (0, 199), (0.5, 0.3), "sform"),
    ("m2.mhd", 5, (0, 199), None, ""),
    ("hostile/nifti_pixdim_nan.nii", 3, (15, 223), None, "spacing of nan"),
    ("hostile/nifti_pixdim_1e-30.nii", 3, (15, 223), None, "1e-30"),
    ("hostile/dicom_delta_nan.dcm", 3, (15, 223), None, "PhysicalDelta"),
    ("hostile/dicom_frametime_abc.dcm", 3, (15, 223), (0.4, 0.3), ""),
    ("hostile/dicom_bitsstored_two.dcm", 3, (15, 223), (0.4, 0.3), ""),
    ("hostile/dicom_numberofframes_abc.dcm", 3, (15, 223), (0.4, 0.3), "says abc"),
    ("hostile/dicom_deflated_100MB.dcm", 1, (0, 0), (0.4, 0.3), "more bytes behind its frames"),
    ("hostile/inner.avi", 6, None, None, ""),
    ("interlaced.mp4", 20, None, None, ""),
    ("e6.jpg", 1, None, None, ""),
    ("d_vector.dcm", 6, (0, 179), None, "uneven frame times, 40 to 90 ms"),
    ("d_vector_and_frametime.dcm", 6, (0, 179), None, "uneven frame times, 40 to 90 ms"),
]


@pytest.mark.parametrize(("name", "frames", "levels", "spacing", "note"), CASES)
def test_reported_kinds(shared, name, frames, levels, spacing, note):
    film = open_film(shared / "cases" / name)
    pixels = film.frames()
    assert len(pixels) == frames
    assert levels is None or (pixels.min(), pixels.max()) == levels
    assert film.spacing == spacing
    assert note in " ".join(film.notes)


@pytest.mark.parametrize(
    "name",
    [
        "off0.nii.gz",
        "u8two.nii.gz",
        "m7b.mhd",
        "m18.mhd",
        "hostile/mhd_ndims_minus1.mhd",
        "hostile/mhd_binarydata_false.mhd",
        "hostile/picture_is_postscript.png",
        "hostile/video_is_a_playlist.mp4",
        "hostile/picture_13000x13000.png",
        "hostile/dicom_palette_without_table.dcm",
        "hostile/nifti_dim0_minus1.nii",
        "hostile/nifti_float64_bitpix_8.nii",
        "hostile/nifti_vox_offset_nan.nii",
        "hostile/nifti_vox_offset_0.nii",
        "hostile/nifti_uint8_slope_2.nii",
    ],
)
def test_hostile_files_are_one_line(shared, name):
    raised(shared / "cases" / name)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_nifti_as_nibabel_reads_it(kind, order, dtype, tmp_path):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    affine = np.diag([-0.3, -0.5, 1.2, 1])
    affine[:3, 3] = 5, -7, 11
    image = kind((FILM // 2).T.astype(dtype), affine, header)
    image.header.set_slope_inter(2, 1)
    nibabel.save(image, tmp_path / "a.nii.gz")
    film = open_film(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(film.frames(), nibabel.load(tmp_path / "a.nii.gz").get_fdata().T)
    itk = sitk.ImageFileReader()
    if kind is nibabel.Nifti1Image:
        itk.SetFileName(str(tmp_path / "a.nii.gz"))
        itk.ReadImageInformation()
        assert film.geometry.origin == pytest.approx(itk.GetOrigin())
        assert film.geometry.direction == pytest.approx(itk.GetDirection())


def meta_header(file: str, **changes: str) -> str:
    fields = {
        "NDims": "3",
        "BinaryData": "True",
        "ElementSpacing": "0.3 0.5 1",
        "DimSize": "48 40 5",
        "ElementType": "MET_UCHAR",
    }
    fields |= changes
    lines = [f"{key} = {value}" for key, value in fields.items()]
    return "\n".join([*lines, f"ElementDataFile = {file}", ""])


@pytest.mark.parametrize("file", ["LIST\n{}", "LIST 2\n{}", "s%d.raw 0 4 1", "s%d.raw 0 4"])
def test_metaimage_in_a_file_a_frame(file, tmp_path):
    for index, frame in enumerate(FILM):
        (tmp_path / f"s{index}.raw").write_bytes(frame.tobytes())
    names = "\n".join(f"s{index}.raw" for index in range(5))
    (tmp_path / "a.mhd").write_text(meta_header(file.format(names)))
    film = open_film(tmp_path / "a.mhd")
    np.testing.assert_array_equal(film.frames(), FILM)
    np.testing.assert_array_equal(film.frames(1, 4), FILM[1:4])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["<i2", ">u2", ">f8"])
def test_metaimage_with_its_data_inside(packed, dtype, tmp_path):
    kinds = {"i2": "MET_SHORT", "u2": "MET_USHORT", "f8": "MET_DOUBLE"}
    data = FILM.astype(dtype).tobytes()
    header = meta_header(
        "LOCAL",
        ElementType=kinds[dtype[1:]],
        BinaryDataByteOrderMSB=str(dtype[0] == ">"),
        CompressedData=str(packed),
    )
    path = tmp_path / "a.mha"
    path.write_bytes(header.encode() + (zlib.compress(data) if packed else data))
    np.testing.assert_array_equal(open_film(path).frames(), FILM)
    path.write_bytes(path.read_bytes()[:-20])
    assert "copy it again" in raised(path)
    path.write_text(meta_header("/etc/hostname"))
    assert "outside of its folder" in raised(path)


def test_what_is_no_regular_file_and_odd_names(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    assert "no regular file" in raised(tmp_path / "pipe.nii")
    name = os.fsdecode(b"a\n\xff.nii")
    (tmp_path / name).write_bytes(b"nothing")
    assert "a\\n\\udcff.nii: of no known kind" in raised(tmp_path / name)


def test_a_limit_on_what_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHOZOO_MAX_FILM_GB", "0.001")
    header = bytearray(nibabel.Nifti1Image(FILM.T, np.eye(4)).header.binaryblock)
    struct.pack_into("<3h", header, 42, 2000, 2000, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(header) + bytes(4)))
    assert "more than the limit" in raised(tmp_path / "a.nii.gz")


def test_masks_are_put_back_on_the_grid_of_their_image(tmp_path):
    image = sitk.GetImageFromArray(FILM[0])
    image.SetSpacing((0.3, 0.5))
    sitk.WriteImage(image, str(tmp_path / "image.nii.gz"))
    labels = (FILM[0] > 150).astype(np.uint8)

    def written(array, spacing, origin, direction):
        mask = sitk.GetImageFromArray(np.ascontiguousarray(array))
        mask.SetSpacing(spacing), mask.SetOrigin(origin), mask.SetDirection(direction)
        sitk.WriteImage(mask, str(tmp_path / "mask.nii.gz"))
        return read_noted(tmp_path / "mask.nii.gz", True, tmp_path / "image.nii.gz")

    upright = (1, 0, 0, 1)
    volume, notes = written(labels, (0.3, 0.5), (0, 0), upright)
    np.testing.assert_array_equal(volume.array[0], labels)
    assert notes == []
    volume, notes = written(labels[:, ::-1], (0.3, 0.5), (47 * 0.3, 0), (-1, 0, 0, 1))
    np.testing.assert_array_equal(volume.array[0], labels)
    assert "stored mirrored; put back" in notes[0]
    volume, notes = written(labels.T, (0.5, 0.3), (0, 0), (0, 1, 1, 0))
    np.testing.assert_array_equal(volume.array[0], labels)
    assert "rows as columns" in notes[0]
    volume, notes = written(labels, (1, 1), (0, 0), upright)
    np.testing.assert_array_equal(volume.array[0], labels)
    assert volume.spacing == pytest.approx((0.5, 0.3))
    assert "a writer without one" in notes[0]
    with pytest.raises(DataError, match="lies elsewhere than its image"):
        written(labels, (0.6, 0.6), (0, 0), upright)
    assert read_volume(tmp_path / "mask.nii.gz", label=True).array.max() == 1


def test_volumes_are_measured_with_the_spacing_of_the_image(tmp_path):
    rows, columns = np.indices((160, 120))
    for half, stem in ((30, "patient0001_4CH_ED"), (22, "patient0001_4CH_ES")):
        inside = ((rows - 80) / (2 * half)) ** 2 + ((columns - 60) / half) ** 2 < 1
        for folder, spacing in (("told", (0.5, 0.5)), ("untold", (1, 1))):
            path = tmp_path / folder / "patient0001"
            write_volume(path / f"{stem}.nii.gz", np.zeros_like(inside), (0.5, 0.5))
            write_volume(path / f"{stem}_gt.nii.gz", inside, spacing)
    measured = [
        measure_patient("patient0001", tmp_path / folder / "patient0001")
        for folder in ("told", "untold")
    ]
    told, untold = (one.row() for one in measured)
    assert told["edv_ml"] == untold["edv_ml"]
    assert told["edv_ml"] > 0
    assert any("a writer without one" in note for note in measured[1].notes)
    onehot = np.stack([~inside, inside, ~inside, ~inside])
    write_volume(path / "patient0001_4CH_ES_gt.nii.gz", onehot, spacing)
    found = measure_patient("patient0001", path)
    assert "mask of 4 x 160 x 120 (frames, rows, columns), wanted 1 x" in found.problems[0]
