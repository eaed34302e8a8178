"""Small trained models, as a run leaves them: a folder with a config and a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from echozoo.apis import load_model
from echozoo.engine.config_file import load_config
from echozoo.registry import MODELS

TRA = """
_base_ = "{configs}/samus_tra.py"
model = dict(
    backbone=dict(embed_dims=16, depth=2, num_heads=2, global_attn_indexes=(1,), img_size=64,
                  pos_embed_size=16, window_size=3, conv_channels=(4, 4, 8), out_channels=16),
    prompt_head=dict(embed_dims=16, img_size=64, embedding_size=8),
    decoder=dict(embed_dims=16, num_heads=2, mlp_dims=16, iou_head_hidden=8, transformer_depth=1),
)
size = dict(dataset=dict(image_size=(64, 64), data_root="/private/data", cache_dir="/private/c"))
train_dataloader = size
val_dataloader = size
test_dataloader = size
work_dir = "/private/run"
"""
UNET = """
_base_ = "{configs}/unet.py"
model = dict(
    backbone=dict(base_channels=4, num_stages=3, strides=(1, 1, 1), enc_num_convs=(1, 1, 1),
                  dec_num_convs=(1, 1), downsamples=(True, True), enc_dilations=(1, 1, 1),
                  dec_dilations=(1, 1)),
    decode_head=dict(in_channels=4, channels=4, in_index=2),
)
size = dict(dataset=dict(image_size=(32, 48), structures=("lv", "myo", "la")))
test_dataloader = size
"""
APG = """
_base_ = "{configs}/samus_tra.py"
model = dict(
    backbone=dict(embed_dims=16, depth=1, num_heads=2, global_attn_indexes=(0,), img_size=64,
                  pos_embed_size=16, window_size=3, conv_channels=(4, 4, 8), out_channels=16),
    prompt_head=dict(_delete_=True, type="APG", embed_dims=16, img_size=64, embedding_size=8,
                     num_structures=3, num_task_tokens=6, depth=1, num_heads=2, head_dims=8,
                     ffn_dims=16),
    decoder=dict(embed_dims=16, num_heads=2, mlp_dims=16, iou_head_hidden=8, transformer_depth=1),
    frozen=("backbone.*", "prompt_head.encoder.*", "decoder.*"),
)
test_dataloader = dict(dataset=dict(image_size=(64, 64)))
"""
INSERTS = UNET.replace(
    "base_channels=4,", 'base_channels=4, inserts=[dict(type="TRA", at="encoder.2")],'
)
TEXTS = {"tra": TRA, "unet": UNET, "apg": APG, "inserts": INSERTS}


@pytest.fixture(scope="session")
def make_run(tiny_configs, tmp_path_factory):
    """Write a run's folder: config, and a checkpoint with optimiser and meta like mmengine's."""

    def make(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        config = folder / f"my_{kind}.py"
        config.write_text(TEXTS[kind].format(configs=tiny_configs))
        torch.manual_seed(3)
        model = MODELS.build({**load_config(config).model, "_scope_": "echozoo"})
        for name, weight in model.named_parameters():
            if name.endswith(("expand.weight", "rel_pos_h", "rel_pos_w")):
                nn.init.normal_(weight, std=0.3)  # these start at zero and would hide mistakes
        checkpoint = dict(
            meta=dict(epoch=1), state_dict=model.state_dict(), optimizer=dict(state={}, lr=0.1)
        )
        torch.save(checkpoint, folder / "best_epoch_1.pth")
        return folder

    return make


@pytest.fixture(scope="session")
def runs(make_run):
    return {kind: make_run(kind) for kind in TEXTS}


@pytest.fixture(scope="session")
def trained(runs):
    return {kind: load_model(run, device="cpu") for kind, run in runs.items()}
