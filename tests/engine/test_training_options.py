from __future__ import annotations

import pytest
from mmengine.config import Config

from echozoo.engine import training_options
from echozoo.engine.config_file import load_config
from echozoo.engine.training_options import (
    TRACKERS,
    cache_features,
    drop_augmentation,
    leave_trackers,
    log_to,
    random_transforms,
)
from echozoo.errors import ConfigError
from echozoo.registry import VISBACKENDS

RANDOM = ["RandomGamma", "RandomRotate", "RandomScaleCrop", "RandomContrast"]


def types(cfg: Config, loader: str = "train_dataloader") -> list[str]:
    return [step.type for step in cfg[loader].dataset.pipeline]


@pytest.fixture
def cfg() -> Config:
    return load_config("configs/autosamus.py")


def test_images_that_change_are_told_from_prompts_that_do(cfg):
    assert random_transforms(cfg) == RANDOM
    cfg.train_dataloader.dataset.pipeline.append(dict(type="BoxPrompts", jitter=0.1))
    assert random_transforms(cfg) == RANDOM


def test_mmcv_marks_its_random_transforms(cfg):
    chosen = dict(type="RandomApply", transforms=[dict(type="RandomGamma")])
    cfg.train_dataloader.dataset.pipeline = [chosen, dict(type="ResizeClip")]
    assert random_transforms(cfg) == ["RandomApply"]


def test_without_augmentation_the_rest_stays(cfg):
    test_pipeline = types(cfg, "test_dataloader")
    assert drop_augmentation(cfg) == RANDOM
    assert types(cfg) == ["LoadResizedClip", "PointPrompts", "PackClip"]
    assert cfg.train_dataloader.dataset.pipeline[1].rule == "random"
    assert types(cfg, "test_dataloader") == test_pipeline
    assert drop_augmentation(cfg) == []


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_stands_beside_the_runs_own_files(cfg, tracker, monkeypatch):
    cfg.work_dir = "work_dirs/mine"
    monkeypatch.setattr(training_options, "find_spec", lambda name: name == tracker)
    for _ in range(2):
        log_to(cfg, tracker)
    assert [VISBACKENDS.get(one.type) for one in cfg.visualizer.vis_backends] == [
        VISBACKENDS.get(name) for name in ("LocalVisBackend", TRACKERS[tracker])
    ]
    if tracker != "tensorboard":
        assert "mine" in str(cfg.visualizer.vis_backends[1])
    leave_trackers(cfg)
    assert [one.type for one in cfg.visualizer.vis_backends] == ["LocalVisBackend"]
    monkeypatch.setattr(training_options, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=rf"{tracker} is not installed: pip install 'echozoo\[log"
    ):
        log_to(cfg, tracker)


def test_data_sets_in_wrappers_are_reached(cfg):
    inner = cfg.train_dataloader.dataset.to_dict()
    cfg.train_dataloader.dataset = dict(
        type="RepeatDataset", times=2, dataset=dict(type="ConcatDataset", datasets=[inner, inner])
    )
    assert drop_augmentation(cfg) == RANDOM
    assert random_transforms(cfg) == []


def test_features_of_changing_images_are_not_kept(cfg):
    hooks = len(cfg.custom_hooks)
    message = f"--cache-features: {', '.join(RANDOM)} make .*add --no-augmentation"
    with pytest.raises(ConfigError, match=message):
        cache_features(cfg, None, 50)
    assert len(cfg.custom_hooks) == hooks


def test_features_are_kept_by_a_hook(cfg):
    drop_augmentation(cfg)
    cache_features(cfg, "somewhere", 7)
    assert cfg.custom_hooks[-1] == dict(type="FeatureCacheHook", folder="somewhere", limit_gb=7)


def test_a_config_without_hooks_or_pipeline(read):
    cfg = read("--data-root", "x")
    cfg.pop("custom_hooks")
    assert drop_augmentation(cfg) == []
    cache_features(cfg, None, 50)
    assert [hook.type for hook in cfg.custom_hooks] == ["FeatureCacheHook"]
