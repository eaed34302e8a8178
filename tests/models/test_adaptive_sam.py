"""AdaptiveSAM, against a recording of its code; prompts from text features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from related import Recording, build, counts

from echozoo.errors import CheckpointError
from echozoo.models import load_published
from echozoo.models.checkpoints import own_keys

UNUSED = 132_612 + 3 * 139_808  # the IoU head, three of four hypernetworks
PROMPTS = 6_220  # said to train; of no effect on a mask from text
RELEASED = {
    "backbone.window_size": 0,
    "backbone.use_rel_pos": False,
    "backbone.global_attn_indexes": tuple(range(12)),
}


@pytest.mark.slow
@torch.no_grad()
def test_outputs(shared, tmp_path):
    recording = Recording(shared, "adaptivesam_vit_b")
    text = 0.4 * recording.noise("adaptivesam.text", 2, 512)  # one for each image
    np.save(tmp_path / "text.npy", text.numpy())
    features = {
        "prompt_head.features": str(tmp_path / "text.npy"),
        "prompt_head.num_structures": 2,
    }
    model = build("adaptive_sam", **RELEASED, **features)
    assert load_published(model, recording.weights).left == ("prompt_head.text",)
    clips = recording.wave(2, 3, 256, 256)[:, None]
    embedding = model.encode(clips[:, 0]).embedding
    recording.check("image_embedding", embedding[:, ::16])
    recording.check("text_token", model.prompt_head.tokens(text))
    logits = torch.stack([one[i] for i, one in enumerate(model(clips))])  # N, 4h, 4w
    recording.check("low_res_logits", logits[:, None, ::3, ::3])
    masks = F.interpolate(logits[:, None], (256, 256), mode="bilinear", align_corners=False)
    recording.check("probabilities", masks[:, 0].sigmoid()[..., ::13, ::13])


def test_layout(shared):
    recording = Recording(shared, "adaptivesam_vit_b")
    with torch.device("meta"):
        model = build("adaptive_sam", **RELEASED)
    names = own_keys(model, recording.keys)
    assert set(names.values()) == set(model.state_dict()) - {"prompt_head.text"}
    total, trained = counts(model)
    table = model.prompt_head.text.numel()
    published = tuple(recording.arrays["counts"])
    assert (total - table, trained - table + UNUSED + PROMPTS) == published
    idle = ("prompt_head.encoder", "iou_prediction", "mlps.1.", "mlps.2.", "mlps.3.")
    trainable = {names[str(name)] for name in recording.arrays["trainable"]}
    ours = {n for n, p in model.named_parameters() if p.requires_grad} - {"prompt_head.text"}
    assert {n for n in trainable if not any(one in n for one in idle)} == ours


def test_text_features_of_another_shape_are_one_line(tmp_path):
    np.save(tmp_path / "text.npy", np.zeros((2, 64)))
    with pytest.raises(CheckpointError, match=r"text.npy: found \(2, 64\), wanted .*\(3, 512\)"):
        build("adaptive_sam", "tiny", **{"prompt_head.features": str(tmp_path / "text.npy")})
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(CheckpointError, match="text.npy: .*wanted a .npy file"):
        build("adaptive_sam", "tiny", **{"prompt_head.features": str(tmp_path / "text.npy")})
