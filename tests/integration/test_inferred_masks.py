"""What echozoo infer writes is what echozoo test measures: the same masks, the same numbers."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from echozoo.apis import EchoInferencer
from echozoo.engine import launch
from echozoo.engine.config_file import load_config
from echozoo.films.io import read_volume
from echozoo.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

pytestmark = pytest.mark.slow


def numbers_of(config: Path, data: Path, work_dir: Path, **options) -> dict[str, float]:
    options |= {"test_dataloader.num_workers": 0, "custom_hooks": []}
    args = Namespace(config=str(config), scale=None, data_root=str(data), work_dir=str(work_dir))
    vars(args).update(dataset=dict(split="files"), cfg_options=options)
    vars(args).update(amp=None, seed=0, launcher="none", fast_cpu=True)
    cfg = launch.read_config(args)
    launch.forget_pretrained(cfg)
    return launch.build_runner(cfg).test()


def test_inferred_masks_have_the_numbers_of_the_test(phantom, tiny_configs, tmp_path):
    config = tiny_configs / "unet.py"
    cfg = load_config(config)
    model = MODELS.build({**cfg.model, "_scope_": "echozoo"})
    image = read_volume(next(phantom.rglob("*_4CH_ED.nii.gz"))).array / np.float32(255)
    with torch.no_grad():  # logits of equal means: every structure is somewhere
        logits = model.eval()(torch.from_numpy(image)[None, :, None, :96, :96])  # (1, K + 1, h, w)
        model.decode_head.conv_seg.bias -= logits.mean((0, 2, 3))
    torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / "unet.pth")
    EchoInferencer(config, tmp_path / "unet.pth", progress=False)(phantom, tmp_path / "masks")
    direct = numbers_of(config, phantom, tmp_path / "a", load_from=str(tmp_path / "unet.pth"))
    folder = {"model.folder": str(tmp_path / "masks")}
    stored = numbers_of(CONFIGS / "stored.py", phantom, tmp_path / "b", **folder)
    assert direct["camus/dice_with_empty_as_0"] > 0, "it has found something"
    assert set(stored) == set(direct)
    for name, value in direct.items():
        assert stored[name] == pytest.approx(value, rel=1e-6, nan_ok=True), name
