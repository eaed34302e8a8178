"""Published weights into this project's models; segment_anything stands for the published side."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from published_models import (
    SIZES,
    published_sam,
    published_samus,
    randomise,
    segmentor,
    snapshot,
)
from torch import nn

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models import load_published
from echozoo.models.checkpoints import initialise, own_keys
from echozoo.registry import MODELS, PROMPT_HEADS


class TestSAM:
    def test_gives_the_outputs_of_segment_anything(self, tmp_path):
        sam, model = published_sam(), segmentor().eval()
        torch.save(sam.state_dict(), tmp_path / "sam.pth")
        report = load_published(model, tmp_path / "sam.pth")
        assert report.left == ()
        assert len(report.loaded) == len(sam.state_dict())
        images, points = torch.rand(1, 3, 128, 128), torch.tensor([[[40.0, 70.0]]])
        labels = torch.ones(1, 1)
        with torch.no_grad():
            sparse, dense = sam.prompt_encoder((points, labels), None, None)
            expected, _ = sam.mask_decoder(
                sam.image_encoder(images),
                sam.prompt_encoder.get_dense_pe(),
                sparse,
                dense,
                multimask_output=False,
            )
            found = model.decode(model.encode(images).embedding, points[None], labels[None])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("prefix", ["module.", ""])
    def test_state_dict_and_prefix(self, prefix):
        weights = {f"{prefix}{k}": v for k, v in published_sam().state_dict().items()}
        model = segmentor()
        load_published(model, weights)
        assert torch.equal(model.backbone.pos_embed, weights[f"{prefix}image_encoder.pos_embed"])

    def test_into_samus_leaves_what_samus_adds(self):
        weights, model = published_sam(8).state_dict(), segmentor("SAMUS", 4)
        before = snapshot(model)
        report = load_published(model, weights)
        after = model.state_dict()
        assert {key for key in before if "cnn_branch" in key} <= set(report.left)
        assert all(torch.equal(after[key], before[key]) for key in report.left)
        assert len(report.loaded) == len(weights)
        assert torch.equal(
            after["decoder.iou_token.weight"], weights["mask_decoder.iou_token.weight"]
        )
        # SAMUS keeps the table of absolute positions, its adapter shrinks it.
        assert torch.equal(after["backbone.pos_embed"], weights["image_encoder.pos_embed"])
        assert len(after["backbone.blocks.1.attn.rel_pos_h"]) == 7
        assert "SAMUS (" in str(report)

    def test_sam_file_must_be_complete_for_samus(self):
        weights = dict(published_sam().state_dict())
        del weights["image_encoder.blocks.7.norm1.bias"]
        with pytest.raises(CheckpointError, match=r"1 missing \(backbone.blocks.7.norm1.bias\)"):
            load_published(segmentor("SAMUS", 4), weights)

    def test_prompt_encoder_and_decoder_alone(self, tmp_path):
        sam = published_sam()
        parts = {
            "PromtEncoder": sam.prompt_encoder.state_dict(),
            "MaskDecoder": sam.mask_decoder.state_dict(),
        }
        torch.save(parts, tmp_path / "parts.pt")
        model = segmentor()
        before = snapshot(model)
        report = load_published(model, tmp_path / "parts.pt")
        assert torch.equal(model.backbone.pos_embed, before["backbone.pos_embed"])
        assert torch.equal(model.decoder.iou_token.weight, sam.mask_decoder.iou_token.weight)
        assert {key.split(".")[0] for key in report.left} == {"backbone"}
        del parts["MaskDecoder"]["mask_tokens.weight"]
        torch.save(parts, tmp_path / "parts.pt")
        with pytest.raises(CheckpointError, match=r"1 missing \(decoder.mask_tokens.weight\)"):
            load_published(model, tmp_path / "parts.pt")


def between(table, rows):
    """Resize along the first axis, linearly, as the centres of the rows lie."""
    places = (np.arange(rows) + 0.5) * len(table) / rows - 0.5
    flat = table.reshape(len(table), -1)
    columns = [np.interp(places, np.arange(len(table)), column) for column in flat.T]
    return np.stack(columns, -1).reshape(rows, *table.shape[1:])


class TestPositionTables:
    @pytest.mark.parametrize("grid", [4, 8, 12])
    def test_are_resized_by_block_index(self, grid):
        weights, model = published_sam(8).state_dict(), segmentor(grid=grid)
        load_published(model, weights)
        after = model.state_dict()
        for index in range(SIZES["depth"]):
            for axis in "hw":
                table = weights[f"image_encoder.blocks.{index}.attn.rel_pos_{axis}"].numpy()
                found = after[f"backbone.blocks.{index}.attn.rel_pos_{axis}"].numpy()
                expected = table
                if index in (1, 3):
                    expected = between(table, 2 * grid - 1)
                np.testing.assert_allclose(found, expected, atol=1e-6)
        table = weights["image_encoder.pos_embed"][0].numpy()
        expected = between(between(table, grid).swapaxes(0, 1), grid).swapaxes(0, 1)
        np.testing.assert_allclose(model.backbone.pos_embed[0].detach(), expected, atol=1e-6)

    def test_windowed_ones_are_never_resized(self):
        weights = dict(published_sam().state_dict())
        # Block 11 has both indexes of the global blocks in its name, 13 too.
        for index in (11, 13):
            weights[f"image_encoder.blocks.{index}.attn.rel_pos_h"] = torch.zeros(15, 8)
        model = segmentor(grid=4)
        with pytest.raises(CheckpointError) as caught:
            load_published(model, weights)
        assert "2 misshapen" in str(caught.value)
        assert "backbone.blocks.11.attn.rel_pos_h (15, 8), wanted (27, 8)" in str(caught.value)

    @pytest.mark.parametrize(
        ("key", "shape"),
        [
            ("blocks.1.attn.rel_pos_h", (15, 4)),
            ("pos_embed", (1, 8, 8, 12)),
            ("pos_embed", (8, 16)),
        ],
    )
    def test_other_channels_are_an_error(self, key, shape):
        weights = dict(published_sam().state_dict())
        weights[f"image_encoder.{key}"] = torch.zeros(shape)
        with pytest.raises(CheckpointError, match="1 misshapen"):
            load_published(segmentor(grid=4), weights)

    def test_half_precision_file(self):
        weights = {key: value.half() for key, value in published_sam().state_dict().items()}
        model = segmentor(grid=4)
        load_published(model, weights)
        assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


class TestSAMUS:
    def test_published_names(self):
        published, own = published_samus()
        assert any("Space_Adapter" in key for key in published)
        model = segmentor("SAMUS", 4)
        report = load_published(model, {f"module.{k}": v for k, v in published.items()})
        assert report.left == ()
        assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())

    def test_every_published_key_has_its_place_at_full_size(self, shared):
        shapes = json.loads((shared / "golden" / "samus_vit_b_keys.json").read_text())
        model = nn.Module()
        with torch.device("meta"):
            model.backbone = MODELS.build(dict(type="SAMUS"))
            model.decoder = MODELS.build(dict(type="SAMMaskDecoder"))
            model.prompt_head = PROMPT_HEADS.build(dict(type="ManualPromptHead"))
        ours = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        names = own_keys(model, shapes)
        assert len(shapes) == 393
        assert {names[key]: tuple(shape) for key, shape in shapes.items()} == ours

    def test_into_a_model_of_films_leaves_the_temporal_modules(self):
        published, own = published_samus()
        model = segmentor("SAMUS", 4, temporal={"type": "TRA"})
        before = snapshot(model)
        report = load_published(model, published)
        assert report.left
        assert all(key.startswith("backbone.temporal.") for key in report.left)
        assert all(torch.equal(model.state_dict()[key], before[key]) for key in report.left)
        assert all(torch.equal(model.state_dict()[key], own[key]) for key in own)

    def test_must_be_complete(self):
        published, _ = published_samus()
        published = {k: v for k, v in published.items() if "Space_Adapter" not in k}
        with pytest.raises(CheckpointError, match=r"16 missing \(backbone.blocks.1.cross_attn.q"):
            load_published(segmentor("SAMUS", 4), published)

    def test_into_plain_sam_is_an_error(self):
        published, _ = published_samus()
        with pytest.raises(CheckpointError) as caught:
            load_published(segmentor(grid=4), published)
        assert "unexpected (image_encoder." in str(caught.value)
        assert "missing" not in str(caught.value)


class TestOwnCheckpoints:
    def test_round_trip(self, tmp_path):
        model = randomise(segmentor("SAMUS", 4, temporal={"type": "TRA"}), 1)
        torch.save({"state_dict": model.state_dict(), "meta": {"epoch": 3}}, tmp_path / "w.pth")
        other = segmentor("SAMUS", 4, temporal={"type": "TRA"})
        assert load_published(other, tmp_path / "w.pth").left == ()
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in other.state_dict().items())

    def test_part_of_a_temporal_module_is_an_error(self):
        model = segmentor("SAMUS", 4, temporal={"type": "TRA"})
        weights = snapshot(model)
        del weights["backbone.temporal.3.reduce.weight"]
        with pytest.raises(CheckpointError, match=r"1 missing \(backbone.temporal.3.reduce.weight"):
            load_published(model, weights)

    def test_parts_must_be_complete(self):
        model = nn.Module()
        model.backbone = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
        weights = snapshot(model)
        assert load_published(model, weights).left == ()
        del weights["backbone.1.weight"], weights["backbone.1.bias"]
        with pytest.raises(CheckpointError, match="2 missing"):
            load_published(model, weights)


class TestErrors:
    def test_lists_are_counted_and_shortened_and_nothing_is_loaded(self, tmp_path):
        weights = dict(published_sam().state_dict())
        for index in range(6):
            del weights[f"image_encoder.blocks.{index}.norm2.weight"]
            weights[f"image_encoder.blocks.{index}.adapter.weight"] = torch.zeros(1)
        weights["mask_decoder.iou_token.weight"] = torch.zeros(1, 7)
        torch.save({"model": weights}, tmp_path / "w.pth")
        model = segmentor()
        before = snapshot(model)
        with pytest.raises(CheckpointError) as caught:
            load_published(model, tmp_path / "w.pth")
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'w.pth'}: does not fit PromptableSegmentor: ")
        assert "6 missing (backbone.blocks.0.norm2.weight, " in message
        assert "blocks.3.norm2.weight, and 2 more)" in message
        assert "6 unexpected (image_encoder.blocks.0.adapter.weight, " in message
        assert "1 misshapen (decoder.iou_token.weight (1, 7), wanted (1, 32))" in message
        assert "\n" not in message
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    def test_file_of_another_size_of_sam(self):
        other = published_sam(sizes=SIZES | {"depth": 12}).state_dict()
        with pytest.raises(CheckpointError, match=r"28 missing \(backbone.blocks.12."):
            load_published(segmentor(), other)


class TestParts:
    def test_only_these_are_loaded(self):
        weights = {f"image_encoder.other.{i}": torch.zeros(1) for i in range(3)}
        sam = published_sam().state_dict()
        weights |= {key: value for key, value in sam.items() if "image_encoder" not in key}
        with pytest.raises(CheckpointError, match="3 unexpected"):
            load_published(segmentor(), weights)
        model = segmentor()
        before = snapshot(model)
        report = load_published(model, weights, parts=("prompt_head", "decoder"))
        assert {key.split(".")[0] for key in report.loaded} == {"prompt_head", "decoder"}
        assert torch.equal(model.backbone.pos_embed, before["backbone.pos_embed"])
        assert torch.equal(model.decoder.iou_token.weight, weights["mask_decoder.iou_token.weight"])

    @pytest.mark.parametrize(
        ("part", "theirs"),
        [
            ("backbone", "image_encoder"),
            ("prompt_head", "prompt_encoder"),
            ("decoder", "mask_decoder"),
        ],
    )
    def test_each_must_be_in_the_file(self, part, theirs):
        sam = published_sam().state_dict()
        weights = {k: v for k, v in sam.items() if k.split(".")[0] != theirs}
        with pytest.raises(CheckpointError, match=rf"missing \({part}\."):
            load_published(segmentor(), weights, parts=(part,))
        rest = tuple({"backbone", "prompt_head", "decoder"} - {part})
        assert load_published(segmentor(), weights, parts=rest).loaded

    def test_dotted(self):
        sam, model = published_sam().state_dict(), segmentor()
        parts = ("decoder.transformer.layers.1", "prompt_head.encoder.no_mask_embed.weight")
        report = load_published(model, sam, parts)
        assert {".".join(key.split(".")[:4]) for key in report.loaded} == set(parts)
        assert "prompt_head.encoder.no_mask_embed.weight" in report.loaded
        assert "decoder.transformer.layers.0.norm1.weight" in report.left

    def test_dotted_one_that_is_not_in_the_file(self):
        model = segmentor("SAMUS", 4, dict(num_structures=3))
        for part in ("prompt_head.names", "backbone.cross_attn", "backbone.blocks.1.cross_attn"):
            with pytest.raises((CheckpointError, ConfigError), match=part):
                load_published(model, published_sam().state_dict(), ("decoder", part))

    @pytest.mark.parametrize("parts", [("image_encoder",), ("dec",), "decoder", ()])
    def test_unknown_ones(self, parts):
        with pytest.raises(ConfigError, match=r"\(backbone, prompt_head, decoder\)"):
            load_published(segmentor(), published_sam().state_dict(), parts=parts)


class TestInitialise:
    def test_path_and_parts(self, tmp_path):
        sam = published_sam().state_dict()
        torch.save(sam, tmp_path / "sam.pth")
        assert initialise(segmentor(), str(tmp_path / "sam.pth")).left == ()
        entry = {"path": str(tmp_path / "sam.pth"), "parts": ["decoder"]}
        model = segmentor()
        assert {key.split(".")[0] for key in initialise(model, entry).loaded} == {"decoder"}

    def test_absent_file_says_how_to_get_it(self):
        with pytest.raises(CheckpointError) as caught:
            initialise(segmentor(), "absent/sam_vit_b_01ec64.pth")
        assert "echozoo download sam_vit_b -o absent" in str(caught.value)
        assert "--from-scratch" in str(caught.value)
        with pytest.raises(CheckpointError, match=r"put the file there.*--from-scratch"):
            initialise(segmentor(), {"path": "absent/samus.pth"})

    def test_folder_of_a_run(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"train the model whose run leaves this folder"):
            initialise(segmentor(), str(tmp_path / "samus"))
        with pytest.raises(
            CheckpointError, match="no checkpoint in this folder; has the run train"
        ):
            initialise(segmentor(), str(tmp_path))
        for name, seed in (("epoch_2.pth", 2), ("epoch_10.pth", 10)):
            model = randomise(segmentor(), seed)
            torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / name)
        assert initialise(segmentor(), str(tmp_path)).source == str(tmp_path / "epoch_10.pth")
        torch.save({"state_dict": model.state_dict()}, tmp_path / "best_dice_epoch_2.pth")
        report = initialise(segmentor(), dict(path=tmp_path, parts=["decoder"]))
        assert report.source == str(tmp_path / "best_dice_epoch_2.pth")

    def test_entry_of_another_form(self):
        for entry in ({"parts": ("decoder",)}, {"path": "w.pth", "strict": False}):
            with pytest.raises(ConfigError, match="wanted a path"):
                initialise(segmentor(), entry)
