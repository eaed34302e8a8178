"""Schedules follow the length of the training, also of one that is resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from echozoo.engine import failures, launch
from echozoo.errors import CheckpointError, TrainingError

TOY = str(Path(__file__).parent / "toy" / "toy_config.py")
EPOCH = 4  # iterations of the toy's epoch: 8 samples, 2 a batch
COSINE = [dict(type="CosineAnnealingLR", convert_to_iter_based=True)]
WARM_POLY = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=3),
    dict(type="PolyLR", power=0.9, by_epoch=True),
]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes own.py, a config that builds on the toy's."""
    monkeypatch.syspath_prepend(Path(TOY).parent)
    return lambda text: (tmp_path / "own.py").write_text(f"_base_ = {TOY!r}\n{text}\n")


def start(read, epochs: int, schedulers: list[dict], *options: str, resume: str = "", **optimizer):
    options = ("--data-root", "x", "--work-dir", "run", *options)
    cfg = read(*options, "--cfg-options", f"train_cfg.max_epochs={epochs}")
    cfg.param_scheduler = schedulers
    cfg.optim_wrapper.optimizer.update(optimizer)
    if resume:
        cfg.load_from, cfg.resume = resume, True
    return launch.build_runner(cfg)


def rates(runner) -> list[float]:
    """The learning rate of each iteration that a training takes."""
    seen = []
    train_step = runner.model.train_step

    def step(*args, **kwargs):
        seen.append(runner.optim_wrapper.param_groups[0]["lr"])
        return train_step(*args, **kwargs)

    runner.model.train_step = step
    runner.train()
    return seen


@pytest.mark.parametrize(
    ("written", "moved"),
    [
        (dict(type="PolyLR", power=0.9, end=2), dict(end=5)),
        (dict(type="CosineAnnealingLR", T_max=2, begin=0), dict(T_max=5)),
        (dict(type="CosineAnnealingLR", T_max=1, begin=1, end=2), dict(T_max=4, end=5)),
        (dict(type="LinearLR", by_epoch=False, end=2), dict(end=2)),  # 2 iterations
        (dict(type="PolyLR", end=1), dict(end=1)),
    ],
)
def test_what_ends_with_the_training_follows_its_length(own, read, said, written, moved):
    own(f"param_scheduler = {written!r}")
    cfg = read("--data-root", "x", "--cfg-options", "train_cfg.max_epochs=5", config="own.py")
    assert cfg.param_scheduler == dict(written, **moved)
    assert len(said) == sum(written[key] != value for key, value in moved.items())
    assert not said or "follows train_cfg.max_epochs: " in said[0]


def test_a_schedule_that_is_given_as_well_is_left_alone(own, read):
    own("param_scheduler = [dict(type='PolyLR', end=2)]")
    options = ("train_cfg.max_epochs=5", "param_scheduler.0.end=2")
    cfg = read("--data-root", "x", "--cfg-options", *options, config="own.py")
    assert cfg.param_scheduler[0]["end"] == 2


@pytest.mark.parametrize("schedulers", [COSINE, WARM_POLY], ids=["cosine", "warm-up and poly"])
def test_resumed_with_more_epochs_goes_on_by_the_new_schedule(read, schedulers, capsys):
    whole = rates(start(read, 4, schedulers, "--work-dir", "whole"))
    first = rates(start(read, 2, schedulers))
    capsys.readouterr()
    more = rates(start(read, 4, schedulers, resume="run/epoch_2.pth"))
    assert first != whole[: 2 * EPOCH]
    assert more == whole[2 * EPOCH :]
    assert "Resumed at epoch 2, iteration 8 (the checkpoint's: 8)" in capsys.readouterr().out


def test_resumed_with_another_batch_size_goes_on_by_epochs(read, capsys):
    start(read, 2, COSINE).train()
    batch = ("train_dataloader.batch_size=4",)
    cfg = read("--data-root", "x", "--work-dir", "run", "--cfg-options", *batch)
    cfg.merge_from_dict({"train_cfg.max_epochs": 4})
    cfg.param_scheduler, cfg.load_from, cfg.resume = COSINE, "run/epoch_2.pth", True
    capsys.readouterr()
    runner = launch.build_runner(cfg)
    seen = rates(runner)
    assert runner.iter == 8  # 4 epochs of 2
    assert "iteration 4 (the checkpoint's: 8)" in capsys.readouterr().out
    # The closed form: (1 + cos(pi t / 8)) / 2 of 0.1.
    steps = torch.arange(4, 8)
    expected = 0.05 * (1 + torch.cos(torch.pi * steps / 8))
    torch.testing.assert_close(torch.tensor(seen), expected, rtol=0, atol=1e-7)


def test_resumed_with_another_rate_takes_it(read, capsys):
    start(read, 2, COSINE).train()
    capsys.readouterr()
    seen = rates(start(read, 4, COSINE, resume="run/epoch_2.pth", lr=0.2))
    assert seen[0] == pytest.approx(0.1)  # half way of a cosine from 0.2
    assert "learning rate 0.1 (the checkpoint's: " in capsys.readouterr().out


def test_a_plateau_keeps_what_it_has_seen(read, capsys):
    plateau = [dict(type="ReduceOnPlateauLR", monitor="toy/error", patience=0, threshold=9.0)]
    start(read, 3, plateau).train()
    saved = torch.load("run/epoch_3.pth", weights_only=True)["param_schedulers"][0]
    runner = start(read, 3, plateau, resume="run/epoch_3.pth")
    runner.train()
    kept = runner.param_schedulers[0].state_dict()
    names = ("last_step", "num_bad_epochs", "best", "_last_value")
    assert [kept[name] for name in names] == [saved[name] for name in names]
    assert kept["_last_value"] == [runner.optim_wrapper.param_groups[0]["lr"]] != [0.1]
    assert "the checkpoint's is kept" in capsys.readouterr().out


def test_a_finished_run_says_so(read, capsys):
    start(read, 2, COSINE).train()
    capsys.readouterr()
    start(read, 2, COSINE, resume="run/epoch_2.pth").train()
    out = capsys.readouterr().out
    assert "Nothing is left to train: 2 of 2 epochs are done; more by" in out
    assert "Resumed at" not in out, "nothing differs"


@pytest.mark.parametrize(
    "optimizer",
    [dict(type="Adam", lr=1e-3), dict(type="RMSprop", lr=1e-3)],
    ids=["Adam", "RMSprop"],
)
def test_another_optimiser_is_one_line(read, optimizer):
    start(read, 1, []).train()
    runner = start(read, 2, [], resume="run/epoch_1.pth")
    runner.optim_wrapper["optimizer"] = optimizer
    with pytest.raises(CheckpointError, match="what trained is not what trains now"):
        runner.train()


@pytest.mark.parametrize("spoilt", ["loss", "weights"])
def test_what_is_not_finite_stops_the_training(read, spoilt):
    runner = start(read, 2, [])
    train_step, steps = runner.model.train_step, []

    def step(*args, **kwargs):
        steps.append(train_step(*args, **kwargs))
        if len(steps) == EPOCH:  # the last of the first epoch
            if spoilt == "loss":
                return {"loss": torch.tensor(float("nan"))}
            torch.nn.init.constant_(runner.model.decoder[1].bias, float("inf"))
        return steps[-1]

    runner.model.train_step = step
    message = r"iteration 4 \(epoch 1\): found loss nan" if spoilt == "loss" else "decoder.1.bias"
    with pytest.raises(TrainingError, match=message), failures.one_line():
        runner.train()
    assert not list(Path("run").glob("*.pth"))
