"""Published AutoSAMUS, and SAMUS that starts it."""

from __future__ import annotations

import pytest
import torch
from published_models import published_samus, randomise, segmentor, snapshot

from echozoo.errors import CheckpointError
from echozoo.models import load_published
from echozoo.models.checkpoints import initialise

APG = dict(type="APG", num_heads=2, head_dims=3, num_task_tokens=6, ffn_dims=20)
NAMED = dict(num_structures=3)


def published_autosamus(grid=4, seed=0):
    """A published AutoSAMUS state dict, dead tensors included, and this project's keys of it."""
    published, own = published_samus(grid, seed)
    renamed = {f"prompt_generator.{name}": f"prompt_head.{name}" for name in GENERATOR}
    renamed["prompt_generator.object_token"] = "prompt_head.task_tokens"
    for kind in ("token", "image"):
        for layer, place in ((layer, place) for layer in range(2) for place in range(4)):
            side = ("first", "second")[place % 2]
            for theirs, ours in (MLP if place > 1 else ATTENTION).items():
                key = f"prompt_generator.cross_{kind}_token.layers.{layer}.{place}.{theirs}"
                renamed[key] = f"prompt_head.{kind}_coupling.{side}.{layer}.{ours}"
    for stage in range(4):
        for place, name in ((0, "conv.weight"), (1, "norm.weight"), (1, "norm.bias")):
            key = f"feature_adapter.{3 * stage + place}.{name.split('.')[1]}"
            renamed[key] = f"prompt_head.dense_prompt.{stage}.{name}"
    wanted = snapshot(randomise(segmentor("SAMUS", grid, APG), seed + 1))
    for theirs, ours in renamed.items():
        published[theirs] = wanted.get(ours, torch.zeros(3))
        if ours in wanted:
            own[ours] = wanted[ours]
    return published, own


# What an AutoSAMUS file calls a module -> what it is here.
GENERATOR = ("token_proj.weight", "token_proj.bias")
ATTENTION = {
    "norm1.weight": "norm_x.weight",
    "norm1.bias": "norm_x.bias",
    "norm2.weight": "norm_source.weight",
    "norm2.bias": "norm_source.bias",
    "fn.to_q.weight": "attn.q.weight",
    "fn.to_kv.weight": "attn.kv.weight",
    "fn.to_out.0.weight": "out.weight",
    "fn.to_out.0.bias": "out.bias",
}
MLP = {
    "norm.weight": "norm_mlp.weight",
    "norm.bias": "norm_mlp.bias",
    "fn.net.0.weight": "mlp.0.weight",
    "fn.net.0.bias": "mlp.0.bias",
    "fn.net.3.weight": "mlp.2.weight",
    "fn.net.3.bias": "mlp.2.bias",
}


class TestAutoSAMUS:
    def test_published_names(self):
        published, own = published_autosamus()
        model = segmentor("SAMUS", 4, APG)
        report = load_published(model, published)
        assert report.left == ()
        assert len(published) - len(report.loaded) == 14
        assert set(report.loaded) == set(own)
        assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())

    def test_what_is_not_known_to_be_dead_is_an_error(self):
        published, _ = published_autosamus()
        more = "prompt_generator.cross_token_token.layers.2.1.norm1.weight"
        for key in (more, "feature_adapter.2.weight", "feature_adapter.12.weight", "mask_adapter"):
            with pytest.raises(CheckpointError, match=rf"1 unexpected \({key}\)"):
                load_published(segmentor("SAMUS", 4, APG), published | {key: torch.zeros(3)})

    def test_must_be_complete(self):
        published, _ = published_autosamus()
        del published["prompt_generator.token_proj.bias"]
        with pytest.raises(CheckpointError, match=r"1 missing \(prompt_head.token_proj.bias\)"):
            load_published(segmentor("SAMUS", 4, APG), published)

    def test_other_numbers_of_tokens_and_structures_are_an_error(self):
        published, _ = published_autosamus()
        for other in (dict(num_task_tokens=7), dict(num_structures=3)):
            with pytest.raises(CheckpointError, match=r"1 misshapen \(prompt_head.task_tokens"):
                load_published(segmentor("SAMUS", 4, APG | other), published)
        with pytest.raises(CheckpointError, match="does not fit"):
            load_published(segmentor("SAMUS", 4, APG | dict(mode="paper")), published)

    def test_starts_from_samus(self):
        published, own = published_samus()
        model = segmentor("SAMUS", 4, APG)
        before = snapshot(model)
        report = load_published(model, published)
        assert set(report.loaded) == set(own)
        assert set(report.left) == set(before) - set(own)
        assert all(torch.equal(model.state_dict()[key], before[key]) for key in report.left)
        assert str(report).endswith(f"left as initialised: APG ({len(report.left)})")

    def test_starts_from_a_run_of_samus_with_names(self, tmp_path):
        samus = randomise(segmentor("SAMUS", 4, NAMED), 1)
        state = dict(state_dict=samus.state_dict(), meta=dict(epoch=7), optimizer={})
        torch.save(state, tmp_path / "best_dice_epoch_7.pth")
        torch.save({"state_dict": {}}, tmp_path / "epoch_9.pth")
        model = segmentor("SAMUS", 4, APG | NAMED)
        with pytest.raises(CheckpointError, match=r"1 unexpected \(prompt_head.names.weight\)"):
            initialise(model, str(tmp_path))
        parts = ("backbone", "decoder", "prompt_head.encoder")
        report = initialise(model, dict(path=str(tmp_path), parts=parts))
        assert report.source.endswith("best_dice_epoch_7.pth")
        assert all(torch.equal(model.state_dict()[k], samus.state_dict()[k]) for k in report.loaded)
        own = ("prompt_head.encoder.", "backbone.", "decoder.")
        assert not any(key.startswith(own) for key in report.left)
        assert str(report).endswith(f"left as initialised: APG ({len(report.left)})")

    def test_its_prompt_encoder_starts_samus(self):
        published, own = published_autosamus()
        model = segmentor("SAMUS", 4, NAMED)
        with pytest.raises(CheckpointError, match="unexpected"):
            load_published(model, published)
        parts = ["backbone", "decoder", "prompt_head.encoder"]
        assert load_published(model, published, parts).left == ("prompt_head.names.weight",)
