"""A run that is killed within an epoch and resumed ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from killing import run_tool

KILLER = """
import os
import signal

from mmengine.hooks import Hook

from echozoo.registry import HOOKS


@HOOKS.register_module()
class KillHook(Hook):
    def __init__(self, epoch):
        self.epoch = epoch

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.epoch == self.epoch and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGKILL)
"""

CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=["killer"])
_base_.custom_hooks.append(dict(type="KillHook", epoch=-1))
"""


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_weights(phantom, tiny_configs, tmp_path, monkeypatch):
    """Of a config that averages its weights, and ends by fitting a head to the best ones."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "killer.py").write_text(KILLER)
    config = tmp_path / "tiny.py"
    config.write_text(CONFIG.format(base=str(tiny_configs / "efficient_unet.py")))
    killer = len(_hooks(config)) - 1

    def train(run: str, *options: str, kill_in: int = -1) -> tuple[int, str]:
        command = [config, *options]
        command += ["--data-root", phantom, "--work-dir", run, "--dataset", "clip_length=2"]
        command += ["--cfg-options", "train_cfg.max_epochs=3", "train_cfg.val_interval=1"]
        command += ["train_dataloader.batch_size=2"]
        command += [f"custom_hooks.{killer}.epoch={kill_in}"]
        return run_tool("train.py", *command)

    status, said = train("whole")
    assert status == 0, said
    status, said = train("killed", kill_in=1)
    assert status == -9, said
    assert not (tmp_path / "killed" / "epoch_2.pth").exists()
    status, said = train("killed", "--resume")
    assert status == 0, said
    assert "resuming from killed/epoch_1.pth" in said

    whole, resumed = (
        torch.load(tmp_path / run / "epoch_3.pth", weights_only=True) for run in ("whole", "killed")
    )
    assert whole["meta"]["iter"] == resumed["meta"]["iter"]
    differing = [
        name
        for name, weights in whole["state_dict"].items()
        if not torch.equal(weights, resumed["state_dict"][name])
    ]
    assert not differing
    (best,) = (tmp_path / "killed").glob("best_*.pth")
    weights = torch.load(best, weights_only=True)["state_dict"]
    assert weights["view_head.limit"] > 0, "the training ends by fitting the best one's head"


def _hooks(config: Path) -> list[dict]:
    from mmengine.config import Config

    return Config.fromfile(str(config), import_custom_modules=False).custom_hooks
