from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import Config

from echozoo.benchmark.data import compare_data
from echozoo.films import cache

STEPS = [dict(type="LoadClip"), dict(type="ResizeClip"), dict(type="PackClip")]


@pytest.fixture
def cfg(phantom) -> Config:
    dataset = dict(
        type="CAMUSDataset",
        data_root=str(phantom),
        subset="train",
        split="files",
        clip_length=2,
        image_size=(32, 32),
        pipeline=STEPS,
    )
    return Config(dict(train_dataloader=dict(batch_size=2, dataset=dataset)))


def test_one_side_decodes_every_file_in_every_epoch(cfg, monkeypatch):
    decoded = Counter()
    read = cache.read_volume

    def counted(path, label):
        decoded[Path(path).name] += 1
        return read(path, label)

    monkeypatch.setattr(cache, "read_volume", counted)
    result = compare_data(cfg, repeats=2, warmup=1)
    assert result.disagreement is None
    # Reading alone and the whole pipeline: three epochs each and, before them, the comparison;
    # the cache decodes once.
    assert set(decoded.values()) == {2 * 3 + 1 + 1}
    rows = {(row["what"], row["side"]): row for row in result.rows}
    assert len(rows) == 4
    for row in rows.values():
        assert row["clips"] == 4
        assert row["clips_per_s"] == pytest.approx(4 / row["median_s"])
        assert len(row["seconds"]) == 2


def test_the_cache_of_the_data_is_left_alone(cfg, phantom):
    before = sorted(phantom.rglob("*"))
    compare_data(cfg, repeats=1, warmup=0)
    assert sorted(phantom.rglob("*")) == before


def test_a_cache_with_other_pixels_is_a_disagreement(cfg, monkeypatch):
    read = cache.read_volume

    def cached_wrong(path, cache_dir, label=False):
        volume = read(path, label)
        if "file" not in Path(cache_dir).parent.name and not label:
            volume.array[:] = 0
        return volume

    monkeypatch.setattr("echozoo.datasets.transforms.loading.cached_volume", cached_wrong)
    result = compare_data(cfg, repeats=1, warmup=0)
    assert result.disagreement.startswith("data: images of patient")
