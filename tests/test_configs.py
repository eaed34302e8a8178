"""Every config loads, builds, trains a step and tests, through the Runner, on generated data."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from echozoo.engine import launch
from echozoo.errors import CheckpointError
from echozoo.phantom import PhantomOptions, write_phantom
from echozoo.registry import DATASETS, MODELS
from echozoo.visualization.report import write_report

CONFIGS = sorted(Path("configs").glob("*.py"))
UNTRAINED = ("sam", "stored", "polyp_sam_pp")  # nothing of these is
TRAINED = [path for path in CONFIGS if path.stem not in UNTRAINED]

# Configs without a tiny scale, at sizes that a test can wait for.
SMALL = {
    "lite_medsam": {
        "model.prompt_head.img_size": 64,
        "model.prompt_head.embedding_size": 16,
        "model.prompt_head.embed_dims": 32,
        "model.decoder.embed_dims": 32,
        "model.decoder.mlp_dims": 32,
        "model.decoder.iou_head_hidden": 32,
        "model.backbone.embed_dims": (8, 8, 16, 16),
        "model.backbone.depths": (1, 1, 1, 1),
        "model.backbone.num_heads": (1, 1, 2, 2),
        "model.backbone.out_channels": 32,
    },
    "sam": {
        "model.prompt_head.img_size": 64,
        "model.prompt_head.embedding_size": 4,
        "model.prompt_head.embed_dims": 32,
        "model.decoder.embed_dims": 32,
        "model.decoder.mlp_dims": 32,
        "model.decoder.iou_head_hidden": 32,
        "model.backbone.img_size": 64,
        "model.backbone.embed_dims": 24,
        "model.backbone.num_heads": 2,
        "model.backbone.out_channels": 32,
    },
}
SMALL["polyp_sam_pp"] = {k: v for k, v in SMALL["sam"].items() if ".prompt_head." not in k}
# Parameters at full size, and how many of them train. Of what the published networks have, SAM's
# decoder trains without the parts that a single mask does not use.
SAM, SAMUS, SAMUS_TRAINED = 93_735_472, 133_323_568, 39_653_120
UNUSED_OF_DECODER = 132_612 + 3 * 139_808  # the IoU head, three of four hypernetworks
NO_PROMPTS = 6_220 - 256  # SAM's prompt encoder, but for the embedding of "no mask"
MSA_DEPTH = 12 * 295_872  # adapters that its 2-D branch does not use
PROTOTYPES = 590_594 + 3 * 256  # what makes prompts of them, with two tokens a structure
DOWN_UP = 12 * 592_512 + 7_672_832  # ST-Adapters, the network of prompts
TEXTS = 4 * 512 + 512 * 256 + 3 * 256  # a table of texts, what makes tokens of them
PARTS = TEXTS + 256 * 128 + 128 + 128 * 256 + 256
RELATIVE = 4 * 2 * 31 * 64 + 8 * 2 * 27 * 64  # SAM's positions, which AdaptiveSAM's code drops
TRA, ST_ADAPTER, TEMP_ATT = 4 * 791_296, 4 * 592_512, 4 * (2_954_496 + 8 * 768)
LIA = 1_688 + 3_352 + 6_680 + 56_904  # after 64, 128, 256 and 768 channels
MSFF = 1_902_848
APG = 8_491_776 + 369_536 - 1_051_648 + 2 * 50 * 256  # no dead part; task tokens of 3 structures
# HarDNet without its last stage and a norm, with an output for each of three structures.
DENSE_NET = 41_558_300 - 17_506_176 + 2 * (9 * 256 * 256 + 256)
ADAPTER_SHADOW = 4_062_731 + 7_100_928  # EfficientNet-Lite1's U-Net, bottlenecks
SAC = 7_250_627 + 147_456  # a U-Net, LoRA
COUNTS = {
    "sam": (SAM, 0),
    "polyp_sam_pp": (SAM, 0),
    "sam_finetune": (SAM, 4_058_340 - UNUSED_OF_DECODER),
    "samus": (SAMUS, SAMUS_TRAINED),
    "samus_tra": (SAMUS + TRA, SAMUS_TRAINED + TRA),
    "samus_st_adapter": (SAMUS + ST_ADAPTER, SAMUS_TRAINED + ST_ADAPTER),
    "samus_temp_att": (SAMUS + TEMP_ATT, SAMUS_TRAINED + TEMP_ATT),
    "samus_lia": (SAMUS + LIA, SAMUS_TRAINED + LIA),
    "samus_tra_lia": (SAMUS + TRA + LIA, SAMUS_TRAINED + TRA + LIA),
    "samus_msff": (SAMUS + MSFF, SAMUS_TRAINED + MSFF),
    "samus_msff_tra": (SAMUS + MSFF + TRA, SAMUS_TRAINED + MSFF + TRA),
    "autosamus": (SAMUS + APG, APG),
    "autosamus_msff": (SAMUS + MSFF + APG, APG),
    "autosamus_tra": (SAMUS + TRA + APG, APG),
    "ce_net": (29_003_960, 29_003_960),
    "efficient_unet": (3_586_548, 3_586_548),
    "efficient_unet_fine": (3_586_548, 3_586_548),
    "stm": (38_925_570, 38_925_570),
    "stcn": (54_434_180, 54_434_180),
    "xmem": (62_185_224, 62_185_224),
    "clas": (13_974_376, 13_974_376),
    "nnunet": (33_474_840, 33_474_840),
    "nnsam": (40_130_196 - 321_640, 34_064_664),  # without MobileSAM's classifier
    "missformer": (42_462_212 - 7_009_792,) * 2,  # without what has no effect
    "autosam_dense": (SAM + DENSE_NET, DENSE_NET),
    "autosam_tokens": (
        93_450_914 - 139_808,
        3_646_880 - 139_808,
    ),  # without a mask that is never drawn
    "adapter_shadow": (
        SAM + ADAPTER_SHADOW,
        ADAPTER_SHADOW + 4_058_340 - UNUSED_OF_DECODER,
    ),
    "sac": (SAM + SAC, SAC + 4_058_340 - UNUSED_OF_DECODER),
    # Of SurgicalSAM's, beside them: what marks prompts as asked for or not, of SAM's points.
    "surgical_sam": (SAM + PROTOTYPES + 4 * 256, PROTOTYPES + 4_058_340 - UNUSED_OF_DECODER),
    "auto_prompt_sam": (SAM + DOWN_UP, DOWN_UP + 4_058_340 - UNUSED_OF_DECODER),
    "sp_sam": (SAM + PARTS, PARTS + 4_058_340 - UNUSED_OF_DECODER),
    # With a table of three texts; the prompt encoder's part in training has no effect.
    "adaptive_sam": (
        90_825_520 + RELATIVE + 3 * 512,
        4_514_096 + 3 * 512 - 6_220 - UNUSED_OF_DECODER,
    ),
    "medsam": (SAM, 93_729_252 - UNUSED_OF_DECODER),
    "msa": (104_337_712 - MSA_DEPTH, 11_159_268 - UNUSED_OF_DECODER),
    "msa_3d": (104_337_712, 11_159_268 - UNUSED_OF_DECODER + MSA_DEPTH),
    # Without what embeds masks, and the hypernetwork of the single mask.
    "sam_med2d": (271_241_776, 184_569_136 - 4_684 - 139_808),
    "samed": (90_884_656 - NO_PROMPTS, 4_212_016 - NO_PROMPTS - 132_612),
    "ma_sam": (115_607_624 - NO_PROMPTS, 28_934_984 - NO_PROMPTS - 132_612),
    # Without a stage of its value encoder that never runs.
    "memsam": (152_046_823 - 2_099_712, 58_376_375 - 2_099_712),
}


def options(config: Path, data: Path, work_dir: Path, **cfg_options) -> Namespace:
    """What the command line of tools/train.py would say."""
    small = SMALL.get(config.stem)
    dataset = dict(indices=2, clip_length=2, split="ratio")
    if config.stem.endswith(("_echonet", "_mixed")):
        del dataset["split"]
    if config.stem == "xmem_pp":
        dataset["clip_length"] = 3  # the masks of both ends are given, and measured nowhere
    loaders = {f"{loader}.num_workers": 0 for loader in launch.LOADERS}
    loaders |= {f"{loader}.persistent_workers": False for loader in launch.LOADERS}
    loaders |= {"train_dataloader.batch_size": 1}
    return Namespace(
        config=str(config),
        scale=None if small else "tiny",
        data_root=str(data),
        dataset=dataset | (dict(image_size=(64, 64)) if small else {}),
        cfg_options=loaders
        | (small or {})
        | {"train_cfg.max_epochs": 1, "train_cfg.val_interval": 1}
        | cfg_options,
        work_dir=str(work_dir),
        amp=None,
        seed=0,
        launcher="none",
    )


def read(config: Path, *args, **cfg_options) -> Config:
    cfg = launch.read_config(options(config, *args, **cfg_options))
    launch.forget_pretrained(cfg)
    launch.collect_results(cfg)
    return cfg


@pytest.fixture(scope="session")
def echonet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("av", reason="the extra video is not installed")
    root = tmp_path_factory.mktemp("echonet") / "data"
    write_phantom(root, PhantomOptions(4, spacing=2.0, frames=(3, 4), layout="echonet"))
    return root


@pytest.mark.parametrize("config", TRAINED, ids=lambda path: path.stem)
def test_trains_a_step_and_tests(config, request, tmp_path, monkeypatch):
    if config.stem.endswith("_mixed"):
        monkeypatch.setenv("ECHONET_ROOT", str(request.getfixturevalue("echonet")))
    data = request.getfixturevalue("echonet" if "_echonet" in config.stem else "phantom")
    runner = launch.build_runner(read(config, data, tmp_path))
    frozen = {n: p.clone() for n, p in runner.model.named_parameters() if not p.requires_grad}
    before = {n: p.clone() for n, p in runner.model.named_parameters() if p.requires_grad}
    runner.train()
    parameters = dict(runner.model.named_parameters())
    assert all(torch.equal(parameters[name], value) for name, value in frozen.items())
    moved = [name for name, value in before.items() if not torch.equal(parameters[name], value)]
    assert len(moved) > len(before) / 2
    metrics = runner.test()
    assert metrics["camus/num_images"] > 0
    assert 0 <= metrics["camus/dice_with_empty_as_0"] <= 1
    assert (tmp_path / "curves.png").is_file()
    assert list(tmp_path.glob("*.csv"))
    assert list((tmp_path / "overlays").iterdir())


def test_zero_shot_sam_tests_and_has_nothing_to_train(phantom, tmp_path):
    runner = launch.build_runner(read(Path("configs/sam.py"), phantom, tmp_path))
    assert not any(p.requires_grad for p in runner.model.parameters())
    assert runner.test()["camus/num_images"] > 0


def test_masks_of_another_program_are_measured_without_a_checkpoint(phantom, tmp_path):
    masks = {"model.folder": str(phantom)}  # the references themselves
    runner = launch.build_runner(read(Path("configs/stored.py"), phantom, tmp_path, **masks))
    assert runner.test()["camus/dice_with_empty_as_0"] == 1
    assert "stored" in write_report(tmp_path).read_text()


def test_boxes_of_a_detector_are_tested_without_training(phantom, tmp_path):
    cfg = read(Path("configs/polyp_sam_pp.py"), phantom, tmp_path)
    dataset = dict(cfg.test_dataloader.dataset)
    dataset["pipeline"] = [dict(type="LoadClip"), dict(type="BoxPrompts")]
    found: dict = {}
    for clip in DATASETS.build({**dataset, "_scope_": "echozoo"}):
        of_frames = [
            dict(zip(clip["structures"], boxes.tolist(), strict=True)) for boxes in clip["boxes"]
        ]
        film = found.setdefault(clip["sequence"], {})
        film |= dict(zip(map(str, clip["frames"]), of_frames, strict=True))
    (tmp_path / "boxes.json").write_text(json.dumps(found))
    cfg.test_dataloader.dataset.pipeline[2].source = str(tmp_path / "boxes.json")
    runner = launch.build_runner(cfg)
    assert not any(p.requires_grad for p in runner.model.parameters())
    assert runner.test()["camus/num_images"] > 0


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_says_what_it_is_and_how_to_run_it(config):
    text = config.read_text()
    assert text.startswith('"""')
    head = text.split('"""')[1]
    assert "Data: CAMUS" in head or "Data: EchoNet-Dynamic" in head
    assert f"configs/{config.name} " in head
    assert len(text.splitlines()) <= 70


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_at_full_size(name):
    cfg = Config.fromfile(f"configs/{name}.py")
    with torch.device("meta"):
        model = MODELS.build({**cfg.model, "_scope_": "echozoo"})
    counted = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (counted, trained) == COUNTS[name]


def test_sam_runs_at_256_pixels_too(tmp_path):
    args = options(Path("configs/sam_finetune.py"), tmp_path, tmp_path)
    args.scale, args.dataset, args.cfg_options = "256", {}, {}
    cfg = launch.read_config(args)
    with torch.device("meta"):
        model = MODELS.build({**cfg.model, "_scope_": "echozoo"})
    # SAM's encoder at 256 pixels: smaller tables of positions, nothing else.
    assert sum(p.numel() for p in model.backbone.parameters()) == 86_672_640
    assert cfg.test_dataloader.dataset.image_size == (256, 256)


@pytest.mark.slow
def test_samus_tra_takes_a_step_at_its_real_size():
    cfg = Config.fromfile("configs/samus_tra.py")
    model = MODELS.build({**cfg.model, "_scope_": "echozoo"})
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    images = torch.rand(2, 1, 256, 256)
    points, labels = torch.rand(2, 3, 1, 2) * 256, torch.ones(2, 3, 1, dtype=torch.int64)
    logits = model.decode(model.encode(images, num_frames=2).embedding, points, labels)
    assert logits.shape == (2, 3, 128, 128)
    before = model.backbone.temporal["2"].expand.weight.clone()
    sum(model.loss_function(logits, (torch.rand_like(logits) > 0.5).float()).values()).backward()
    optimizer.step()
    assert not torch.equal(model.backbone.temporal["2"].expand.weight, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["autosam_dense", "autosam_tokens", "uv_sam", "adapter_shadow", "sac"]
    + ["surgical_sam", "auto_prompt_sam", "sp_sam"],
)
@torch.no_grad()
def test_whole_systems_run_at_their_real_size(name):
    """Of systems of which only parts are recorded; a smaller image, so that it is quick."""
    cfg = Config.fromfile(f"configs/{name}.py")
    cfg.model.backbone.img_size = 256
    model = MODELS.build({**cfg.model, "_scope_": "echozoo"}).eval()
    logits = model(torch.rand(1, 1, 3, 256, 256))
    assert logits.shape == ((1, 4, 256, 256) if name == "autosam_tokens" else (1, 3, 64, 64))
    assert torch.isfinite(logits).all()


def test_a_test_refuses_weights_that_leave_parts_random(phantom, tmp_path):
    cfg = read(Path("configs/samus_tra.py"), phantom, tmp_path)
    model = MODELS.build({**cfg.model, "_scope_": "echozoo"})
    weights = {name: v for name, v in model.state_dict().items() if ".temporal." not in name}
    torch.save(weights, tmp_path / "samus.pth")
    cfg.load_from = str(tmp_path / "samus.pth")
    with pytest.raises(CheckpointError, match="samus.pth.*temporal.*random weights"):
        launch.build_runner(cfg).test()
