"""Every config loads, builds, trains a step and tests, through the Runner, on generated data."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from echozoo.engine import launch
from echozoo.errors import CheckpointError
from echozoo.registry import MODELS

CONFIGS = sorted(Path("configs").glob("*.py"))

# The parts at sizes that a test can wait for; what is not named here runs as it is.
SMALL_SAM = {
    "model.prompt_head.img_size": 64,
    "model.prompt_head.embed_dims": 32,
    "model.decoder.embed_dims": 32,
    "model.decoder.mlp_dims": 32,
    "model.decoder.iou_head_hidden": 32,
    "model.backbone.img_size": 64,
    "model.backbone.embed_dims": 24,
    "model.backbone.num_heads": 2,
    "model.backbone.out_channels": 32,
}
SMALL_SAMUS = SMALL_SAM | {
    "model.backbone.conv_channels": (4, 4, 8),
    "model.backbone.pos_embed_size": 16,
    "model.prompt_head.embedding_size": 8,
}
SMALL = {
    "lite_medsam": {
        "model.prompt_head.img_size": 64,
        "model.prompt_head.embedding_size": 16,
        "model.prompt_head.embed_dims": 32,
        "model.decoder.embed_dims": 32,
        "model.decoder.mlp_dims": 32,
        "model.decoder.iou_head_hidden": 32,
        "model.backbone.embed_dims": (8, 8, 16, 16),
        "model.backbone.depths": (1, 1, 1, 1),
        "model.backbone.num_heads": (1, 1, 2, 2),
        "model.backbone.out_channels": 32,
    },
    "sam": SMALL_SAM | {"model.prompt_head.embedding_size": 4},
    "samus": SMALL_SAMUS,
    "samus_tra": SMALL_SAMUS,
    "samus_tra_tiny": {},
    "unet": {"model.backbone.base_channels": 4, "model.decode_head.in_channels": 4},
    "unet_tiny": {},
}


def options(config: Path, data: Path, work_dir: Path, **cfg_options) -> Namespace:
    """What the command line of tools/train.py would say."""
    small = config.stem not in ("samus_tra_tiny", "unet_tiny")
    dataset = dict(image_size=(64, 64), indices=2) if small else dict(indices=2)
    loaders = {f"{loader}.num_workers": 0 for loader in launch.LOADERS}
    loaders |= {f"{loader}.persistent_workers": False for loader in launch.LOADERS}
    return Namespace(
        config=str(config),
        data_root=str(data),
        dataset=dataset | dict(clip_length=2),
        cfg_options=loaders
        | SMALL[config.stem]
        | {"train_cfg.max_epochs": 1, "train_cfg.val_interval": 1}
        | cfg_options,
        work_dir=str(work_dir),
        amp=None,
        seed=0,
        launcher="none",
    )


def read(config: Path, *args, **cfg_options) -> Config:
    cfg = launch.read_config(options(config, *args, **cfg_options))
    launch.forget_pretrained(cfg)
    launch.collect_results(cfg)
    return cfg


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_trains_a_step_and_tests(config, phantom, tmp_path):
    cfg = read(config, phantom, tmp_path)
    runner = launch.build_runner(cfg)
    frozen = {n: p.clone() for n, p in runner.model.named_parameters() if not p.requires_grad}
    before = {n: p.clone() for n, p in runner.model.named_parameters() if p.requires_grad}
    runner.train()
    parameters = dict(runner.model.named_parameters())
    assert all(torch.equal(parameters[name], value) for name, value in frozen.items())
    moved = [name for name, value in before.items() if not torch.equal(parameters[name], value)]
    assert len(moved) > len(before) / 2
    metrics = runner.test()
    assert metrics["camus/num_images"] > 0
    assert 0 <= metrics["camus/dice_with_empty_as_0"] <= 1
    assert (tmp_path / "curves.png").is_file()
    assert list(tmp_path.glob("*.csv"))
    assert list((tmp_path / "overlays").iterdir())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_says_what_it_is_and_how_to_run_it(config):
    text = config.read_text()
    assert text.startswith('"""')
    head = text.split('"""')[1]
    assert "Data: CAMUS" in head
    assert f"configs/{config.name} " in head
    assert len(text.splitlines()) <= 70


@pytest.mark.slow
def test_samus_tra_takes_a_step_at_its_real_size():
    cfg = Config.fromfile("configs/samus_tra.py")
    model = MODELS.build({**cfg.model, "_scope_": "echozoo"})
    sizes = [p.numel() for p in model.parameters()]
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    assert sum(sizes) == 133_323_568 + 4 * 791_296
    assert sum(trained) == 39_653_120 + 4 * 791_296
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    images = torch.rand(2, 1, 256, 256)
    points, labels = torch.rand(2, 3, 1, 2) * 256, torch.ones(2, 3, 1, dtype=torch.int64)
    logits = model.decode(model.encode(images, num_frames=2), points, labels)
    assert logits.shape == (2, 3, 128, 128)
    before = model.backbone.temporal["2"].expand.weight.clone()
    sum(model.loss_function(logits, (torch.rand_like(logits) > 0.5).float()).values()).backward()
    optimizer.step()
    assert not torch.equal(model.backbone.temporal["2"].expand.weight, before)


def test_a_test_refuses_weights_that_leave_parts_random(phantom, tmp_path):
    cfg = read(Path("configs/samus_tra.py"), phantom, tmp_path)
    model = MODELS.build({**cfg.model, "_scope_": "echozoo"})
    weights = {name: v for name, v in model.state_dict().items() if ".temporal." not in name}
    torch.save(weights, tmp_path / "samus.pth")
    cfg.load_from = str(tmp_path / "samus.pth")
    with pytest.raises(CheckpointError, match="samus.pth.*temporal.*random weights"):
        launch.build_runner(cfg).test()
