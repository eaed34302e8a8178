from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from echozoo.benchmark import networks
from echozoo.benchmark.networks import Plan, compare_networks, relative_difference
from echozoo.benchmark.setting import Setting, Shape, Variant
from echozoo.benchmark.sides import make_side
from echozoo.errors import ConfigError

PLAN = Plan(repeats=2, memory=False)
PUBLISHED, PLAIN = "published (SAMUS)", "echozoo float32"


@pytest.fixture(autouse=True)
def _peak(monkeypatch) -> None:
    monkeypatch.setattr(networks, "matmul_peak", lambda device, dtype: 1e9)


def rows_of(result) -> dict[str, dict]:
    return {row["side"]: row for row in result.rows}


def test_forward_beside_a_checkout(small, checkout):
    setting = Setting(small(), against=str(checkout()))
    result = compare_networks(setting, replace(PLAN, variants=[Variant(bf16=True)]))
    assert result.disagreement is None
    rows = rows_of(result)
    assert list(rows) == [PUBLISHED, PLAIN, "echozoo bf16"]
    assert rows[PUBLISHED]["difference"] is None
    assert rows[PLAIN]["difference"] < 1e-5
    assert 1e-5 < rows["echozoo bf16"]["difference"] < 0.2
    assert rows[PLAIN]["masks_agree"] == 1
    assert rows[PLAIN]["flops"] == rows[PUBLISHED]["flops"] > 1e6
    for row in rows.values():
        assert len(row["seconds"]) == 2
        assert row["share_of_peak"] == pytest.approx(row["flops"] / row["median_s"] / 1e9)
    assert rows[PUBLISHED]["speedup"] == 1


def test_both_sides_get_weights_without_initial_zeros(small, checkout):
    setting = Setting(small(), against=str(checkout()))
    theirs = make_side(setting, None, Shape()).network.image_encoder
    ours = make_side(setting, Variant(), Shape()).network.backbone
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    assert ours.blocks[1].attn.rel_pos_h.abs().min() > 0


@pytest.mark.parametrize("scale", ["1.001", "float('nan')"])
def test_other_outputs_are_a_disagreement(small, checkout, scale):
    setting = Setting(small(), against=str(checkout(scale)))
    result = compare_networks(setting, PLAN)
    assert "echozoo float32 differs from published (SAMUS)" in result.disagreement
    assert "wanted less than 1e-04" in result.disagreement


def test_a_training_step_of_the_same_parameters(small, checkout):
    setting = Setting(small(), part="train", against=str(checkout()))
    result = compare_networks(setting, PLAN)
    assert result.disagreement is None
    assert rows_of(result)[PLAIN]["difference"] < 1e-5
    network = make_side(setting, Variant(), Shape()).network
    counted = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert f"parameters that train, on every side: {counted:,}" in result.notes
    assert rows_of(result)[PLAIN]["masks_agree"] is None


def test_training_steps_of_other_parameters_are_refused(small, checkout):
    setting = Setting(small(), part="train", against=str(checkout(trainable=())))
    with pytest.raises(ConfigError, match=r"parameters of the config's model train, and [\d,]+ of"):
        compare_networks(setting, PLAN)


def test_another_gradient_of_the_same_loss_is_a_disagreement(small, checkout):
    half = "1 + 0.5 * (logits.detach() - logits)"
    setting = Setting(small(), part="train", against=str(checkout(half)))
    result = compare_networks(setting, PLAN)
    assert rows_of(result)[PLAIN]["difference"] == pytest.approx(1, rel=1e-3)
    assert "differs from published (SAMUS) by 1.0e+00, wanted less" in result.disagreement


def test_a_step_trains(small):
    side = make_side(Setting(small(), part="train"), Variant(), Shape(2, 2))
    before = {name: p.clone() for name, p in side.network.named_parameters()}
    losses = [side.run().item() for _ in range(8)]
    assert losses[-1] < losses[0]
    for name, p in side.network.named_parameters():
        assert p.requires_grad or torch.equal(p, before[name]), name


def test_parts_that_the_reference_lacks_are_said(small, checkout):
    setting = Setting(small("samus_tra"), against=str(checkout()))
    shapes = [Shape(1, 1), Shape(1, 2)]
    variants = [Variant(bf16=True)]
    result = compare_networks(setting, replace(PLAN, shapes=shapes, variants=variants))
    assert result.disagreement is None
    note = f"{PUBLISHED} has no backbone.temporal: outputs are compared with {PLAIN}"
    assert note in result.notes
    assert rows_of(result)[PUBLISHED]["difference"] is None
    assert rows_of(result)[PLAIN]["difference"] is None
    assert rows_of(result)["echozoo bf16"]["difference"] > 0
    costs = [note for note in result.notes if note.startswith(f"cost of a frame, {PLAIN}")]
    assert costs[0].split(": ")[1].startswith("1.00 at T = 1, ")


def test_sam_beside_segment_anything(small):
    cfg = small()
    cfg.model.backbone = dict(
        type="SAMViT",
        embed_dims=16,
        depth=2,
        num_heads=2,
        global_attn_indexes=(1,),
        img_size=32,
        patch_size=8,
        window_size=3,
        out_channels=16,
    )
    cfg.model.trainable, cfg.model.frozen = (), ("*",)
    setting = Setting(cfg, against="segment-anything", encoder_only=True)
    result = compare_networks(setting, PLAN)
    assert result.disagreement is None
    assert result.title == "forward: image encoder alone"
    assert rows_of(result)[PLAIN]["difference"] < 1e-5


def test_one_click_for_each_of_several_structures_has_no_published_counterpart(small, checkout):
    cfg = small()
    cfg.model.prompt_head.num_structures = 3
    with pytest.raises(ConfigError, match="takes one click an image"):
        compare_networks(Setting(cfg, against=str(checkout())), PLAN)


def test_variants_without_a_reference_are_compared_with_plain_float32(small):
    plan = replace(PLAN, shapes=[Shape(1), Shape(2)], variants=[Variant(int8=True)])
    result = compare_networks(Setting(small()), plan)
    assert [row["side"] for row in result.rows] == [PLAIN, "echozoo int8"] * 2
    assert 0 < result.rows[1]["difference"] < 0.2
    assert result.rows[1]["flops"] is result.rows[1]["share_of_peak"] is None
    assert any(note.startswith("echozoo int8 at its best: ") for note in result.notes)


def test_int8_is_for_the_cpu(small):
    with pytest.raises(ConfigError, match="int8 on meta: dynamic quantisation runs on the CPU"):
        make_side(Setting(small(), device="meta"), Variant(int8=True), Shape())


def test_relative_difference_is_to_the_largest_value():
    wanted = torch.tensor([1.0, -4.0, 0.0])
    assert relative_difference(torch.tensor([1.0, -4.0, 0.2]), wanted) == pytest.approx(0.05)
