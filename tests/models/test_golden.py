"""The published SAMUS and SAM, reproduced from weights that their key names alone determine."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope

from echozoo.models import load_published
from echozoo.models.backbones.samus import PUBLISHED_NAMES
from echozoo.models.segmentors.promptable import PromptableSegmentor
from echozoo.registry import MODELS

pytestmark = pytest.mark.slow

PREFIXES = (
    ("image_encoder.", "backbone."),
    ("prompt_encoder.", "prompt_head.encoder."),
    ("mask_decoder.", "decoder."),
)


def rename(key: str) -> str:
    for theirs, ours in (*PREFIXES, *PUBLISHED_NAMES):
        key = key.replace(theirs, ours)
    return key


def build(config: str) -> PromptableSegmentor:
    init_default_scope("echozoo")
    return MODELS.build(Config.fromfile(f"configs/{config}.py").model).eval()


@torch.no_grad()
def run(model: PromptableSegmentor, images, multimask=False, **prompts) -> dict[str, torch.Tensor]:
    """Every stage's output, for one structure an image."""
    embedding = model.encode(images)
    sparse, dense, _ = model.prompt_head.embed(embedding, **prompts)
    pe = model.prompt_head.dense_pe()
    masks, quality = model.decoder(embedding, pe, sparse, dense, multimask)
    outputs = dict(embedding=embedding, sparse=sparse, pe=pe, masks=masks, quality=quality)
    return {name: value.flatten(0, 1) if name != "pe" else value for name, value in outputs.items()}


@pytest.fixture(scope="module")
def golden(shared) -> SimpleNamespace:
    folder = shared / "golden"
    spec = importlib.util.spec_from_file_location("fill", folder / "deterministic_weights.py")
    filler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(filler)
    weights = filler.load(folder / "samus_vit_b_keys.json")
    model = build("samus")
    load_published(model, {key: torch.from_numpy(value) for key, value in weights.items()})
    with np.load(folder / "samus_vit_b.npz") as arrays:
        trainable = {rename(str(name)) for name in arrays["trainable"]}
        names = [name for name in arrays if name != "trainable"]
        reference = {name: torch.from_numpy(arrays[name]) for name in names}
    return SimpleNamespace(
        model=model, published=list(weights), reference=reference, trainable=trainable
    )


@torch.no_grad()
def test_samus_outputs(golden):
    reference = golden.reference
    points = reference["point_coords"].unsqueeze(1).float()  # N, 1, 1, 2
    embedding = golden.model.encode(reference["image"])
    logits = golden.model.decode(embedding, points, reference["point_labels"].unsqueeze(1))
    masks = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
    found = dict(
        image_embedding=embedding[:, ::8], low_res_logits=logits, masks=masks[..., ::4, ::4]
    )
    for name, value in found.items():
        wanted = reference[name]
        assert value.shape == wanted.shape
        error = (value - wanted).abs().max() / wanted.std()
        assert error < 1e-3, (name, error)


def test_samus_sizes(golden):
    parameters = dict(golden.model.named_parameters())
    assert sum(p.numel() for p in parameters.values()) == 133_323_568
    chosen = {name for name, p in parameters.items() if p.requires_grad}
    assert chosen == golden.trainable
    assert sum(parameters[name].numel() for name in chosen) == 39_653_120


def sine_fill(model: PromptableSegmentor, keys: dict[str, str]) -> None:
    """Fill a model by the recipe of the recorded fingerprints: published key -> our key."""
    state = model.state_dict()
    for key, ours in keys.items():
        index = torch.arange(state[ours].numel(), dtype=torch.float64)
        wave = torch.sin(0.7 * index + 0.1 * len(key)).view(state[ours].shape)
        is_scale = wave.dim() == 1 and key.endswith(".weight")
        state[ours].copy_(1 + 0.1 * wave if is_scale else 0.05 * wave)


def sine_image(size: int) -> torch.Tensor:
    ramp = torch.arange(size, dtype=torch.float64)
    wave = 0.5 + 0.5 * torch.sin(0.05 * ramp + 0.03 * ramp[:, None])
    return wave.float().expand(1, 1, size, size)


def check(value: torch.Tensor, mean: float, std: float, first: float, middle: float, last: float):
    flat = value.flatten().double()
    found = [flat.mean(), flat.std(), flat[0], flat[len(flat) // 2], flat[-1]]
    for number, wanted in zip(found, (mean, std, first, middle, last), strict=True):
        assert abs(number - wanted) <= 2e-3 * max(std, abs(wanted)), (number, wanted)


def test_samus_fingerprints(golden):
    model = build("samus")
    sine_fill(model, {key: rename(key) for key in golden.published})
    image, backbone = sine_image(256), model.backbone
    prompts = dict(points=torch.tensor([[[[100.0, 120.0]]]]), labels=torch.ones(1, 1, 1))
    outputs = run(model, image, **prompts)
    with torch.no_grad():
        colour = image.expand(-1, 3, -1, -1)
        branch = backbone.cnn_branch(colour).permute(0, 2, 3, 1)
        patches = backbone.embed_patches(colour)
        positions = backbone.pos_adapter(backbone.pos_embed)
    check(branch, 0.320344, 0.548411, -0.134652, -0.164934, -0.155891)
    check(patches, -2.6996e-4, 0.0724188, -0.105109, -0.0326388, -0.106806)
    check(positions, 0.299003, 0.524965, -0.164218, -0.137249, -0.161763)
    check(outputs["embedding"], -3.3214e-4, 0.977161, -0.910255, -0.662308, 0.852538)
    check(outputs["sparse"], 0.249116, 0.435859, -0.0300869, -0.0343883, 0.00932636)
    check(outputs["pe"], 0.491832, 0.508038, -0.174346, 0.984684, 0.917953)
    check(outputs["masks"], -1.52071e-3, 4.42027e-3, 3.53182e-3, 1.69026e-3, -2.12474e-3)


def test_sam_fingerprints():
    model = build("sam")
    assert sum(p.numel() for p in model.parameters()) == 93_735_472
    assert len(model.state_dict()) == 314
    theirs = {}
    for ours in model.state_dict():
        key = ours
        for published, prefix in PREFIXES:
            key = published + key[len(prefix) :] if key.startswith(prefix) else key
        theirs[key] = ours
    sine_fill(model, theirs)
    image = sine_image(1024)
    point = dict(points=torch.tensor([[[[400.0, 480.0]]]]), labels=torch.ones(1, 1, 1))
    box = dict(boxes=torch.tensor([[[100.0, 120.0, 600.0, 700.0]]]))
    outputs = run(model, image, multimask=True, **point)
    check(outputs["embedding"], -2.61588e-4, 0.589162, -0.773872, -0.786986, 1.03186)
    check(outputs["masks"], -4.67401e-3, 3.18927e-3, 1.31878e-3, -0.0108388, 1.95483e-4)
    quality = torch.tensor([[-0.1907, 0.1278, -0.1119]])
    torch.testing.assert_close(outputs["quality"], quality, rtol=2e-3, atol=1e-4)
    outputs = run(model, image, **box)
    check(outputs["masks"], -4.67466e-3, 3.1892e-3, 1.30263e-3, -0.0108395, 1.95612e-4)
    torch.testing.assert_close(outputs["quality"], torch.tensor([[0.1042]]), rtol=2e-3, atol=1e-4)
