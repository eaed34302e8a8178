import pytest
import torch
from mmengine.runner import Runner

from echozoo.errors import CheckpointError
from echozoo.registry import MODELS

THEIRS = {
    "backbone.": "image_encoder.",
    "prompt_head.encoder.": "prompt_encoder.",
    "decoder.": "mask_decoder.",
}


def segmentor(type_="SAMViT", **settings):
    backbone = dict(
        type=type_, embed_dims=8, depth=2, num_heads=1, global_attn_indexes=(1,), out_channels=32
    )
    return MODELS.build(
        dict(
            type="PromptableSegmentor",
            backbone=backbone | settings,
            prompt_head=dict(type="ManualPromptHead", embed_dims=32, img_size=64, embedding_size=4),
            decoder=dict(type="SAMMaskDecoder", embed_dims=32, num_heads=2, mlp_dims=64),
        )
    )


def samus(**settings):
    return segmentor("SAMUS", img_size=64, conv_channels=(4, 4, 4), pos_embed_size=8, **settings)


def published(model):
    renamed = {}
    for key, value in model.state_dict().items():
        ours = next(prefix for prefix in THEIRS if key.startswith(prefix))
        renamed[THEIRS[ours] + key.removeprefix(ours)] = value
    return renamed


def load(folder, content, model):
    torch.save(content, folder / "w.pth")
    runner = Runner(
        model=model,
        work_dir=str(folder),
        load_from=str(folder / "w.pth"),
        custom_hooks=[{"type": "FittingWeightsHook"}],
        default_scope="echozoo",
        experiment_name=f"{folder.parent.name}-{folder.name}",
    )
    runner.load_or_resume()
    return "".join(path.read_text() for path in folder.rglob("*.log"))


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"model": w}])
def test_published_names_at_another_image_size(tmp_path, wrap):
    source, model = segmentor(img_size=64), segmentor(img_size=128)
    load(tmp_path, wrap(published(source)), model)
    assert torch.equal(model.decoder.iou_token.weight, source.decoder.iou_token.weight)
    assert torch.equal(
        model.backbone.blocks[0].attn.qkv.weight, source.backbone.blocks[0].attn.qkv.weight
    )
    assert model.backbone.pos_embed.std() > 0


def test_own_checkpoint(tmp_path):
    source, model = samus(), samus()
    log = load(tmp_path, {"state_dict": source.state_dict(), "meta": {}}, model)
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in model.state_dict().items())
    assert "stay as initialised" not in log


def test_what_the_file_has_no_weights_for_is_logged(tmp_path):
    log = load(tmp_path, {"state_dict": samus().state_dict()}, samus(temporal={"type": "TRA"}))
    assert "stay as initialised: backbone.temporal.1." in log


def test_weights_of_another_model_end_the_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"w.pth: does not fit PromptableSegmentor: .*unexp"):
        load(tmp_path, {"state_dict": samus().state_dict()}, segmentor(img_size=64))
    with pytest.raises(CheckpointError, match="missing"):
        load(tmp_path, {"linear.weight": torch.zeros(1)}, segmentor(img_size=64))
