"""Kept features on disk: damaged, half written, too many, by several processes."""

from __future__ import annotations

import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from feature_models import SIZE, VIT, attach, build, encoded, entries, without_cache
from safetensors.torch import load_file, save_file
from torch import Tensor

from echozoo import notices
from echozoo.engine import kept_features
from echozoo.engine.kept_features import GIGABYTE
from echozoo.models.segmentors.promptable import PromptableSegmentor


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    messages: list[str] = []
    monkeypatch.setattr(notices, "_said", set())
    monkeypatch.setattr(notices, "print_log", lambda message, **_: messages.append(message))
    return messages


@pytest.fixture
def model() -> PromptableSegmentor:
    return build(VIT)


def damage_cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def damage_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)


def damage_header(file: Path) -> None:
    file.write_bytes(b"\0" * 64 + file.read_bytes()[64:])


def damage_empty(file: Path) -> None:
    file.write_bytes(b"")


def damage_other(file: Path) -> None:
    save_file(load_file(file), file)  # without its checksum


@pytest.mark.parametrize(
    "damage", [damage_cut, damage_bit, damage_header, damage_empty, damage_other]
)
def test_a_damaged_entry_is_made_anew(model, tmp_path, damage):
    images = torch.rand(2, 1, SIZE, SIZE)
    attach(model, tmp_path)
    model.encode(images)
    damage(entries(tmp_path)[0])
    attach(model, tmp_path)
    calls = encoded(model)
    found = [model.encode(images).embedding for _ in range(2)]
    assert calls == [(1, 1)], "mended at once"
    torch.testing.assert_close(found, [without_cache(model, images)] * 2)


def test_a_half_written_entry_is_never_read(model, tmp_path, monkeypatch):
    def killed(source, target):
        raise KeyboardInterrupt

    images = torch.rand(1, 1, SIZE, SIZE)
    attach(model, tmp_path)
    monkeypatch.setattr("os.replace", killed)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # SIGKILL cleans not
    with pytest.raises(KeyboardInterrupt):
        model.encode(images)
    monkeypatch.undo()
    (left,) = entries(tmp_path)
    left.write_bytes(left.read_bytes()[:-100])
    assert torch.equal(model.encode(images).embedding, without_cache(model, images))
    assert len(entries(tmp_path)) == 2


def test_a_full_folder_is_read_and_no_longer_written(model, tmp_path, said):
    images = torch.rand(6, 1, SIZE, SIZE)
    attach(model, tmp_path)
    model.encode(images[:1])
    size = entries(tmp_path)[0].stat().st_size
    # Room for two and a half more, measured anew for each.
    cache = attach(model, tmp_path, limit_gb=3.5 * size / GIGABYTE)
    for _ in range(2):
        torch.testing.assert_close(model.encode(images).embedding, without_cache(model, images))
    assert len(entries(tmp_path)) == 3
    assert (cache.num_read, cache.num_computed) == (1 + 3, 5 + 3)
    assert len(said) == 1
    assert "no more features are kept" in said[0]


def test_the_limit_counts_what_others_write(model, tmp_path, said):
    images = torch.rand(4, 1, SIZE, SIZE)
    attach(model, tmp_path)
    model.encode(images[:1])
    size = entries(tmp_path)[0].stat().st_size
    attach(model, tmp_path, limit_gb=2.5 * size / GIGABYTE)
    other = build(VIT)
    attach(other, tmp_path)
    other.encode(images[1:2])
    model.encode(images[2:])
    assert len(entries(tmp_path)) == 2


def test_the_disk_is_not_filled(model, tmp_path, monkeypatch, said):
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * GIGABYTE)
    monkeypatch.setattr(kept_features.shutil, "disk_usage", lambda folder: usage)
    attach(model, tmp_path)
    model.encode(torch.rand(1, 1, SIZE, SIZE))
    assert entries(tmp_path) == []
    assert "the disk has 2.0 GB free" in said[0]


def test_a_folder_that_cannot_be_written(model, tmp_path, said):
    (tmp_path / "file").write_text("")
    attach(model, tmp_path / "file" / "features")
    images = torch.rand(2, 1, SIZE, SIZE)
    for _ in range(2):
        assert torch.equal(model.encode(images).embedding, without_cache(model, images))
    assert len(said) == 1
    assert "cannot be written (Not a directory); features are not kept" in said[0]


def _encode_all(folder: Path, barrier) -> Tensor:
    torch.set_num_threads(1)
    model = build(VIT)
    attach(model, folder)
    images = torch.linspace(0, 1, 8 * SIZE * SIZE).view(8, 1, SIZE, SIZE)
    barrier.wait()
    return torch.stack([model.encode(image[None]).embedding[0] for image in images]).numpy()


def test_several_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, ProcessPoolExecutor(2, mp_context=context) as pool:
        barrier = manager.Barrier(2)
        jobs = [pool.submit(_encode_all, tmp_path, barrier) for _ in range(2)]
        first, second = (torch.from_numpy(job.result()) for job in jobs)
    assert torch.equal(first, second)
    assert [file.suffix for file in entries(tmp_path)] == [".safetensors"] * 8
