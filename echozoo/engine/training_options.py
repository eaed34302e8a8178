"""Options of training alone: without augmentation, with features of a frozen encoder on disk."""

from __future__ import annotations

from mmengine.config import Config

from echozoo.datasets.transforms.base import RandomTransform
from echozoo.engine.config_options import registered
from echozoo.engine.launch import leaves
from echozoo.errors import ConfigError
from echozoo.registry import TRANSFORMS


def random_transforms(cfg: Config) -> list[str]:
    """Name the transforms that change training images at random, in their order.

    Known by their class: a `RandomTransform`, or one of mmcv's that marks its random methods.
    Prompts that are drawn at random change no image.

    Args:
        cfg: The config of a run.
    """
    names = [step["type"] for dataset in _train_sets(cfg) for step in dataset.get("pipeline", ())]
    return [name for name in dict.fromkeys(names) if _is_random(name)]


def drop_augmentation(cfg: Config) -> list[str]:
    """Take these transforms out of the training.

    Args:
        cfg: The config to change.

    Returns:
        Their names.
    """
    names = random_transforms(cfg)
    for dataset in _train_sets(cfg):
        steps = dataset.get("pipeline", ())
        dataset["pipeline"] = [step for step in steps if step["type"] not in names]
    return names


def cache_features(cfg: Config, folder: str | None, limit_gb: float) -> None:
    """Let a run keep the features of its frozen encoder.

    Args:
        cfg: The config to change.
        folder: See `FeatureCacheHook`.
        limit_gb: See `FeatureCacheHook`.

    Raises:
        ConfigError: Training images are another every time, so that nothing would be used twice.
    """
    names = random_transforms(cfg)
    if names:
        raise ConfigError(
            f"--cache-features: {', '.join(names)} make every image another one in every epoch, so "
            "that no feature would be used twice; add --no-augmentation to train without them"
        )
    hook = dict(type="FeatureCacheHook", folder=folder, limit_gb=limit_gb)
    cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), hook]


def _train_sets(cfg: Config) -> list[dict]:
    return list(leaves((cfg.get("train_dataloader") or {}).get("dataset")))


def _is_random(name: str) -> bool:
    return any(
        issubclass(part, RandomTransform) or getattr(part, "_methods_with_randomness", None)
        for part in registered(name, TRANSFORMS)
    )
