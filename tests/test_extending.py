"""docs/extending.md: its parts keep what their kinds promise, its configs train and test."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from killing import run_tool
from mmengine.registry import Registry

from echozoo import registry
from echozoo.engine import launch

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/extending.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", PAGE, flags=re.DOTALL))
CONFIGS = sorted(name for name in FILES if name.startswith("my_"))
PARTS = sorted(set(FILES) - set(CONFIGS))
# Of kinds that have no contract tests.
OTHERS = {"salt.py", "area_error.py", "opening.py"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The page's files, as a reader would have them; what they register is forgotten."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace("CONFIGS", str(ROOT / "configs")))
    path = list(sys.path)
    yield tmp_path
    modules = {name.removesuffix(".py") for name in PARTS}
    for kind in vars(registry).values():
        if isinstance(kind, Registry):
            for name in [n for n, p in kind.module_dict.items() if p.__module__ in modules]:
                del kind.module_dict[name]
    for module in modules:
        sys.modules.pop(module, None)
    sys.path[:] = path


def test_each_section_has_a_part_and_a_config():
    assert len(re.findall(r"^## ", PAGE, re.MULTILINE)) == len(PARTS)
    assert {part for name in CONFIGS for part in re.findall(r'imports=\["(\w+)"', FILES[name])} == {
        name.removesuffix(".py") for name in PARTS
    }


def test_parts_pass_the_tests_of_their_kinds(folder, monkeypatch):
    contracts = [FILES[name] for name in PARTS if name not in OTHERS]
    given = re.findall(r"^contract = dict\((.*)\)$", "\n".join(contracts), re.MULTILINE)
    text = re.sub(r"^contract = .*$", "", "\n\n".join(contracts), flags=re.MULTILINE)
    part = folder / "all_parts.py"
    part.write_text(f"{text}\ncontract = dict({', '.join(given)})\n")
    monkeypatch.chdir(folder)
    options = ("-q", "-rs", "-p", "no:xdist", "-p", "no:cacheprovider")
    program = Path(pytest.__file__).with_name("__main__.py")
    status, said = run_tool(program, ROOT / "tests/contracts", "--part", part, *options)
    assert status == 0, said
    assert "SKIPPED" not in said
    assert "not tested here: DepthPrompts (transform)" in said


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_trains_and_tests(name, folder, phantom, monkeypatch):
    monkeypatch.chdir(folder)
    data, dataset = str(phantom), dict(indices=1, clip_length=2, split="ratio")
    if name == "my_data.py":
        films = folder / "films"
        films.mkdir()
        sys.path.insert(0, str(folder))
        data = __import__("outpatients").write_films(films)["data_root"]
        dataset["clip_length"] = 4
    options = {"train_cfg.max_epochs": 1, "train_cfg.val_interval": 1, "custom_hooks": []}
    options |= {"train_dataloader.batch_size": 1}
    for loader in launch.LOADERS:
        options |= {f"{loader}.num_workers": 0, f"{loader}.persistent_workers": False}
    args = Namespace(config=name, scale="tiny", data_root=data, dataset=dataset, amp=None, seed=0)
    vars(args).update(cfg_options=options, work_dir=str(folder / "run"), launcher="none")
    cfg = launch.read_config(args)
    launch.forget_pretrained(cfg)
    runner = launch.build_runner(cfg)
    runner.train()
    metrics = runner.test()
    assert any(key.endswith("num_images") for key in metrics)
    assert ("area/error_percent" in metrics) == (name == "my_metric.py")
