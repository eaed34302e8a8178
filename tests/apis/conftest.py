"""A tiny model of each kind, with random weights, as a run's work folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from film_files import moving_disc
from mmengine.registry import init_default_scope

from echozoo.engine.config_file import load_config
from echozoo.registry import MODELS

UNET = """
_base_ = "{configs}/unet.py"
model = dict(
    backbone=dict(base_channels=2, num_stages=3, strides=(1, 1, 1), enc_num_convs=(1, 1, 1),
                  dec_num_convs=(1, 1), downsamples=(True, True), enc_dilations=(1, 1, 1),
                  dec_dilations=(1, 1)),
    decode_head=dict(in_channels=2, in_index=2, channels=2),
)
test_dataloader = dict(dataset=dict(image_size=(32, 32)))
"""
PROMPTED = """
_base_ = "{configs}/samus_tra.py"
model = dict(
    backbone=dict(embed_dims=16, depth=2, num_heads=2, global_attn_indexes=(1,), img_size=32,
                  pos_embed_size=8, window_size=2, conv_channels=(4, 4, 8), out_channels=16,
                  {temporal}),
    prompt_head=dict(embed_dims=16, img_size=32, embedding_size=4, {head}),
    decoder=dict(embed_dims=16, num_heads=2, mlp_dims=32, iou_head_hidden=8),
)
test_dataloader = dict(dataset=dict(image_size=(32, 32), clip_length=4))
"""


def write_run(folder: Path, text: str) -> Path:
    """A run's folder: a config, and random weights as its best checkpoint."""
    folder.mkdir()
    config = folder / "tiny.py"
    config.write_text(text)
    cfg = load_config(config)
    init_default_scope("echozoo")
    torch.manual_seed(3)
    model = MODELS.build(cfg.model)
    if "decode_head" in dict(model.named_children()):
        centre(model.eval())
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "best_x_epoch_1.pth")
    return folder


def centre(model: torch.nn.Module) -> None:
    """Let all classes have the same mean score on a film, so that all of them occur."""
    film = torch.from_numpy(moving_disc(2, (32, 32))).float()[None, :, None] / 255
    with torch.no_grad():
        model.decode_head.conv_seg.bias -= model(film).mean(dim=(0, 2, 3))


@pytest.fixture(scope="session")
def unet(tiny_configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "unet"
    return write_run(folder, UNET.format(configs=tiny_configs))


@pytest.fixture(scope="session")
def clicked(tiny_configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes points, and sees one frame at a time."""
    text = PROMPTED.format(
        configs=tiny_configs, temporal="temporal=None", head='prompts=("points",)'
    )
    return write_run(tmp_path_factory.mktemp("runs") / "clicked", text)


@pytest.fixture(scope="session")
def boxed(tiny_configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a temporal module, clips of 4 frames, that takes boxes and masks."""
    text = PROMPTED.format(
        configs=tiny_configs,
        temporal='temporal=dict(type="TRA")',
        head='prompts=("boxes", "masks")',
    )
    return write_run(tmp_path_factory.mktemp("runs") / "boxed", text)


@pytest.fixture(scope="session")
def automatic(tiny_configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AutoSAMUS with a temporal module, clips of 4 frames, that prompts itself."""
    head = "_delete_=True, type='APG', num_structures=3, num_heads=2, num_task_tokens=6"
    text = PROMPTED.format(configs=tiny_configs, temporal='temporal=dict(type="TRA")', head=head)
    return write_run(tmp_path_factory.mktemp("runs") / "automatic", text)


@pytest.fixture(scope="session")
def correctable(tiny_configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that prompts itself, one frame at a time, and takes clicks and boxes as well."""
    head = "_delete_=True, type='LearntPromptHead', num_structures=3, num_tokens=2"
    text = PROMPTED.format(configs=tiny_configs, temporal="temporal=None", head=head)
    return write_run(tmp_path_factory.mktemp("runs") / "correctable", text)
