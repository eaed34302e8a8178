"""SAM-Med2D, against a recording of its code; and its rounds of corrections."""

from __future__ import annotations

import pytest
import torch
from related import Recording, build, counts
from torch import Tensor

from echozoo.models import load_published
from echozoo.models.checkpoints import own_keys
from echozoo.models.losses.focal_dice_iou import FocalDiceIoULoss
from echozoo.models.prompts import Prompts
from echozoo.structures import EchoDataSample

MASKS = 4_684  # what embeds masks as prompts, without gradients in the published training too
SINGLE = 139_808  # the hypernetwork of the single mask, which is never drawn
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


@pytest.mark.slow
@torch.no_grad()
def test_outputs(shared):
    recording, model = Recording(shared, "sam_med2d_vit_b"), build("sam_med2d")
    assert not load_published(model, recording.weights).left
    x = recording.noise("sam_med2d.adapter", 2, 8, 8, 768)
    x = x + 4 * recording.noise("sam_med2d.adapter.mean", 2, 1, 1, 768)
    recording.check("adapter_output", model.backbone.blocks[0].mlp.adapt(x)[..., ::8])
    features = model.encode((255 * recording.wave(1, 3, 256, 256) - MEAN) / STD)
    recording.check("image_embedding", features.embedding[:, ::8])

    def check(name: str, prompts: Prompts) -> Tensor:
        sparse, dense, _ = model.prompt_head.embed(features, prompts)
        positions = model.prompt_head.dense_pe()
        logits, quality = model.decoder(features, positions, sparse, dense, True)
        recording.check(f"low_res_logits_{name}", logits[:, 0, :, ::3, ::3])
        recording.check(f"iou_{name}", quality[:, 0])
        best, _ = model.decode(features, prompts)
        torch.testing.assert_close(best, logits[:, :, quality[0, 0].argmax()])
        return best

    points, labels, box = (
        torch.from_numpy(recording.arrays[name])[:, None]
        for name in ("point_coords", "point_labels", "box")
    )
    best = check("point", Prompts(points=points[:, :, :1].float(), labels=labels[:, :, :1]))
    check("box", Prompts(boxes=box.reshape(1, 1, 4).float()))
    check("corrected", Prompts(points=points.float(), labels=labels, masks=best))


def test_layout(shared):
    recording = Recording(shared, "sam_med2d_vit_b")
    with torch.device("meta"):
        model = build("sam_med2d")
    names = own_keys(model, recording.keys)
    assert set(names.values()) == set(model.state_dict())
    total, trained = counts(model)
    assert (total, trained + MASKS + SINGLE) == tuple(recording.arrays["counts"])
    trainable = {names[str(name)] for name in recording.arrays["trainable"]}
    idle = ("mask_downscaling", "output_hypernetworks_mlps.0.")
    ours = {
        n for n, p in model.named_parameters() if p.requires_grad or any(one in n for one in idle)
    }
    assert trainable == ours


def sample(labels: Tensor) -> EchoDataSample:
    frames, structures = len(labels), 2
    masks = torch.stack([labels == k + 1 for k in range(structures)], 1)
    return EchoDataSample(
        gt_labels=labels.to(torch.uint8),
        labelled=torch.ones(frames, structures, dtype=torch.bool),
        points=torch.full((frames, structures, 1, 2), 10.0),
        point_labels=torch.ones(frames, structures, 1, dtype=torch.int64),
        boxes=masks.new_zeros(frames, structures, 4).float() + torch.tensor([4.0, 4, 20, 20]),
    )


def test_corrections_lie_where_the_mask_is_wrong():
    model = build("sam_med2d", "tiny", rounds=1)
    masks = torch.zeros(1, 3, 8, 12)
    masks[0, 0, 2:6, 3:9] = 1
    masks[0, 1] = masks[0, 0]
    logits = torch.full((1, 3, 8, 12), -5.0)
    logits[0, 0, 2:6, 3:6] = 5  # half is missing
    logits[0, 1] = 5  # too much around
    prompts = model.correct(logits, masks, torch.ones(1, 3, dtype=torch.bool), alone=False)
    assert torch.equal(prompts.masks, logits)
    missed, false, right = prompts.points[0]
    assert (prompts.labels[0, 0] == 1).all()
    assert ((missed[:, 0] >= 6) & (missed[:, 0] < 9) & (missed[:, 1] >= 2)).all()
    assert (prompts.labels[0, 1] == 0).all()
    x, y = false.long().T
    assert (masks[0, 1, y, x] == 0).all()
    assert (prompts.labels[0, 2] == -1).all()
    unknown = model.correct(logits, masks, torch.zeros(1, 3, dtype=torch.bool), alone=False)
    assert (unknown.labels == -1).all()
    assert model.correct(logits, masks, unknown.labels[..., 0] > 0, alone=True).points is None


def test_rounds_teach_the_decoder_alone():
    torch.manual_seed(0)
    labels = torch.zeros(1, 96, 96)
    labels[0, 20:40, 20:40], labels[0, 50:80, 30:60] = 1, 2
    clips = torch.rand(1, 1, 3, 96, 96)
    gradients = {}
    for rounds in (1, 4):
        model = build("sam_med2d", "tiny", **{"prompt_head.num_structures": 0})
        model.rounds = rounds
        torch.manual_seed(1)
        model.load_state_dict(
            {k: torch.randn_like(v) * 0.05 for k, v in model.state_dict().items()}
        )
        torch.manual_seed(2)
        losses = model(clips, [sample(labels)], mode="loss")
        assert set(losses) == {"loss_focal", "loss_dice", "loss_iou"}
        sum(losses.values()).backward()
        gradients[rounds] = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    changed = {n for n, g in gradients[4].items() if not torch.allclose(g, gradients[1][n])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_loss_by_its_formula():
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 3, 5, 7), (torch.rand(2, 3, 5, 7) > 0.6).float()
    quality = torch.rand(2, 3)
    p = logits.sigmoid()
    right = torch.where(masks > 0, p, 1 - p)
    weight = torch.where(masks > 0, 0.25, 0.75)
    focal = (-weight * (1 - right) ** 2 * right.log()).mean()
    overlap = (p * masks).sum()
    union = p.sum() + masks.sum() - overlap
    wanted = {
        "loss_focal": 20 * focal,
        "loss_dice": 1 - (2 * overlap + 1) / (p.sum() + masks.sum() + 1),
        "loss_iou": (overlap / union - quality).square().mean(),
    }
    found = FocalDiceIoULoss()(logits, masks, None, quality)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)
    # What is not labelled counts nowhere, whatever is there.
    labelled = torch.tensor([[True, True, True], [False, True, True]])
    one = FocalDiceIoULoss()(logits, masks, labelled, quality)
    logits[1, 0], masks[1, 0] = torch.nan, 1
    other = FocalDiceIoULoss()(logits, masks, labelled, quality)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value)
