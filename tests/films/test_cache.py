from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echozoo.errors import DataError
from echozoo.films import cache
from echozoo.films.cache import cached_volume, resolve_cache_dir
from echozoo.films.io import write_volume

FRAMES = np.arange(5 * 40 * 60).reshape(5, 40, 60).astype(np.uint8)
SPACING = (0.154, 0.308)


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "data" / "image.nii.gz"
    write_volume(path, FRAMES, SPACING)
    return path


@pytest.fixture
def decodings(monkeypatch) -> list[Path]:
    """The files that were decoded, in order."""
    decoded = []

    def apart(function, path, *args):
        decoded.append(path)
        return original(function, path, *args)

    original = cache.apart
    monkeypatch.setattr(cache, "apart", apart)
    return decoded


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_decodes_once_and_maps(image, tmp_path, decodings):
    for _ in range(3):
        volume = cached_volume(image, tmp_path / "cache")
        assert isinstance(volume.array, np.memmap)
        assert not volume.array.flags.writeable
        np.testing.assert_array_equal(volume.array, FRAMES)
        assert volume.spacing == SPACING
    assert decodings == [image]
    (entry,) = entries(tmp_path / "cache")
    assert entry.suffix == ".cache"


def test_a_relative_path_is_that_of_the_folder_one_is_in(tmp_path, monkeypatch):
    clips = {"one": FRAMES, "other": 255 - FRAMES}
    for _ in range(2):
        for name, frames in clips.items():
            if not (tmp_path / name).exists():
                write_volume(tmp_path / name / "image.nii.gz", frames, SPACING)
            monkeypatch.chdir(tmp_path / name)
            volume = cached_volume("image.nii.gz", tmp_path / "cache")
            np.testing.assert_array_equal(volume.array, frames)
    assert len(entries(tmp_path / "cache")) == 2


def test_a_changed_source_is_read_again(image, tmp_path):
    folder = tmp_path / "cache"
    old = cached_volume(image, folder)
    write_volume(image, 255 - FRAMES, SPACING)
    np.testing.assert_array_equal(cached_volume(image, folder).array, 255 - FRAMES)
    np.testing.assert_array_equal(old.array, FRAMES)  # whoever has the old one keeps it
    assert len(entries(folder)) == 1


def test_same_size_other_time_is_a_change(image, tmp_path, decodings):
    folder = tmp_path / "cache"
    cached_volume(image, folder)
    state = image.stat()
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns + 1000))
    cached_volume(image, folder)
    assert len(decodings) == 2


def test_a_changed_raw_is_a_change(tmp_path):
    path = tmp_path / "image.mhd"
    write_volume(path, FRAMES, SPACING)
    cached_volume(path, tmp_path / "cache")
    raw = tmp_path / "image.raw"
    raw.write_bytes(bytes(len(raw.read_bytes())))
    os.utime(raw, ns=(0, 1))
    assert not cached_volume(path, tmp_path / "cache").array.any()
    raw.unlink()
    with pytest.raises(DataError, match="image.raw is not beside it"):
        cached_volume(path, tmp_path / "cache")


def damage_cut(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-7])


def damage_header(entry: Path) -> None:
    entry.write_bytes(b"\0" * 64 + entry.read_bytes()[64:])


def damage_pixel(entry: Path) -> None:
    data = bytearray(entry.read_bytes())
    data[-100] ^= 1
    entry.write_bytes(data)


def damage_empty(entry: Path) -> None:
    entry.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_cut, damage_header, damage_pixel, damage_empty])
def test_a_damaged_entry_is_rebuilt(image, tmp_path, decodings, damage):
    folder = tmp_path / "cache"
    cached_volume(image, folder)
    (entry,) = entries(folder)
    damage(entry)
    np.testing.assert_array_equal(cached_volume(image, folder).array, FRAMES)
    np.testing.assert_array_equal(cached_volume(image, folder).array, FRAMES)
    assert len(decodings) == 2


def test_a_half_written_entry_is_never_read(image, tmp_path, monkeypatch):
    folder = tmp_path / "cache"

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.os, "replace", killed)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # SIGKILL cleans not
    with pytest.raises(KeyboardInterrupt):
        cached_volume(image, folder)
    monkeypatch.undo()
    (left,) = entries(folder)
    left.write_bytes(left.read_bytes()[:-100])
    np.testing.assert_array_equal(cached_volume(image, folder).array, FRAMES)
    assert len(entries(folder)) == 2


def test_labels_and_images_are_told_apart(tmp_path):
    path = tmp_path / "image.nii.gz"
    write_volume(path, FRAMES[:, :8] / np.float32(255), SPACING)
    cached_volume(path, tmp_path / "cache")
    with pytest.raises(DataError, match="wanted whole numbers"):
        cached_volume(path, tmp_path / "cache", label=True)


def test_two_files_of_one_name(image, tmp_path):
    other = tmp_path / "other" / image.name
    write_volume(other, 255 - FRAMES, SPACING)
    np.testing.assert_array_equal(cached_volume(image, tmp_path / "cache").array, FRAMES)
    np.testing.assert_array_equal(cached_volume(other, tmp_path / "cache").array, 255 - FRAMES)
    assert len(entries(tmp_path / "cache")) == 2


def test_a_cache_beside_its_data_moves_with_it(image, tmp_path, decodings):
    cached_volume(image, image.parent / ".echozoo_cache")
    moved = image.parent.rename(tmp_path / "elsewhere")
    cached_volume(moved / image.name, moved / ".echozoo_cache")
    assert len(decodings) == 1


def _build(path: Path, folder: Path, barrier) -> int:
    barrier.wait()
    return int(cached_volume(path, folder).array.astype(int).sum())


def test_several_processes_build_at_once(tmp_path):
    paths = [tmp_path / f"image{number}.nii.gz" for number in range(4)]
    for path in paths:
        write_volume(path, FRAMES, SPACING)
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, ProcessPoolExecutor(4, mp_context=context) as pool:
        barrier = manager.Barrier(4)
        for path in paths:
            jobs = [pool.submit(_build, path, tmp_path / "cache", barrier) for _ in range(4)]
            assert {job.result() for job in jobs} == {int(FRAMES.astype(int).sum())}
    assert [entry.suffix for entry in entries(tmp_path / "cache")] == [".cache"] * 4


def test_a_cache_that_cannot_be_written(image, tmp_path, said):
    (tmp_path / "file").write_text("")
    for _ in range(2):
        volume = cached_volume(image, tmp_path / "file" / "cache")
        np.testing.assert_array_equal(volume.array, FRAMES)
        assert not volume.array.flags.writeable
    assert len(said) == 1
    assert "volumes are decoded at every read" in said[0]


def test_where_the_cache_is(tmp_path, monkeypatch, said):
    monkeypatch.delenv("ECHOZOO_CACHE", raising=False)
    assert resolve_cache_dir(tmp_path) == tmp_path / ".echozoo_cache"
    monkeypatch.setenv("ECHOZOO_CACHE", str(tmp_path / "env"))
    assert resolve_cache_dir(tmp_path) == tmp_path / "env"
    assert resolve_cache_dir(tmp_path, tmp_path / "told") == tmp_path / "told"
    assert said == []


def test_fallback_where_the_data_cannot_be_written(tmp_path, monkeypatch, said):
    monkeypatch.delenv("ECHOZOO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    data = tmp_path / "data"
    data.mkdir()
    (data / ".echozoo_cache").write_text("a file: no folder can be made here")
    first, again = resolve_cache_dir(data), resolve_cache_dir(data)
    assert first == again
    assert first.parent == tmp_path / "home" / "echozoo"
    assert len(said) == 1
    assert str(first) in said[0]


def test_labels_of_a_picture_are_its_own_numbers_or_refused(tmp_path):
    labels = np.zeros((16, 16), np.uint8)
    labels[4:9, 4:9], labels[9:12, 9:12] = 1, 3
    Image.fromarray(labels).save(tmp_path / "grey.png")
    found = cached_volume(tmp_path / "grey.png", tmp_path / "cache", label=True)
    np.testing.assert_array_equal(found.array[0], labels)
    deep = tmp_path / "deep.png"  # 16 bits, and 1 is 1
    Image.fromarray(labels.astype(np.uint16)).save(deep)
    found = cached_volume(deep, tmp_path / "cache", label=True)
    np.testing.assert_array_equal(found.array[0], labels)
    palette = Image.fromarray(labels, mode="P")
    palette.putpalette([0, 0, 0, 2, 2, 2, 4, 4, 4, 1, 1, 1])  # 3 would be read as 1
    palette.save(tmp_path / "palette.png")
    palette.save(tmp_path / "few.png", bits=2)
    Image.fromarray(labels > 0).save(tmp_path / "one.png")  # 1 is stored, 255 is read
    for name in ("palette.png", "few.png", "one.png"):
        with pytest.raises(DataError, match=f"{name}: labels in colour or changed by being read"):
            cached_volume(tmp_path / name, tmp_path / "cache", label=True)
        cached_volume(tmp_path / name, tmp_path / "cache")  # as an image it is read


def test_a_file_replaced_at_equal_size_and_time_is_a_change(tmp_path):
    path, folder = tmp_path / "image.nii", tmp_path / "cache"
    write_volume(path, FRAMES, SPACING)
    cached_volume(path, folder)
    state = path.stat()
    write_volume(tmp_path / "new.nii", 255 - FRAMES, SPACING)
    os.utime(tmp_path / "new.nii", ns=(state.st_atime_ns, state.st_mtime_ns))
    os.replace(tmp_path / "new.nii", path)
    assert path.stat().st_size == state.st_size
    np.testing.assert_array_equal(cached_volume(path, folder).array, 255 - FRAMES)
