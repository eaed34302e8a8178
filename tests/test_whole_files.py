from __future__ import annotations

import errno
import os
import zipfile

import pytest
import torch

from echozoo.errors import CheckpointError
from echozoo.models.weight_files import load_safely
from echozoo.whole_files import damage, remove_parts, written_whole


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_nothing_is_left_of_what_failed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fill() -> None:
        with written_whole(path) as part:
            part.write_text("ne")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left on device") as caught:
        fill()
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_parts_of_killed_processes_are_removed(tmp_path):
    (tmp_path / "epoch_1.pth").touch()
    (tmp_path / ".epoch_2.pth.123.part").touch()
    remove_parts(tmp_path)
    assert os.listdir(tmp_path) == ["epoch_1.pth"]


def weights_file(path, seed=0):
    torch.save({"a": torch.randn(999, generator=torch.Generator().manual_seed(seed))}, path)
    return path


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_found(tmp_path, place):
    path = weights_file(tmp_path / "w.pth")
    assert damage(path) == ""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        tensor = archive.getinfo("w/data/0")
    data[tensor.header_offset + 200 + int(place * 3000)] ^= 1
    path.write_bytes(data)
    assert torch.load(path, weights_only=True)["a"].shape == (999,), "torch sees nothing"
    with pytest.raises(CheckpointError, match=r"w\.pth: damaged, .*w/data/0.*again"):
        load_safely(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_cut_file_is_found(tmp_path, share):
    path = weights_file(tmp_path / "w.pth")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=r"w\.pth: damaged, .*cut off"):
        load_safely(path)


def test_files_without_checksums_are_read(tmp_path):
    old = tmp_path / "before_1.6.pth"
    torch.save({"a": torch.ones(3)}, old, _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    try:
        without = weights_file(tmp_path / "without.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    for path in (old, without):
        assert damage(path) == ""
        assert "a" in load_safely(path)
