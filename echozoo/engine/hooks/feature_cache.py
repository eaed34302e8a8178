"""Features of a frozen encoder kept on disk from epoch to epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from echozoo.engine.kept_features import FeatureCache, refuse_unless_frozen
from echozoo.errors import ConfigError
from echozoo.registry import HOOKS


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Keep what the frozen encoder makes of each image; later epochs read it.

    It serves training, validation and test. After a training epoch in which the encoder had to
    run, the log says for how much. Images that change from epoch to epoch are never found.

    Args:
        folder: Where to keep features; None is ``features`` beside the decoded volumes of the
            data set, or in the work folder where the data set keeps none.
        limit_gb: See `FeatureCache`.
    """

    def __init__(self, folder: str | None = None, limit_gb: float = 50.0) -> None:
        self.folder = folder
        self.limit_gb = limit_gb

    def before_train(self, runner: Runner) -> None:
        """Attach the cache.

        Raises:
            ConfigError: The encoder is not frozen (see `refuse_unless_frozen`), or the run is
                compiled.
        """
        self._attach(runner, runner.train_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Attach the cache, as for a training."""
        self._attach(runner, runner.test_dataloader.dataset)

    def before_train_epoch(self, runner: Runner) -> None:
        """Count from 0."""
        cache = self._model(runner).feature_cache
        cache.num_read = cache.num_computed = 0

    def after_train_epoch(self, runner: Runner) -> None:
        """Say for how much the encoder ran, if it did."""
        cache = self._model(runner).feature_cache
        if cache.num_computed:
            runner.logger.info(
                f"Features: {cache.num_read} read, {cache.num_computed} encoded ({cache.folder})"
            )

    def _attach(self, runner: Runner, dataset: Any) -> None:
        model = self._model(runner)
        refuse_unless_frozen(model)
        if runner.cfg.get("compile"):
            raise ConfigError(
                "a compiled model runs its encoder always: leave out either compile or the feature "
                "cache (--cache-features, FeatureCacheHook)"
            )
        folder = self.folder or Path(_beside(dataset) or runner.work_dir, "features")
        settings = [runner.cfg.model.get(part) for part in ("backbone", "neck")]
        text = json.dumps(settings, sort_keys=True, default=str)
        model.feature_cache = FeatureCache(model, folder, self.limit_gb, text)

    @staticmethod
    def _model(runner: Runner) -> Any:
        return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _beside(dataset: Any) -> str | None:
    """The folder in which a data set keeps its volumes, through wrappers; None without one."""
    inner = getattr(dataset, "dataset", None) or next(iter(getattr(dataset, "datasets", ())), None)
    return _beside(inner) if inner is not None else getattr(dataset, "cache_dir", None)
