"""`echozoo publish` as a user starts it; what it writes is tested with tests/export."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from killing import run_tool
from mmengine.config import Config

from echozoo.cli import publish
from echozoo.export.weights_file import write_weights
from echozoo.registry import MODELS


@pytest.fixture
def main(monkeypatch):
    """Run the tool in this process and return how it ended."""

    def main(*args: object) -> int | str:
        monkeypatch.setattr(sys, "argv", ["publish", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            publish.main()
        return end.value.code

    return main


@pytest.fixture(scope="module")
def run(tiny_configs, tmp_path_factory) -> Path:
    """What a run leaves: a dumped config and a checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    cfg = Config.fromfile(tiny_configs / "unet.py")
    cfg.merge_from_dict({"model.backbone.base_channels": 4, "model.decode_head.in_channels": 4})
    cfg.merge_from_dict({"work_dir": str(folder), "test_dataloader.num_workers": 0})
    cfg.dump(folder / "unet.py")
    model = MODELS.build({**cfg.model, "_scope_": "echozoo"})
    torch.save(dict(meta=dict(epoch=3), state_dict=model.state_dict()), folder / "best_3.pth")
    return folder


@pytest.mark.slow
def test_publish_verify_and_test(run, phantom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = run_tool("publish.py", run, "-o", "out")
    assert status == 0, said
    assert "no metrics: " in said
    (weights,) = (tmp_path / "out").glob("unet-*.safetensors")

    status, said = run_tool("publish.py", "--verify", weights)
    assert status == 0, said
    assert "unchanged since it was published" in said
    assert "training_data: CAMUS; by the config" in said

    # The file alone: its config is inside.
    arguments = (weights, "--data-root", phantom, "--dataset", "indices=2")
    status, said = run_tool("test.py", *arguments, "--postprocess", "LargestComponent", "FillHoles")
    assert status == 0, said
    folder = tmp_path / "work_dirs" / weights.stem
    kept = Config.fromfile(folder / f"{weights.stem}.py", import_custom_modules=False)
    assert [step.type for step in kept.model.postprocessing] == ["LargestComponent", "FillHoles"]
    assert sorted(path.suffix for path in folder.glob("unet-*")) == [".py"], "no weights are copied"
    assert json.loads((folder / "results.json").read_text())["checkpoint"] == str(weights)
    arguments = ("out/unet.py", *arguments)
    status, said = run_tool("test.py", *arguments, "--postprocess", "Absent")
    assert (status, said.splitlines()[-1].startswith("error: ")) == (1, True), said


def test_a_tampered_file_is_one_line(main, tmp_path):
    file = tmp_path / "w.safetensors"
    write_weights(file, {"a": torch.ones(3)}, {"name": "x"})
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    said = main("--verify", file)
    assert said.startswith(f"error: {file}: weights_sha256 is ")
    assert "\n" not in said


def test_a_file_cannot_steer_the_terminal(main, tmp_path, capsys):
    file = tmp_path / "w.safetensors"
    write_weights(file, {"a": torch.ones(3)}, {"name": "x\x1b[2J\nlicence: MIT"})
    assert main("--verify", file) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "name: x?[2J?licence: MIT" in out


def test_what_cannot_be_published_is_one_line(main, run, tiny_configs, tmp_path, capsys):
    assert "absent: no such checkpoint" in main("absent", "-o", tmp_path)
    (tmp_path / "empty").mkdir()
    assert "empty: no checkpoint in this folder" in main(tmp_path / "empty", "-o", tmp_path)
    said = main(run, "--config", tiny_configs / "unet.py", "-o", tmp_path / "out")
    assert "best_3.pth: does not fit" in said
    assert not (tmp_path / "out").exists()
    assert main(run) == 2
    assert "give a run and -o FOLDER, or --verify FILE" in capsys.readouterr().err


def test_a_script_beside_a_checkpoint_is_not_run(main, run, tmp_path):
    shutil.copy(run / "best_3.pth", tmp_path)
    (tmp_path / "script.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    said = main(tmp_path / "best_3.pth", "-o", tmp_path / "out")
    assert "is no run's folder; name the model's config with --config" in said
    assert not (tmp_path / "ran").exists()
