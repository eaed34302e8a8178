"""Options of training alone: augmentation, features of a frozen encoder on disk, trackers."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

from echozoo.datasets.transforms.base import RandomTransform
from echozoo.engine.config_options import registered
from echozoo.engine.launch import leaves
from echozoo.errors import ConfigError
from echozoo.registry import TRANSFORMS

TRACKERS = {
    "tensorboard": "TensorboardVisBackend",
    "wandb": "WandbVisBackend",
    "mlflow": "MLflowVisBackend",
}
"""Experiment trackers, by the name of their package: mmengine's classes."""


def random_transforms(cfg: Config) -> list[str]:
    """Name the transforms that change training images at random, in their order.

    Known by their class: a `RandomTransform`, or one of mmcv's that marks its random methods.
    Prompts that are drawn at random change no image.
    """
    names = [step["type"] for dataset in _train_sets(cfg) for step in dataset.get("pipeline", ())]
    return [name for name in dict.fromkeys(names) if _is_random(name)]


def drop_augmentation(cfg: Config) -> list[str]:
    """Take these transforms out of the training.

    Returns:
        Their names.
    """
    names = random_transforms(cfg)
    for dataset in _train_sets(cfg):
        steps = dataset.get("pipeline", ())
        dataset["pipeline"] = [step for step in steps if step["type"] not in names]
    return names


def log_to(cfg: Config, tracker: str) -> None:
    """Let a run's curves and pictures go to an experiment tracker too, beside its own files.

    Args:
        cfg: The config to change. A backend of that kind that it has already stays as it is.
        tracker: One of `TRACKERS`. MLflow writes to ``MLFLOW_TRACKING_URI``, else into
            ``mlflow.db`` beside the run's folder; Weights & Biases asks for a key, or is told
            ``WANDB_MODE=offline``.

    Raises:
        ConfigError: The tracker is not installed.
    """
    if find_spec(tracker) is None:
        raise ConfigError(
            f"--log-to {tracker}: {tracker} is not installed: pip install 'echozoo[log]'"
        )
    local = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])
    backends = cfg.setdefault("visualizer", local).vis_backends
    kind, folder = TRACKERS[tracker], Path(cfg.work_dir).absolute()
    name, beside = folder.name, folder.parent
    own = {
        "tensorboard": {},
        "wandb": dict(init_kwargs=dict(project="echozoo", name=name)),
        "mlflow": dict(
            exp_name="echozoo",
            run_name=name,
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{beside / 'mlflow.db'}"),
            artifact_location=str(beside / "mlflow"),
        ),
    }
    if not any(one.type == kind for one in backends):
        cfg.visualizer.vis_backends = [*backends, dict(type=kind, **own[tracker])]


def leave_trackers(cfg: Config) -> None:
    """Let a test of a run that was tracked need neither the tracker nor its server."""
    if cfg.get("visualizer"):
        backends = cfg.visualizer.get("vis_backends") or ()
        kept = [one for one in backends if one.type not in TRACKERS.values()]
        cfg.visualizer.vis_backends = kept


def cache_features(cfg: Config, folder: str | None, limit_gb: float) -> None:
    """Let a run keep the features of its frozen encoder.

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
