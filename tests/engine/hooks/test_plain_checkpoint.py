import copy
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from echozoo.engine.hooks.plain_checkpoint import PlainCheckpointHook
from echozoo.errors import CheckpointError


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)
        nn.init.constant_(self.linear.weight, 0.7)
        nn.init.constant_(self.linear.bias, 0.3)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        output = self.linear(torch.stack(inputs))
        return {"loss": output.square().mean()} if mode == "loss" else list(output)


class Countdown(BaseMetric):
    """A score that falls, so that the first epoch's checkpoint stays the best."""

    score = 1.0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        type(self).score -= 0.1
        return {"dice": np.float32(self.score)}


class Scribble(Hook):
    """Adds numpy values to a checkpoint, as a user's hook may."""

    priority = "VERY_LOW"

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint["meta"]["volume"] = np.float64(63.2)
        checkpoint["meta"]["curve"] = np.arange(3)


class Data(list):
    metainfo = {"classes": ("lv", "myo", "la"), "palette": [(255, 0, 0), (0, 255, 0), (0, 0, 255)]}


def loader():
    return {
        "dataset": Data({"inputs": torch.tensor([float(i)])} for i in range(4)),
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "batch_size": 2,
        "collate_fn": {"type": "pseudo_collate"},
    }


def runner_of(folder, epochs, experiment, scheduler=None, hooks=(), resume=False):
    return Runner(
        model=Toy(),
        work_dir=str(folder),
        train_dataloader=loader(),
        val_dataloader=loader(),
        train_cfg={"by_epoch": True, "max_epochs": epochs, "val_interval": 1},
        val_cfg={},
        val_evaluator=Evaluator(Countdown()),
        optim_wrapper={"optimizer": {"type": "Adam", "lr": 0.1}},
        param_scheduler=scheduler or {"type": "PolyLR", "end": 9},
        default_hooks={
            "checkpoint": {
                "type": "CheckpointHook",
                "interval": 1,
                "save_best": "dice",
                "rule": "greater",
                "max_keep_ckpts": 2,
            }
        },
        custom_hooks=[{"type": "PlainCheckpointHook"}, *hooks],
        resume=resume,
        default_scope="echozoo",
        experiment_name=f"{folder.parent.name}-{folder.name}-{experiment}",
        randomness={"seed": 3},
    )


@pytest.fixture(autouse=True)
def _fresh_score():
    Countdown.score = 1.0


def test_resumes_what_it_saved(tmp_path):
    first = runner_of(tmp_path, 3, "first", hooks=[Scribble()])
    first.train()
    scalars = copy.deepcopy(first.message_hub.log_scalars)
    saved = torch.load(tmp_path / "epoch_3.pth", weights_only=True)
    assert saved["meta"]["volume"] == 63.2
    assert saved["meta"]["curve"].tolist() == [0, 1, 2]
    assert torch.load(tmp_path / "best_dice_epoch_1.pth", weights_only=True)["state_dict"]

    second = runner_of(tmp_path, 4, "second", resume=True)
    assert second.message_hub is not first.message_hub
    seen = {}

    class Look(Hook):
        def before_train(self, runner):
            seen["scalars"] = copy.deepcopy(dict(runner.message_hub.log_scalars))
            seen["info"] = dict(runner.message_hub.runtime_info)
            seen["weights"] = copy.deepcopy(runner.model.state_dict())

    second.register_hook(Look())
    second.train()
    for key in ("train/lr", "train/loss"):
        assert isinstance(seen["scalars"][key], HistoryBuffer)
        for ours, theirs in zip(seen["scalars"][key].data, scalars[key].data, strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
    assert seen["scalars"]["train/loss"].mean(2) == scalars["train/loss"].mean(2)
    assert seen["info"]["best_score"] == pytest.approx(0.9)
    assert seen["info"]["best_ckpt"].endswith("best_dice_epoch_1.pth")
    assert torch.equal(seen["weights"]["linear.weight"], first.model.linear.weight)
    assert len(second.message_hub.get_scalar("train/loss").data[0]) == 8
    assert (tmp_path / "best_dice_epoch_1.pth").exists()
    assert not (tmp_path / "best_dice_epoch_4.pth").exists()
    assert not (tmp_path / "epoch_2.pth").exists()  # keep-2 went on counting
    log = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "resumed epoch: 3" in log
    assert "metainfo from the resumed checkpoint is different" not in log


def test_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path):
    whole = runner_of(tmp_path / "whole", 4, "whole")
    whole.train()
    runner_of(tmp_path / "parts", 2, "first").train()
    resumed = runner_of(tmp_path / "parts", 4, "second", resume=True)
    resumed.train()
    assert torch.equal(whole.model.linear.weight, resumed.model.linear.weight)
    assert whole.optim_wrapper.get_lr() == resumed.optim_wrapper.get_lr()


def test_one_cycle_scheduler_resumes(tmp_path):
    # Its state holds a function, which no safe reader takes.
    cycle = {"eta_max": 0.1, "total_steps": 8, "end": 8, "by_epoch": False}
    scheduler = {"type": "OneCycleLR", **cycle}
    whole = runner_of(tmp_path / "whole", 4, "whole", scheduler)
    whole.train()
    runner_of(tmp_path / "parts", 2, "first", scheduler).train()
    resumed = runner_of(tmp_path / "parts", 4, "second", scheduler, resume=True)
    resumed.train()
    assert torch.equal(whole.model.linear.weight, resumed.model.linear.weight)


def test_without_the_hook_a_checkpoint_is_refused(tmp_path):
    # The premise of the hook: should mmengine write plain checkpoints one day, it can go.
    hub = MessageHub.get_instance(f"{tmp_path.name}-premise")
    hub.update_scalar("loss", 1.0)
    torch.save(hub.state_dict(), tmp_path / "hub.pth")
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "hub.pth", weights_only=True)


def make_plain(value, tmp_path):
    checkpoint = {"state_dict": {}, "meta": {"value": value}}
    PlainCheckpointHook().before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / "w.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return torch.load(tmp_path / "w.pth", weights_only=True)["meta"]["value"]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("ED"), "ED"),
        (np.array(["ED", "ES"]), ["ED", "ES"]),
        ((1, [np.int64(2), {"a": None}]), (1, [2, {"a": None}])),
        (OrderedDict(b=1, a=np.int8(2)), OrderedDict(b=1, a=2)),
        ({1, 2}, {1, 2}),
        (frozenset("a"), {"a"}),
        (b"bytes", b"bytes"),
        (1 + 2j, 1 + 2j),
        (torch.Size((2, 3)), (2, 3)),
        ({"kept": 1, "dropped": len}, {"kept": 1}),
        (torch.float16, torch.float16),
    ],
)
def test_plain_values(tmp_path, value, plain):
    found = make_plain(value, tmp_path)
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.bool_, np.complex64])
def test_numeric_arrays_become_tensors(tmp_path, dtype):
    array = np.array([[0, 1], [1, 0]], dtype=dtype)[:, ::-1]  # not contiguous
    found = make_plain(array, tmp_path)
    np.testing.assert_array_equal(found.numpy(), array)
    assert found.numpy().dtype == dtype


def test_weights_are_not_touched():
    weights = OrderedDict(a=torch.zeros(1))
    weights._metadata = {"": {"version": 2}}
    checkpoint = {"state_dict": weights}
    PlainCheckpointHook().before_save_checkpoint(None, checkpoint)
    assert checkpoint["state_dict"] is weights


def test_object_that_nothing_plain_stands_for_is_named():
    class Probe:
        pass

    checkpoint = {"state_dict": {}, "meta": {"probes": [1, Probe()]}}
    with pytest.raises(CheckpointError, match=r"entry meta.probes.1 is of type Probe"):
        PlainCheckpointHook().before_save_checkpoint(None, checkpoint)


def test_weights_alone_load():
    checkpoint = {"state_dict": {}}
    PlainCheckpointHook().after_load_checkpoint(None, checkpoint)
    assert checkpoint == {"state_dict": {}}
