"""Where there is no GPU: does any network mix tensors of the CPU with those of a GPU?

Fake tensors have a device and a shape, and compute nothing. Only forward passes: autograd wants the
real device.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import DefaultScope
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from echozoo.engine.config_file import load_config
from echozoo.engine.launch import forget_pretrained
from echozoo.engine.scales import apply_scale
from echozoo.models import weight_files
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

GPU = torch.device("cuda", 0)
FRAMES, STRUCTURES = 2, ("lv", "myo", "la")
# What they do follows from pixels of masks, drawn by themselves or given; fake ones have none.
ASK_PIXELS = {"sam_med2d", "shape_code", "uv_sam"}
NETWORKS = sorted(
    path for path in Path("configs").glob("*.py") if path.stem not in {"stored", *ASK_PIXELS}
)


@pytest.fixture
def fakes(monkeypatch) -> FakeTensorMode:
    # It draws until a number fits, which a fake one never does.
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *_, **__: tensor)
    # What comes with the zoo is on the disk, and no file holds fake ones.
    monkeypatch.setattr(weight_files, "load_file", lambda *_, **__: {})
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda module, state: None)
    shapes = ShapeEnv(allow_dynamic_output_shape_ops=True, allow_scalar_outputs=True)
    return FakeTensorMode(shape_env=shapes, static_shapes=True)


def build(cfg: Config) -> nn.Module:
    forget_pretrained(cfg)
    with GPU, DefaultScope.overwrite_default_scope("echozoo"):
        model = MODELS.build(cfg.model)
    for part in model.modules():
        if isinstance(part, BaseDataPreprocessor):
            part._device = GPU  # as .to() would; fake modules cannot be moved
    return model


def clip(size: tuple[int, int]) -> dict:
    """A clip as a data loader gives it: on the CPU."""
    sample = EchoDataSample()
    count = len(STRUCTURES)
    sample.set_data(
        dict(
            gt_labels=torch.zeros(FRAMES, *size, dtype=torch.uint8),
            points=torch.zeros(FRAMES, count, 1, 2),
            point_labels=torch.ones(FRAMES, count, 1, dtype=torch.int64),
            boxes=torch.zeros(FRAMES, count, 4),
            mask_prompts=torch.zeros(FRAMES, count, size[0] // 4, size[1] // 4),
            detected_boxes=torch.zeros(FRAMES, count, 1, 4),
        )
    )
    sizes = dict.fromkeys(("input_size", "valid_size", "native_size"), tuple(size))
    sample.set_metainfo(dict(sizes, structures=STRUCTURES, frames=tuple(range(FRAMES))))
    return dict(inputs=[torch.zeros(FRAMES, 1, *size)], data_samples=[sample])


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_all_that_a_network_computes_is_where_its_weights_are(path, fakes):
    cfg = load_config(str(path))
    if "tiny" in (cfg.get("scales") or {}):
        apply_scale(cfg, "tiny")
    size = cfg.test_dataloader.dataset.image_size
    cfg.model.pop("film_losses", None)  # torch has no fake grid_sample for a GPU
    cfg.model.pop("postprocessing", None)  # masks are cleaned on the CPU
    if cfg.model.type == "AutomaticSegmentor":
        cfg.model.clicked = 0.0  # clicks follow from pixels, as a person's do
    with fakes:
        model = build(cfg)
        losses = model(**model.data_preprocessor(clip(size), True), mode="loss")
        assert {loss.device for loss in losses.values()} == {GPU}
        model.eval()
        with torch.no_grad():
            data = model.data_preprocessor(clip(size), False)
            logits = model(**data, mode="tensor")
            (predicted,) = model(**data, mode="predict")
        assert logits.device == predicted.pred_labels.device == GPU


def test_a_mixture_would_be_seen(fakes):
    with fakes, pytest.raises(RuntimeError, match="at least two devices"):
        nn.Linear(2, 2, device=GPU)(torch.ones(1, 2))
