"""A tested average is the one that `EchoInferencer` makes of the same runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from echozoo.apis.averaging import AveragedModel
from echozoo.apis.loading import load_model
from echozoo.engine.averages import average
from echozoo.engine.config_file import load_config
from echozoo.errors import ConfigError
from echozoo.models.checkpoints import load_published
from echozoo.registry import MODELS

CONFIG = """
_base_ = "{configs}/unet.py"
model = dict(
    backbone=dict(base_channels=4),
    decode_head=dict(in_channels=4, channels=4),
    postprocessing=[dict(type="LargestComponent")],
)
test_dataloader = dict(dataset=dict(image_size=(32, 32)))
"""


@pytest.fixture
def runs(tiny_configs, tmp_path):
    """Three runs of random weights."""
    init_default_scope("echozoo")
    folders = [tmp_path / f"run{number}" for number in range(3)]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        (folder / "tiny.py").write_text(CONFIG.format(configs=tiny_configs))
        torch.manual_seed(seed)
        model = MODELS.build(load_config(folder / "tiny.py").model)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.kaiming_normal_(parameter)
        torch.save({"state_dict": model.state_dict()}, folder / "best_a_epoch_1.pth")
    return folders


def config_of(runs):
    cfg = load_config(runs[0] / "tiny.py")
    average(cfg, str(runs[0] / "best_a_epoch_1.pth"), [str(run) for run in runs[1:]])
    return cfg


def test_it_is_the_average_of_inference(runs):
    members = [load_model(run, device="cpu", fast_cpu=False) for run in runs]
    frames = np.random.default_rng(0).integers(0, 255, (3, 40, 48), np.uint8)
    wanted = AveragedModel(members).predict(frames, (1.0, 1.0))
    inputs, sample = members[0].prepare(frames, (1.0, 1.0))
    sample.set_metainfo({"frames": (0, 1, 2)})
    model = MODELS.build(config_of(runs).model).eval()
    assert model.sees == "frame"
    with torch.no_grad():
        (found,) = model.test_step({"inputs": list(inputs), "data_samples": [sample]})
    assert found.pred_labels.shape == (3, 40, 48)
    assert len(found.pred_labels.unique()) > 1
    torch.testing.assert_close(found.pred_labels, wanted.pred_labels)
    torch.testing.assert_close(found.pred_masks, wanted.pred_masks)
    alone = members[0].predict(frames, (1.0, 1.0)).pred_labels
    assert not torch.equal(alone, found.pred_labels), "the others have their say"


def test_what_cannot_be_averaged_is_one_line(runs, tiny_configs):
    (runs[1] / "tiny.py").write_text(
        f"{CONFIG.format(configs=tiny_configs)}test_dataloader['dataset']['structures'] = ('lv',)"
    )
    with pytest.raises(ConfigError, match=r"run1: its data have structures=\('lv',\), wanted None"):
        config_of(runs)
    model = MODELS.build(dict(type="Ensemble", members=[]))
    with pytest.raises(ConfigError, match="it is tested alone"):
        model(torch.zeros(1, 1, 1, 8, 8), [], mode="loss")
    cfg = load_config(tiny_configs / "samus_tra.py")
    prompted = MODELS.build(cfg.model)
    torch.save({"state_dict": prompted.state_dict()}, runs[0] / "best_a_epoch_1.pth")
    assert not load_published(prompted, runs[0] / "best_a_epoch_1.pth").left
    members = [dict(model=cfg.model, weights=str(runs[0] / "best_a_epoch_1.pth"))]
    with pytest.raises(ConfigError, match="its model needs prompts"):
        MODELS.build(dict(type="Ensemble", members=members))
