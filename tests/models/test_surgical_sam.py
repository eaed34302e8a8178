"""SurgicalSAM, against recordings of its code; its contrastive loss in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from related import Recording, build, counts

from echozoo.models import load_published
from echozoo.models.prompt_heads.prototypes import prototype_loss
from echozoo.models.prompts import Features, Prompts

UNUSED = 132_612 + 3 * 139_808  # the IoU head, three of four hypernetworks


def published(system: str, structures: int, tokens: int, size: int):
    """The model of a recording; SAM's encoder is not recorded."""
    return build(
        "surgical_sam",
        **{
            "backbone.depth": 1,
            "backbone.global_attn_indexes": (),
            "backbone.img_size": 16 * size,
            "prompt_head.num_structures": structures,
            "prompt_head.num_tokens": tokens,
        },
    )


RECORDINGS = [("surgicalsam", 7, 4, 64), ("surgicalsam_k3_32", 3, 2, 32)]
STEPS = {"surgicalsam": (5, 11), "surgicalsam_k3_32": (3, 5)}


@torch.no_grad()
@pytest.mark.parametrize("recorded", RECORDINGS, ids=lambda recorded: recorded[0])
def test_outputs_layout_and_counts(shared, recorded):
    system, _, _, size = recorded
    recording, model = Recording(shared, system), published(*recorded)
    report = load_published(model, recording.weights)
    assert {key.split(".")[0] for key in report.left} == {"backbone"}
    features = 0.5 * recording.noise(f"surgicalsam.features.{size}", 2, size, size, 256)
    features = Features.of(features.permute(0, 3, 1, 2))
    head, rows = model.prompt_head, torch.arange(2)
    asked = torch.from_numpy(recording.arrays["class_ids"]).long() - 1
    sparse, dense, _ = head.embed(features, Prompts())
    step, mask_step = STEPS[system]
    recording.check("sparse", sparse[rows, asked])
    recording.check("dense", dense[rows, asked][:, ::16, ::step, ::step])
    prompts = (of[rows, asked][:, None] for of in (sparse, dense))  # of seven it takes long
    logits, quality = model.decoder(features, head.dense_pe(features.size), *prompts)
    recording.check("low_res_logits", logits[:, 0, :, ::mask_step, ::mask_step])
    recording.check("iou", quality[:, 0])
    total, trained, generator = recording.arrays["counts"]
    encoder = sum(p.numel() for p in model.backbone.parameters())
    ours = counts(model)
    assert (ours[0] - encoder, ours[1] + UNUSED) == (total, trained)
    assert counts(head)[0] - 6_220 - head.prototypes.weight.numel() == generator


def test_its_own_files_have_a_dictionary_for_each_part(shared):
    recording = Recording(shared, "surgicalsam_k3_32")
    parts = ("prototype_prompt_encoder.", "learnable_prototypes.", "mask_decoder.")
    content = {
        f"{part}state_dict": {
            key.removeprefix(part): value
            for key, value in recording.weights.items()
            if key.startswith(part)
        }
        for part in parts
    }
    model = published(*RECORDINGS[1])
    report = load_published(model, content)
    assert {key.split(".")[0] for key in report.left} == {"backbone", "prompt_head"}
    assert all(".encoder." in key for key in report.left if key.startswith("prompt_head."))


def test_marks_are_sams_points_and_places_follow_the_size():
    model = build("surgical_sam", "tiny")
    head, points = model.prompt_head, torch.randn(4, 64)
    weights = {f"encoder.point_embeddings.{i}.weight": points[i : i + 1] for i in range(4)}
    fitted = head.fit_published(weights)
    torch.testing.assert_close(fitted["others.weight"], points[:1].expand(2, -1))
    torch.testing.assert_close(fitted["asked.weight"], points[1:2].expand(2, -1))
    sam = {f"prompt_encoder.{key}": v for key, v in head.encoder.state_dict().items()}
    assert len(load_published(model, sam).loaded) == len(sam) + 2
    assert len(load_published(model, sam, parts=("prompt_head.encoder",)).loaded) == len(sam)
    # Weights along the places of 24 x 24: an even map has the same response as at 12 x 12.
    larger = torch.rand(64, 24 * 24, 1)
    smaller = head.fit_published({"sparse_prompts.0.weight": larger})["sparse_prompts.0.weight"]
    assert smaller.shape == (64, 12 * 12, 1)
    torch.testing.assert_close(smaller.sum(1), larger.sum(1), rtol=2e-2, atol=0)


def test_loss_by_its_formula():
    prototypes = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    references = torch.tensor([[[1.0, 1.0], [0.0, 5.0]], [[7.0, -9.0], [-4.0, 0.0]]])
    there = torch.tensor([[True, True], [False, True]])
    tau, diagonal = 0.5, math.sqrt(0.5)
    first = math.exp(diagonal / tau)
    first = -math.log(first / (first + math.exp(0) + math.exp(-1 / tau)))
    pairs = [first] + [
        -math.log(math.exp(s / tau) / (math.exp(s / tau) + math.exp(diagonal / tau)))
        for s in (1, 0)
    ]
    found = prototype_loss(prototypes, references, there, tau)
    assert found.item() == pytest.approx(sum(pairs) / 3, rel=1e-5)
    assert prototype_loss(prototypes, references, torch.zeros_like(there), tau) == 0


def test_prototypes_learn_of_what_is_labelled_and_there():
    head = build("surgical_sam", "tiny").prompt_head
    features = Features.of(torch.rand(2, 64, 12, 12, requires_grad=True))
    masks, labelled = torch.zeros(2, 3, 96, 96), torch.ones(2, 3, dtype=torch.bool)
    masks[0, 0, 10:40, 10:40], masks[1, 1, 50:60, 20:90] = 1, 1
    loss = head.loss(features, masks, labelled)["loss_prototypes"]
    loss.backward()
    assert features.embedding.grad is None
    moved = head.prototypes.weight.grad.abs().sum(1)
    assert (moved[:2] > 0).all()
    assert moved[2] == 0
    labelled[1, 1] = False
    masks[1, 1] = torch.nan
    head.prototypes.weight.grad = None
    loss = head.loss(features, masks, labelled)["loss_prototypes"]
    loss.backward()
    assert loss == 0  # one pair, no others
    assert (head.prototypes.weight.grad == 0).all()


@torch.no_grad()
def test_prototypes_are_compared_with_the_images_of_all_processes(monkeypatch):
    head = build("surgical_sam", "tiny").prompt_head
    maps, masks = torch.rand(2, 64, 12, 12), torch.zeros(2, 3, 96, 96)
    masks[0, 0, 10:40, 10:40], masks[1, 1, 50:60, 20:90] = 1, 1

    def loss(images: slice) -> float:
        labelled = torch.ones(2, 3, dtype=torch.bool)
        return head.loss(Features.of(maps[images]), masks[images], labelled[images])[
            "loss_prototypes"
        ].item()

    whole, sent = loss(slice(2)), []
    gather = "echozoo.models.prompt_heads.prototypes.all_gather_object"
    monkeypatch.setattr(gather, lambda mine: sent.append(mine) or [mine])
    processes = slice(0, 1), slice(1, 2)
    alone = [loss(images) for images in processes]
    monkeypatch.setattr(gather, lambda mine: sent)
    assert [loss(images) for images in processes] == pytest.approx([whole, whole])
    assert alone == [0, 0], "one pair, no others"


@torch.no_grad()
def test_another_size_of_the_input_runs():
    model = build("surgical_sam", "tiny")
    logits, _ = model.decode(Features.of(torch.rand(1, 64, 16, 20)), Prompts())
    assert logits.shape == (1, 3, 64, 80)


def test_prototypes_find_the_features_of_their_class():
    torch.manual_seed(0)
    centres = torch.randn(3, 16)
    references = centres + 0.1 * torch.randn(4, 3, 16)
    prototypes = torch.randn(3, 16, requires_grad=True)
    optimizer = torch.optim.Adam([prototypes], lr=0.05)
    for _ in range(100):
        loss = prototype_loss(prototypes, references, torch.ones(4, 3, dtype=torch.bool), 0.07)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01
    alike = torch.cosine_similarity(prototypes[:, None], centres, dim=-1)
    assert (alike.argmax(1) == torch.arange(3)).all()
