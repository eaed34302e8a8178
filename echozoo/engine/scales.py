"""Scales: the sizes at which a config can run, declared in the config itself.

A config's ``scales`` maps a name to the keys that differ at that size: ``scales = dict(tiny=dict(
model=..., train_cfg=...))``. Configs that build on it inherit them, so one file serves a model
at its full size and at one for a laptop. What a child sets that does not mention the scale, it
sets at every size; one that does has its own values for the scale in mind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from echozoo.engine.config_file import load_config
from echozoo.engine.config_options import closest
from echozoo.errors import ConfigError


def load_scaled(path: str | Path, name: str | None) -> Config:
    """Load a config at one of its scales.

    Args:
        path: A ``.py`` config.
        name: The scale; None is the config as it stands, the full size.

    Raises:
        ConfigError: The file is wrong (see `load_config`), or has no such scale.
    """
    with _scaled_bases(name):
        cfg = load_config(path)
    apply_scale(cfg, name)
    return cfg


@contextlib.contextmanager
def _scaled_bases(name: str | None) -> Iterator[None]:
    """Bring bases to their scale before a child that does not mention it is laid over them.

    mmengine merges a child into its bases inside ``Config.fromfile`` and nowhere else knows which
    of the two has set a value, so its merge is replaced while a file is read.
    """
    merge = Config._merge_a_into_b

    def scale_and_merge(child: dict, base: dict, allow_list_keys: bool = False) -> dict:
        scales = base.get("scales") if isinstance(base, dict) else None
        if isinstance(scales, dict) and name in scales and name not in child.get("scales", {}):
            base = {**merge(scales[name], base), "scales": {**scales, name: {}}}
        return merge(child, base, allow_list_keys)

    Config._merge_a_into_b = staticmethod(scale_and_merge)
    try:
        yield
    finally:
        Config._merge_a_into_b = staticmethod(merge)


def apply_scale(cfg: Config, name: str | None) -> None:
    """Bring a config to one of its scales; ``scales`` itself goes, as it has done its work.

    What was done is kept as ``scale``: the config of a run is at the scale that it was trained at.

    Args:
        cfg: The config to change.
        name: The scale; None is the config as it stands, the full size.

    Raises:
        ConfigError: The config has no such scale, or is a run's own at another.
    """
    scales = cfg._cfg_dict.pop("scales", None) or {}
    if name is None or name == cfg.get("scale"):
        return
    if cfg.get("scale"):
        raise ConfigError(
            f"--scale {name}: {cfg.filename} was trained with --scale {cfg.scale}; leave it out"
        )
    if name not in scales:
        there = ", ".join(scales) or "none"
        raise ConfigError(
            f"{cfg.filename}: no scale {name!r}{closest(name, scales)}; it has {there}; leave "
            "--scale out for the full size"
        )
    cfg.merge_from_dict({**scales[name], "scale": name})
