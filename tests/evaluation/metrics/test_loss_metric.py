"""The validation loss: its mean, over processes too, and the checkpoint chosen by it."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner

from echozoo.engine import launch
from echozoo.errors import ConfigError
from echozoo.evaluation.metrics.loss_metric import LossMetric
from echozoo.structures import EchoDataSample

# Clips of unequal length, the last two of one film.
CLIPS = [("a", 4, 0.5), ("b", 1, 2.0), ("c", 2, 0.25), ("d", 3, 0.0), ("d", 2, 1.0)]
MEAN = (4 * 0.5 + 2.0 + 2 * 0.25 + 2 * 1.0) / 12


def samples() -> list[EchoDataSample]:
    return [
        EchoDataSample(
            metainfo=dict(sequence=name, frames=tuple(range(length))), loss=torch.tensor(loss)
        )
        for name, length, loss in CLIPS
    ]


def evaluate(chosen: list[EchoDataSample], **options) -> dict[str, float]:
    evaluator = Evaluator(LossMetric(**options))
    for sample in chosen:
        evaluator.process([sample])
    return evaluator.evaluate(len(CLIPS))


def test_a_clip_weighs_as_much_as_it_has_frames():
    assert evaluate(samples()) == {"val/loss": pytest.approx(MEAN, abs=1e-12)}


def test_a_clip_that_comes_twice_counts_once():
    assert evaluate([*samples(), *samples()[:2]], prefix="x") == {"x/loss": pytest.approx(MEAN)}


def test_a_sample_without_a_loss_says_what_to_set():
    (sample, *_) = samples()
    del sample.loss
    with pytest.raises(ConfigError, match="a came without a loss.*measure_loss=True"):
        evaluate([sample])


def _work(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    found = [
        evaluate([samples()[i] for i in DefaultSampler(range(5), shuffle=False, round_up=padded)])
        for padded in (True, False)
    ]
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_loss_of_one(tmp_path):
    torch.multiprocessing.spawn(_work, (str(tmp_path),), nprocs=2)
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found == [evaluate(samples())] * 2


CONFIG = """
_base_ = {base!r}
model = dict(measure_loss=True)
val_evaluator = [
    dict(type="SegmentationMetric", surface=False, report=False),
    dict(type="LossMetric"),
]
default_hooks = dict(checkpoint=dict(save_best="val/loss", rule="less"))
custom_hooks = [dict(type="ParameterTableHook")]
"""
SMALL = {
    "unet.py": {"model.backbone.base_channels": 4, "model.decode_head.in_channels": 4},
    "samus_tra.py": {
        "model.backbone.embed_dims": 24,
        "model.backbone.num_heads": 2,
        "model.backbone.conv_channels": (4, 4, 8),
    },
}


def read(folder: Path, base: Path, data: Path) -> Config:
    path = folder / "best.py"
    path.write_text(CONFIG.format(base=str(base)))
    loaders = {f"{loader}.num_workers": 0 for loader in launch.LOADERS}
    loaders |= {f"{loader}.persistent_workers": False for loader in launch.LOADERS}
    training = {"train_cfg.max_epochs": 3, "train_cfg.val_interval": 1}
    return launch.read_config(
        Namespace(
            config=str(path),
            scale=None,
            data_root=str(data),
            dataset=dict(image_size=(64, 64), clip_length=3),
            cfg_options=loaders | training | SMALL[base.name],
            work_dir=str(folder),
            amp=None,
            seed=0,
            launcher="none",
        )
    )


class Spoil(Hook):
    """The second epoch ruins the model."""

    @torch.no_grad()
    def after_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == 1:
            for parameter in runner.model.parameters():
                parameter.add_(torch.randn_like(parameter))


@pytest.mark.parametrize("name", SMALL)
def test_the_checkpoint_of_least_loss_is_kept(name, tiny_configs, phantom, tmp_path):
    runner = launch.build_runner(read(tmp_path, tiny_configs / name, phantom))
    runner.register_hook(Spoil())
    runner.train()
    (log,) = tmp_path.glob("*/vis_data/scalars.json")
    lines = map(json.loads, log.read_text().splitlines())
    by_epoch = {line["step"]: line["val/loss"] for line in lines if "val/loss" in line}
    assert by_epoch[1] < min(by_epoch[2], by_epoch[3])
    assert [path.name for path in tmp_path.glob("best_*")] == ["best_val_loss_epoch_1.pth"]

    # The last one again, otherwise: as a loss of training, clip by clip.
    model = runner.model.eval()
    total = frames = 0
    with torch.no_grad():
        for batch in runner.val_dataloader:
            batch = model.data_preprocessor(batch)
            losses = model(**batch, mode="loss")
            length = batch["inputs"].shape[1]
            total += length * sum(v.item() for k, v in losses.items() if "loss" in k)
            frames += length
    assert by_epoch[3] == pytest.approx(total / frames, rel=1e-5)
