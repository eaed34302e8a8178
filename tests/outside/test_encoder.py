"""An encoder of one's own: other sizes than SAM's, and frames that see each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echozoo.apis import EchoInferencer
from echozoo.errors import ConfigError
from echozoo.films.io import read_volume
from echozoo.models.prompts import Prompts

PART = """
from torch import nn
from echozoo.registry import MODELS


@MODELS.register_module()
class OwnEncoder(nn.Module):
    out_channels, stride, sees = 192, 16, "clip"

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 192, 16, stride=16)

    def forward(self, images, num_frames):
        clips = self.patches(images).unflatten(0, (-1, num_frames))
        return (clips + clips.mean(1, keepdim=True)).flatten(0, 1)
"""
MODEL = """
model = dict(
    backbone=dict(_delete_=True, type="OwnEncoder"),
    data_preprocessor=dict(mean=(127.0,) * 3, std=(60.0,) * 3),
    decoder=dict(num_heads=2, mlp_dims=32, iou_head_hidden=16),
    {head}
    frozen=(), trainable=(),
)
train_dataloader = dict(dataset=dict(image_size=(64, 64)))
val_dataloader = dict(dataset=dict(image_size=(64, 64)))
test_dataloader = dict(dataset=dict(image_size=(64, 64)))
"""


def test_a_click_lies_where_it_was_made(trained):
    run = trained("sam_finetune.py", PART, MODEL.format(head=""), None)
    assert run.runner.model.sees == "clip"
    assert "backbone.patches.weight" in run.changed
    model = run.runner.model.eval()
    prompts = Prompts(torch.full((1, 1, 1, 2), 100.0), torch.ones(1, 1, 1))
    with torch.no_grad():
        features = model.encode(torch.rand(1, 3, 256, 256))
        sparse, dense, _ = model.prompt_head.embed(features, prompts)
    assert features.size == dense.shape[-2:] == (16, 16)
    # SAM: the middle of the pixel as a share of the image, and that it is in the foreground.
    sam = model.prompt_head.encoder
    place = sam.pe_layer._pe_encoding(torch.full((1, 2), 100.5 / 256))
    torch.testing.assert_close(sparse[0, 0, :1], place + sam.point_embeddings[1].weight)


def test_the_masks_of_the_test_are_those_of_use_whatever_the_batch(trained):
    head = "prompt_head=dict(num_task_tokens=2, num_heads=2, head_dims=8, ffn_dims=16),"
    run = trained("autosamus.py", PART, MODEL.format(head=head), None, clip_length=3)
    loader = run.runner.test_dataloader
    tested: dict[str, dict[int, np.ndarray]] = {}
    for data in loader:
        for sample in run.runner.model.test_step(data):
            frames = zip(sample.frames, sample.pred_labels.numpy(), strict=True)
            tested.setdefault(sample.sequence, {}).update(frames)
    film = loader.dataset.get_data_info(0)["film"]
    assert len(film) == 3, "no frame is in two clips"
    order = [files.index for files in film.frame_files]
    images = np.ascontiguousarray(read_volume(film.frame_files[0].image).array[order])
    wanted = tested[f"{film.patient}_{film.view}"]
    assert len({int(value) for labels in wanted.values() for value in np.unique(labels)}) > 1
    for batch in (1, 3, 8):
        infer = EchoInferencer(run.folder, device="cpu", batch_size=batch, progress=False)
        found = infer(images).results[0].labels.read()
        for frame, labels in wanted.items():
            np.testing.assert_array_equal(found[frame], labels)


@pytest.mark.parametrize("size", ["out_channels", "stride"])
def test_what_it_does_not_say_is_asked_for(trained, size):
    silent = PART.replace("out_channels, stride, sees = 192, 16,", "sees =").replace(
        '"clip"\n', '"clip"\n    {} = 16\n'.format({"stride": "out_channels"}.get(size, "stride"))
    )
    with pytest.raises(ConfigError, match=f"OwnEncoder: does not say its {size}"):
        trained("sam_finetune.py", silent, MODEL.format(head=""), None)
