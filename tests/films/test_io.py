from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from echozoo.errors import DataError
from echozoo.films.io import (
    IMAGE_SUFFIXES,
    read_shape,
    read_volume,
    write_volume,
)

FRAMES = np.arange(3 * 8 * 10, dtype=np.uint8).reshape(3, 8, 10)  # (T, H, W)
SPACING = (0.154, 0.308)


def refusal(read, *arguments) -> str:
    with pytest.raises(DataError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert str(arguments[0]) in message
    return message


def nifti_bytes(folder: Path, array: np.ndarray = FRAMES) -> bytearray:
    write_volume(folder / "bytes.nii", array, SPACING)
    return bytearray((folder / "bytes.nii").read_bytes())


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
@pytest.mark.parametrize("array", [FRAMES, FRAMES[1]], ids=["film", "image"])
def test_written_volumes_are_read_back(tmp_path, suffix, array):
    path = tmp_path / "new" / f"volume{suffix}"
    write_volume(path, array, SPACING)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, array.reshape(-1, 8, 10))
    assert volume.array.dtype == np.uint8
    assert volume.spacing == SPACING
    assert read_shape(path) == volume.array.shape


def test_nifti_has_width_first_time_last_and_millimetres(tmp_path):
    header = nifti_bytes(tmp_path)
    assert struct.unpack_from("<4h", header, 40) == (3, 10, 8, 3)
    assert struct.unpack_from("<2f", header, 80) == pytest.approx((0.308, 0.154))
    assert header[123] & 7 == 2  # millimetres


def test_real_nifti(shared):
    path = shared / "data/camus_mini/database_nifti/patient0001/patient0001_4CH_ED.nii.gz"
    image = read_volume(path)
    assert image.array.shape == (1, 389, 549)
    assert image.spacing == (0.308, 0.308)
    # Upright: the fan's apex is a few bright pixels in a dark row at the top, the base is wide.
    occupied = (image.array[0] > 0).sum(axis=1)
    assert occupied[:20].mean() < occupied[150:250].mean() / 3
    labels = read_volume(path.with_name("patient0001_4CH_ED_gt.nii.gz"), label=True)
    assert np.unique(labels.array).tolist() == [0, 1, 2, 3]
    rows = [np.argwhere(labels.array[0] == value)[:, 0].mean() for value in (1, 3)]
    assert rows[0] < rows[1]  # the ventricle lies above the atrium


def test_real_mhd(shared):
    folder = shared / "data/camus_mhd/training/patient0001"
    image = read_volume(folder / "patient0001_4CH_ED.mhd")
    assert image.array.shape == (1, 778, 549)
    assert image.spacing == (0.154, 0.308)


def test_labels_of_any_type_are_whole_numbers(tmp_path):
    path = tmp_path / "gt.nii.gz"
    for kind in (np.float32, np.float64, np.int16, np.uint32, np.int64):
        write_volume(path, (FRAMES % 4).astype(kind), SPACING)
        labels = read_volume(path, label=True).array
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, FRAMES % 4)
    write_volume(path, FRAMES / 2, SPACING)
    assert "wanted whole numbers from 0 to 3" in refusal(read_volume, path, True)


def test_pixels_are_made_8_bit_by_fixed_rules(tmp_path):
    path = tmp_path / "image.nii.gz"
    write_volume(path, FRAMES + 0.3, SPACING)
    np.testing.assert_array_equal(read_volume(path).array, FRAMES)
    write_volume(path, FRAMES / np.float32(255), SPACING)
    np.testing.assert_array_equal(read_volume(path).array, FRAMES)
    write_volume(path, FRAMES > 3, SPACING)
    np.testing.assert_array_equal(read_volume(path).array, FRAMES > 3)
    write_volume(path, FRAMES.astype(np.int16) * 40, SPACING)
    assert "pixels from 0 to 9560, wanted 8-bit" in refusal(read_volume, path)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("label", [False, True])
def test_nan_pixels_are_refused(tmp_path, suffix, bad, label):
    array = FRAMES.astype(np.float32)
    array[1, 2, 3] = bad
    path = tmp_path / f"image{suffix}"
    write_volume(path, array, SPACING)
    assert "1 pixels are NaN or infinite" in refusal(read_volume, path, label)


def test_big_endian_and_scaled_nifti(tmp_path):
    header = nifti_bytes(tmp_path)
    struct.pack_into("<2f", header, 112, 0.5, 0)
    path = tmp_path / "scaled.nii"
    path.write_bytes(header)
    assert read_volume(path).array.max() == np.rint(FRAMES / 2).max()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_nifti(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    write_volume(path, FRAMES, SPACING)
    whole = path.read_bytes()
    for count in (len(whole) - 1, len(whole) // 2, len(whole) // 4):
        path.write_bytes(whole[:count])
        refusal(read_volume, path)
    path.write_bytes(b"")
    assert "empty file" in refusal(read_volume, path)
    assert "empty file" in refusal(read_shape, path)


def test_gzip_whole_but_its_content_truncated(tmp_path):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes(tmp_path)[:-10]))
    assert "truncated: 582 bytes of data, its header wants 592" in refusal(read_volume, path)


def test_files_that_are_no_images(tmp_path):
    for name in ("image.nii", "image.nii.gz", "image.mhd"):
        path = tmp_path / name
        path.write_bytes(b"hello" * 100)
        refusal(read_volume, path)
    assert "no such file" in refusal(read_volume, tmp_path / "absent.nii.gz")


def test_wrong_dimensions_and_spacing(tmp_path):
    path = tmp_path / "image.nii"
    header = nifti_bytes(tmp_path)
    struct.pack_into("<5h", header, 40, 4, 10, 8, 2, 3)
    path.write_bytes(header)
    assert "4-D image" in refusal(read_volume, path)
    assert "4-D image" in refusal(read_shape, path)
    header = nifti_bytes(tmp_path)
    struct.pack_into("<3f", header, 76, 1, 0, 0)
    path.write_bytes(header)
    assert read_volume(path).spacing is None


def test_mhd_and_its_data_file(tmp_path):
    path = tmp_path / "image.mhd"
    raw = tmp_path / "image.raw"
    write_volume(path, FRAMES.astype(np.float32), SPACING)
    whole = raw.read_bytes()
    raw.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="image.raw: truncated: 959 bytes .* wants 960"):
        read_volume(path)
    raw.unlink()
    assert "its data file image.raw is not beside it" in refusal(read_volume, path)
    header = path.read_text()
    path.write_text(header[: header.index("ElementDataFile")])
    assert "ElementDataFile" in refusal(read_volume, path)
    raw.write_bytes(whole)
    path.write_text(header.replace("DimSize = 10 8 3", "DimSize ="))
    assert "DimSize is ''" in refusal(read_volume, path)


def test_itk_is_silent(tmp_path, capfd):
    path = tmp_path / "image.mhd"
    write_volume(path, FRAMES, SPACING)
    (tmp_path / "image.raw").write_bytes(b"short")
    refusal_file = tmp_path / "image.nii.gz"
    refusal_file.write_bytes(b"")
    with pytest.raises(DataError):
        read_volume(path)
    with pytest.raises(DataError):
        read_volume(refusal_file)
    assert capfd.readouterr() == ("", "")


def test_writing_refuses(tmp_path):
    assert "wanted a name ending" in refusal(write_volume, tmp_path / "a.png", FRAMES, SPACING)
    assert "shape (10,)" in refusal(write_volume, tmp_path / "a.nii", FRAMES[0, 0], SPACING)
    (tmp_path / "file").write_text("")
    refusal(write_volume, tmp_path / "file" / "a.nii", FRAMES, SPACING)
