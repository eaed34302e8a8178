"""CLIP's text encoder against mmseg's, which reads the same weights, and its files."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.models.text_encoder import CLIPTextEncoder
from mmseg.utils import tokenizer
from related import build
from safetensors.torch import save_file

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models.clip_text import text_features

NAMES = ("left ventricle cavity", "myocardium", "left atrium")
DIMS, DEPTH, OUT, LENGTH = 128, 2, 24, 16


@pytest.fixture(scope="module")
def reference() -> CLIPTextEncoder:
    init_default_scope("mmseg")
    torch.manual_seed(0)
    encoder = CLIPTextEncoder(
        vocabulary=list(NAMES),
        templates=["{}"],
        context_length=LENGTH,
        embed_dims=DIMS,
        num_layers=DEPTH,
        num_heads=DIMS // 64,
        output_dims=OUT,
        cat_bg=False,
    )
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return encoder


@pytest.fixture(scope="module")
def openai(reference) -> dict[str, torch.Tensor]:
    """Its weights under OpenAI's names, with an image encoder's beside them."""
    names = {
        r"transformer\.": "transformer.resblocks.",
        r"attentions\.0\.attn\.": "attn.",
        r"ffns\.0\.layers\.0\.0\.": "mlp.c_fc.",
        r"ffns\.0\.layers\.1\.": "mlp.c_proj.",
        r"norms\.0\.": "ln_1.",
        r"norms\.1\.": "ln_2.",
    }
    weights = {}
    for key, value in reference.state_dict().items():
        for theirs, published in names.items():
            key = re.sub(theirs, published, key)
        weights[key] = value
    return weights | {"visual.conv1.weight": torch.rand(4, 3, 2, 2)}


def hugging_face(openai: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {
        r"token_embedding": "text_model.embeddings.token_embedding",
        r"positional_embedding": "text_model.embeddings.position_embedding.weight",
        r"transformer\.resblocks\.": "text_model.encoder.layers.",
        r"attn\.out_proj": "self_attn.out_proj",
        r"ln_final": "text_model.final_layer_norm",
        r"ln_(\d)": r"layer_norm\1",
        r"mlp\.c_fc": "mlp.fc1",
        r"mlp\.c_proj": "mlp.fc2",
        r"text_projection": "text_projection.weight",
    }
    weights = {}
    for key, value in openai.items():
        for theirs, published in names.items():
            key = re.sub(theirs, published, key)
        if "in_proj" in key:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                weights[key.replace("attn.in_proj_", f"self_attn.{part}_proj.")] = third.clone()
        else:
            weights[key] = value.T.contiguous() if "projection" in key else value
    return weights | {"text_model.embeddings.position_ids": torch.arange(LENGTH)[None]}


@torch.no_grad()
@pytest.mark.parametrize("layout", [dict, hugging_face])
def test_features_are_those_of_mmsegs_encoder(reference, openai, layout, tmp_path):
    save_file(layout(openai), tmp_path / "clip.safetensors")
    vocabulary = None
    if layout is hugging_face:  # and a vocabulary of one's own
        vocabulary = str(shutil.copy(tokenizer.default_bpe(), tmp_path / "words.txt.gz"))
    found = text_features(str(tmp_path / "clip.safetensors"), NAMES, vocabulary)
    assert found.shape == (3, OUT)
    wanted = reference.encode_text(tokenizer.tokenize(list(NAMES), LENGTH))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_bad_files_are_one_line(openai, tmp_path):
    clip, words = str(tmp_path / "clip.safetensors"), tmp_path / "words.txt.gz"
    save_file(openai, clip)
    words.write_text("no gzip")
    with pytest.raises(CheckpointError, match="words.txt.gz: .*wanted CLIP's vocabulary"):
        text_features(clip, NAMES, str(words))
    with pytest.raises(ConfigError, match="found 15 words in 'a a .*wants 14"):
        text_features(clip, ["a " * 15])
    few = openai | {"token_embedding.weight": torch.rand(50, DIMS)}
    save_file(few, clip)
    with pytest.raises(CheckpointError, match="clip.safetensors: found 50 words"):
        text_features(clip, NAMES)
    save_file({key: v for key, v in openai.items() if "resblocks.1.ln_1" not in key}, clip)
    with pytest.raises(CheckpointError, match="clip.safetensors: is no text encoder of CLIP"):
        text_features(clip, NAMES)
    save_file({"visual.conv1.weight": torch.rand(1)}, clip)
    with pytest.raises(CheckpointError, match="clip.safetensors: found no .*as OpenAI or Hugging"):
        text_features(clip, NAMES)


def test_the_file_is_needed_to_train_alone(openai, tmp_path):
    clip = tmp_path / "clip.safetensors"
    save_file(openai, clip)
    options = {"prompt_head.clip": str(clip), "prompt_head.text_dims": OUT}
    trained = build("adaptive_sam", "tiny", **options)
    assert torch.equal(trained.prompt_head.text, text_features(str(clip), NAMES))
    assert "prompt_head.text" not in dict(trained.named_parameters())
    clip.unlink()
    model = build("adaptive_sam", "tiny", **options)
    with pytest.raises(CheckpointError, match="clip.safetensors: no such file.*leave it out"):
        model.init_weights()
    model.load_state_dict(trained.state_dict())
    clips = torch.rand(1, 1, 3, 96, 96)
    torch.testing.assert_close(model(clips), trained(clips))


def test_what_does_not_go_together(tmp_path):
    np.save(tmp_path / "text.npy", np.zeros((3, 512)))
    both = {"prompt_head.features": str(tmp_path / "text.npy"), "prompt_head.clip": "clip.pt"}
    with pytest.raises(ConfigError, match="found features=.* and clip=.*wants one"):
        build("adaptive_sam", "tiny", **both)
    few = {"prompt_head.clip": "clip.pt", "prompt_head.names": ("myocardium",)}
    with pytest.raises(ConfigError, match="found 1 names, wants 3"):
        build("adaptive_sam", "tiny", **few)
