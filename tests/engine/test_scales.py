"""Scales of a config: sizes that it declares itself and its children inherit."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from echozoo.engine.config_file import load_config
from echozoo.engine.scales import apply_scale, load_scaled
from echozoo.errors import ConfigError

BASE = """
model = dict(type="M", width=64, part=dict(type="P", depth=12))
train_cfg = dict(max_epochs=100)
frozen = ("a", "b")
scales = dict(tiny=dict(model=dict(width=8), train_cfg=dict(max_epochs=5), frozen=()))
"""
CHILD = """
_base_ = "base.py"
model = dict(part=dict(depth=3), temporal=dict(type="TRA"))
scales = dict(tiny=dict(model=dict(temporal=dict(size=2))))
"""


@pytest.fixture
def child(tmp_path: Path) -> Config:
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "child.py").write_text(CHILD)
    return load_config(tmp_path / "child.py")


def test_a_child_inherits_the_scale_and_adds_to_it(child):
    apply_scale(child, "tiny")
    assert child.model == dict(
        type="M", width=8, part=dict(type="P", depth=3), temporal=dict(type="TRA", size=2)
    )
    assert child.train_cfg == dict(max_epochs=5)
    assert child.frozen == ()
    assert "scales" not in child


def test_without_a_scale_the_config_stays(child):
    apply_scale(child, None)
    assert child.model.width == 64
    assert child.model.temporal == dict(type="TRA")
    assert "scales" not in child


def test_an_unknown_scale_is_one_line(child):
    with pytest.raises(ConfigError, match="child.py: no scale 'tinny'; did you mean tiny.*full"):
        apply_scale(child, "tinny")


def test_a_config_without_scales_has_none(tmp_path):
    (tmp_path / "plain.py").write_text('model = dict(type="M")')
    with pytest.raises(ConfigError, match="it has none"):
        apply_scale(load_config(tmp_path / "plain.py"), "tiny")


def test_what_a_child_sets_that_does_not_mention_the_scale_it_sets_at_every_size(tmp_path):
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "own.py").write_text(
        '_base_ = "base.py"\nmodel = dict(width=64)\nfrozen = ("c",)\n'
    )
    (tmp_path / "leaf.py").write_text('_base_ = "own.py"\ntrain_cfg = dict(max_epochs=7)\n')
    cfg = load_scaled(tmp_path / "leaf.py", "tiny")
    assert (cfg.model.width, cfg.frozen, cfg.train_cfg.max_epochs) == (64, ("c",), 7)
    assert "scales" not in cfg
    assert load_scaled(tmp_path / "leaf.py", None).model.width == 64


def test_a_child_that_mentions_the_scale_leaves_it_the_rest(tmp_path):
    (tmp_path / "base.py").write_text(BASE)
    own = "scales = dict(tiny=dict(frozen=('c',)))"
    (tmp_path / "own.py").write_text(f'_base_ = "base.py"\nmodel = dict(width=32)\n{own}\n')
    cfg = load_scaled(tmp_path / "own.py", "tiny")
    assert (cfg.model.width, cfg.frozen) == (8, ("c",))
