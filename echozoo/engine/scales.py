"""Scales: the sizes at which a config can run, declared in the config itself.

A config's ``scales`` maps a name to the keys that differ at that size: ``scales = dict(tiny=dict(
model=..., train_cfg=...))``. Configs that build on it inherit them, so one file serves a model
at its full size and at one for a laptop.
"""

from __future__ import annotations

from mmengine.config import Config

from echozoo.engine.config_options import closest
from echozoo.errors import ConfigError


def apply_scale(cfg: Config, name: str | None) -> None:
    """Bring a config to one of its scales; ``scales`` itself goes, as it has done its work.

    Args:
        cfg: The config to change.
        name: The scale; None is the config as it stands, the full size.

    Raises:
        ConfigError: The config has no such scale.
    """
    scales = cfg._cfg_dict.pop("scales", None) or {}
    if name is None:
        return
    if name not in scales:
        there = ", ".join(scales) or "none"
        raise ConfigError(
            f"{cfg.filename}: no scale {name!r}{closest(name, scales)}; it has {there}; leave "
            "--scale out for the full size"
        )
    cfg.merge_from_dict(scales[name])
