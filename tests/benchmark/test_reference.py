from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn

from echozoo.benchmark.reference import find_reference, load_published_code, random_weights
from echozoo.benchmark.setting import Setting
from echozoo.errors import ConfigError


def test_a_checkout_meets_no_other_package_of_its_name(checkout, monkeypatch):
    mine = types.ModuleType("models")
    monkeypatch.setitem(sys.modules, "models", mine)
    path, before = list(sys.path), set(sys.modules)
    builders = load_published_code(checkout())
    assert callable(builders._build_samus)
    assert sys.modules["models"] is mine
    assert sys.path == path
    assert {name for name in set(sys.modules) - before if "samus" in name} <= {
        "_published_samus",
        "_published_samus.build_sam_us",
        "_published_samus.modeling",
    }


def test_stray_imports_of_absent_packages_are_no_hindrance(checkout, monkeypatch):
    for name in ("turtle", "tkinter", "einops"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    find = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name in ("turtle", "einops") else find(name, *rest),
    )
    load_published_code(checkout())
    assert "turtle" not in sys.modules
    assert "einops" not in sys.modules


def test_a_package_that_is_absent_is_named(checkout):
    folder = checkout(first="import no_such_package\n")
    with pytest.raises(ConfigError, match=r"needs the package no_such_package: pip install"):
        load_published_code(folder)


def test_a_folder_that_is_no_checkout(tmp_path):
    with pytest.raises(ConfigError, match=r"no models/segment_anything_samus/build_sam_us\.py"):
        load_published_code(tmp_path)


def test_a_second_checkout_is_not_the_first(checkout, tmp_path):
    first = checkout()
    load_published_code(first)
    second = first.rename(tmp_path / "other")
    builder = second / "models" / "segment_anything_samus" / "build_sam_us.py"
    builder.write_text(builder.read_text() + "\nMARK = 1\n")
    assert load_published_code(second).MARK == 1


def test_random_weights_leave_no_table_at_zero_and_norms_near_one():
    network = nn.Sequential(nn.Linear(400, 300), nn.LayerNorm(300))
    network.table = nn.Parameter(torch.zeros(63, 64))
    weights = random_weights(network, seed=1)
    assert weights["table"].std() == pytest.approx(0.5 / 64**0.5, rel=0.1)
    assert weights["0.weight"].std() == pytest.approx(0.5 / 400**0.5, rel=0.1)
    assert weights["1.weight"].mean() == pytest.approx(1, abs=0.05)
    assert weights["1.bias"].abs().max() < 0.1
    again = random_weights(network.to("meta"), seed=1)
    assert all(torch.equal(again[key], value) for key, value in weights.items())
    assert not torch.equal(random_weights(network, seed=2)["table"], weights["table"])


def test_segment_anything_is_an_encoder_alone(small):
    with pytest.raises(ConfigError, match="image encoder alone"):
        find_reference(Setting(small(), part="train", against="segment-anything"))
