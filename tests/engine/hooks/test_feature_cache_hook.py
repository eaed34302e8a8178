from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from echozoo.engine import launch, training_options
from echozoo.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
IMAGES, CLIPS = 3, 2


@pytest.fixture(autouse=True)
def _clean_slate(clean_slate: None) -> None:
    pass


def read(name: str, data: Path, folder: Path | None, epochs: int = 2, **options) -> Config:
    """A tiny run without augmentation on stills; with the cache where there is a folder."""
    # At its full size the encoder of this one is frozen; the tiny one trains unless told.
    frozen = {"model.frozen": ("backbone.*", "decoder.iou_prediction_head.*")}
    loaders = {f"{loader}.num_workers": 0 for loader in launch.LOADERS}
    loaders |= {f"{loader}.persistent_workers": False for loader in launch.LOADERS}
    arguments = Namespace(
        config=str(CONFIGS / f"{name}.py"),
        scale="tiny",
        data_root=str(data),
        dataset=dict(
            indices=IMAGES,
            frames="ed_es",
            clip_length=CLIPS if name == "autosamus_tra" else 1,
            split="ratio",
        ),
        cfg_options=loaders
        | (frozen if name == "sam_finetune" else {})
        | {
            "train_dataloader.batch_size": 1,
            "train_cfg.max_epochs": epochs,
            "train_cfg.val_interval": 1,
        }
        | options,
        work_dir=f"work_dirs/{name}_{folder is not None}",
        amp=None,
        seed=0,
        launcher="none",
    )
    cfg = launch.read_config(arguments)
    launch.forget_pretrained(cfg)
    training_options.drop_augmentation(cfg)
    if folder is not None:
        training_options.cache_features(cfg, str(folder), 1.0)
    return cfg


def train(cfg: Config) -> tuple[Runner, list[int]]:
    """The runner after its training, and how many images each pass of the encoder was for."""
    runner, calls = launch.build_runner(cfg), []
    runner.model.backbone.register_forward_hook(
        lambda _, images, __: calls.append(len(images[0])), with_kwargs=False
    )
    runner.train()
    return runner, calls


def losses(runner: Runner) -> list[float]:
    history, _ = runner.message_hub.get_scalar("train/loss").data
    return history.tolist()


def assert_equal_weights(found: Runner, wanted: Runner) -> None:
    weights, others = found.model.state_dict(), wanted.model.state_dict()
    assert not [name for name, weight in weights.items() if not torch.equal(weight, others[name])]


@pytest.mark.parametrize("name", ["sam_finetune", "autosamus_tra"])
def test_the_encoder_runs_in_the_first_epoch_only_and_nothing_else_changes(name, phantom, tmp_path):
    plain, passes = train(read(name, phantom, None))
    cached, fewer = train(read(name, phantom, tmp_path / "features"))
    assert len(passes) == 2 * len(fewer) > 0
    assert fewer == passes[: len(fewer)]
    assert losses(cached) == losses(plain)
    assert len(set(losses(cached))) > IMAGES, "they move"
    wanted = plain.model.state_dict()
    assert all(
        torch.equal(weight, wanted[key]) for key, weight in cached.model.state_dict().items()
    )
    log = next(Path(cached.work_dir).glob("*/*.log")).read_text()
    assert log.count("Features: ") == 1
    assert f"Features: 0 read, {IMAGES} encoded ({tmp_path / 'features'})" in log


def test_batches_of_clips_that_are_there_and_that_are_not(phantom, tmp_path):
    options = {"train_dataloader.batch_size": 2}
    plain, _ = train(read("autosamus", phantom, None, **options))
    read_ahead = {"train_dataloader.dataset.indices": 2}
    train(read("autosamus", phantom, tmp_path / "features", epochs=1, **options, **read_ahead))
    cached, calls = train(read("autosamus", phantom, tmp_path / "features", **options))
    assert calls == [1], "the third of three images; validation's are there too"
    assert losses(cached) == pytest.approx(losses(plain), abs=1e-5)


def test_resuming_goes_on_with_the_same_features(phantom, tmp_path):
    whole, _ = train(read("autosamus", phantom, tmp_path / "features"))
    cfg = read("autosamus", phantom, tmp_path / "features")
    cfg.load_from, cfg.resume = f"{whole.work_dir}/epoch_1.pth", True
    resumed, calls = train(cfg)
    assert calls == []
    assert len(losses(resumed)) == len(losses(whole))
    assert_equal_weights(resumed, whole)


def test_another_seed_is_another_encoder(phantom, tmp_path):
    _, first = train(read("autosamus", phantom, tmp_path / "features", epochs=1))
    cfg = read("autosamus", phantom, tmp_path / "features", epochs=1)
    cfg.randomness = dict(seed=1)
    _, second = train(cfg)
    assert len(second) == len(first)
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_a_test_reads_what_it_has_encoded(phantom, tmp_path):
    counts = []
    for _ in range(2):
        runner = launch.build_runner(read("autosamus", phantom, tmp_path / "features"))
        torch.manual_seed(0)
        runner.model.init_weights()
        runner.test()
        counts.append(
            (runner.model.feature_cache.num_read, runner.model.feature_cache.num_computed)
        )
    assert counts[0][1] > 0
    assert counts[1] == (counts[0][1], 0)


def test_beside_the_decoded_volumes_where_no_folder_is_told(phantom, tmp_path):
    cfg = read("autosamus", phantom, tmp_path, epochs=1)
    cfg.custom_hooks[-1].folder = None
    inner = cfg.train_dataloader.dataset.to_dict() | {"cache_dir": str(tmp_path / "volumes")}
    cfg.train_dataloader.dataset = dict(type="RepeatDataset", times=1, dataset=inner)
    train(cfg)
    assert list((tmp_path / "volumes" / "features").glob("*/*.safetensors"))


def test_a_trainable_encoder_is_refused(phantom, tmp_path):
    cfg = read("autosamus", phantom, tmp_path, **{"model.trainable": ("backbone.pos_adapter.*",)})
    with pytest.raises(ConfigError, match=r"^backbone.pos_adapter.\S+ trains"):
        launch.build_runner(cfg).train()


def test_a_network_without_an_encoder_apart_is_refused(phantom, tmp_path):
    cfg = read("unet", phantom, tmp_path)
    with pytest.raises(ConfigError, match="found ClipEncoderDecoder"):
        launch.build_runner(cfg).train()


def test_a_compiled_run_is_refused(phantom, tmp_path, monkeypatch):
    cfg = read("autosamus", phantom, tmp_path, compile=True)
    monkeypatch.setattr(Runner, "_maybe_compile", lambda self, target: None)
    with pytest.raises(ConfigError, match="leave out either compile or the feature cache"):
        launch.build_runner(cfg).train()
