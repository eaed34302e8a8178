from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub

from echozoo.engine import failures, launch
from echozoo.errors import CheckpointError, ConfigError, DataError
from echozoo.run_folder import checkpoint_file, find_checkpoint

TOY = Path(__file__).parent / "toy"
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def test_data_root_reaches_every_dataset(read):
    cfg = read("--data-root", "somewhere")
    assert [cfg[name].dataset.data_root for name in LOADERS] == ["somewhere"] * 3


def test_environment_names_the_data(read, monkeypatch):
    monkeypatch.setenv("CAMUS_ROOT", "from_environment")
    assert read().val_dataloader.dataset.data_root == "from_environment"
    assert read("--data-root", "x").val_dataloader.dataset.data_root == "x"


def test_data_root_reaches_datasets_in_wrappers(read):
    cfg = read("--data-root", "x")
    inner = cfg.train_dataloader.dataset.to_dict()
    cfg.train_dataloader.dataset = dict(
        type="RepeatDataset",
        times=2,
        dataset=dict(type="ConcatDataset", datasets=[dict(inner), dict(inner, data_root=None)]),
    )
    launch.set_data(cfg, "y", {"split": "ratio"})
    joined = cfg.train_dataloader.dataset.dataset.datasets
    assert [(d.data_root, d.split) for d in joined] == [("y", "ratio")] * 2
    assert "data_root" not in cfg.train_dataloader.dataset


def test_of_joined_kinds_of_data_the_first_gets_the_folder(read):
    cfg = read("--data-root", "x")
    inner = cfg.train_dataloader.dataset.to_dict()
    other = dict(type="EchoNetDataset", data_root="own")
    joined = [inner, other, dict(inner), dict(other, data_root=None)]
    cfg.train_dataloader.dataset = dict(type="ConcatDataset", datasets=joined)
    launch.set_data(cfg, "y", {})
    found = [one.data_root for one in cfg.train_dataloader.dataset.datasets]
    assert found == ["y", "own", "y", "y"]


def test_datasets_without_a_folder_are_left_alone(tmp_path):
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type="Unheard"))))
    launch.set_data(cfg, "x", {})
    assert cfg.train_dataloader.dataset == dict(type="Unheard")


def test_dataset_option_sets_all_three_and_cfg_options_win(read):
    cfg = read(
        *("--data-root", "x", "--dataset", "split=ratio"),
        *("--cfg-options", "test_dataloader.dataset.split=fold1", "train_cfg.max_epochs=7"),
    )
    assert [cfg[name].dataset.split for name in LOADERS] == ["ratio", "ratio", "fold1"]
    assert cfg.train_cfg.max_epochs == 7


def test_work_dir_and_seed(read):
    cfg = read("--data-root", "x")
    assert cfg.work_dir == "work_dirs/toy_config"
    assert cfg.randomness.seed == 3
    cfg = read("--data-root", "x", "--work-dir", "w", "--seed", "5")
    assert (cfg.work_dir, cfg.randomness.seed) == ("w", 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--cfg-options trian_cfg.max_epochs=3", "did you mean train_cfg?"),
        ("--cfg-options train_cfg.max_epoch=3", "did you mean max_epochs?"),
        ("--cfg-options model.widht=3", "ToyModel has no 'widht'; did you mean width?"),
        ("--cfg-options default_hooks.checkpont.interval=3", "did you mean checkpoint?"),
        ("--cfg-options train_dataloader.batchsize=3", "did you mean batch_size?"),
        ("--cfg-options custom_hooks.9.type=X", "custom_hooks is a list of 4, found '9'"),
        ("--cfg-options custom_hooks.0.foo=1", "EpochSeedHook has no 'foo'"),
        ("--cfg-options model.type.x=1", "model.type is 'ToyModel' and has no 'x'"),
        ("--dataset splt=ratio", "--dataset splt: ToyData has no 'splt'; did you mean split?"),
        ("--dataset subset=val", "train, val and test differ"),
    ],
)
def test_misspelt_options_name_the_closest_key(read, options, message):
    with pytest.raises(ConfigError) as caught:
        read("--data-root", "x", *options.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        "find_unused_parameters=True",
        "train_cfg.val_begin=2",
        "train_dataloader.prefetch_factor=4",
        "model.dropout=0.5",
        "default_hooks.checkpoint.save_optimizer=False",
        "custom_hooks.0.priority=LOW",
        "optim_wrapper.clip_grad.max_norm=1.0",
        "optim_wrapper.accumulative_counts=2",
        "param_scheduler.type=ConstantLR",
    ],
)
def test_new_keys_that_mean_something_are_taken(read, option):
    cfg = read("--data-root", "x", "--cfg-options", option)
    key, value = option.split("=")
    node = cfg
    for part in key.split("."):
        node = node[int(part)] if isinstance(node, list) else node[part]
    assert str(node) == value


def test_option_without_a_value_is_a_usage_error(read, capsys):
    with pytest.raises(SystemExit):
        read("--cfg-options", "train_cfg.max_epochs")
    assert "is not of the form KEY=VALUE" in capsys.readouterr().err


def test_a_dict_in_a_list_is_a_usage_error(read, capsys):
    with pytest.raises(SystemExit):
        read("--cfg-options", "model.postprocessing=[dict(type='A',sigma=1)]")
    assert "a dict inside a list cannot be given" in capsys.readouterr().err


def test_data_nowhere_says_how_to_name_it(read):
    with pytest.raises(ConfigError, match="--data-root FOLDER or set CAMUS_ROOT"):
        read()


def test_absent_config_names_similar_ones(read, tmp_path):
    (tmp_path / "samus_tra.py").write_text("model = dict()")
    with pytest.raises(ConfigError, match=r"no such config; did you mean samus_tra.py\?"):
        read(config="samus_tar.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = dict(\n", "line 1: '(' was never closed"),
        ("_base_ = ['nowhere.py']", "_base_ is absent"),
        ("model = dict(width=undefined)", "NameError: name 'undefined' is not defined"),
        ("custom_imports = dict(imports=['no_such_part'])", "No module named 'no_such_part'"),
        ("custom_imports = dict(imports=['bad_part'])", "bad_part.py, line 2: invalid syntax"),
        ("optim_wraper = dict()\nmodel = dict()", "did you mean optim_wrapper?"),
        ("train_cfg = dict()", "there is no `model` in it"),
    ],
)
def test_broken_config_is_one_line(read, tmp_path, text, message):
    (tmp_path / "broken.py").write_text(text)
    (tmp_path / "bad_part.py").write_text("import torch\nclass = 3\n")
    with pytest.raises(ConfigError) as caught:
        read(config="broken.py")
    assert message in str(caught.value)
    assert "broken.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fp16_without_gpu_is_refused(read, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="needs a GPU"):
        read("--data-root", "x", "--amp", "fp16")
    assert read("--data-root", "x", "--amp").optim_wrapper.type == "BFloat16OptimWrapper"


def test_train_test_and_resume(read):
    cfg = read("--data-root", "x", "--work-dir", "run")
    launch.build_runner(cfg).train()
    assert find_checkpoint("run", best=False).name == "epoch_2.pth"
    best = find_checkpoint("run", best=True)
    assert best.name.startswith("best_toy_error")

    cfg = read("--data-root", "x", "--work-dir", "run")
    cfg.load_from = str(best)
    launch.collect_results(cfg)
    assert launch.build_runner(cfg).test()["toy/cases"] == 8
    assert len(Path("run/toy.csv").read_text().splitlines()) == 8

    cfg = read("--data-root", "x", "--work-dir", "run", "--cfg-options", "train_cfg.max_epochs=3")
    cfg.load_from, cfg.resume = str(find_checkpoint("run", best=False)), True
    runner = launch.build_runner(cfg)
    runner.train()
    assert runner.iter == 12
    assert find_checkpoint("run", best=False).name == "epoch_3.pth"


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(read):
    options = ("--data-root", "x", "--cfg-options", "model.dropout=0.5", "train_cfg.max_epochs=3")
    launch.build_runner(read("--work-dir", "whole", *options)).train()
    launch.build_runner(read("--work-dir", "part", *options[:-1], "train_cfg.max_epochs=1")).train()
    torch.rand(17)  # the generators of the resumed process are elsewhere
    cfg = read("--work-dir", "part", "--seed", "99", *options)  # the checkpoint's seed counts
    cfg.load_from, cfg.resume = "part/epoch_1.pth", True
    launch.build_runner(cfg).train()
    whole, resumed = (
        torch.load(f"{run}/epoch_3.pth", weights_only=True) for run in ("whole", "part")
    )
    for name, weights in whole["state_dict"].items():
        assert torch.equal(weights, resumed["state_dict"][name])


def test_runners_of_one_second_share_nothing(read):
    first, second = (launch.build_runner(read("--data-root", "x")) for _ in range(2))
    first.message_hub.update_info("best_score", 1.0)
    assert second.message_hub is not first.message_hub
    assert second.message_hub.get_info("best_score") is None
    assert len({first.experiment_name, second.experiment_name}) == 2
    assert MessageHub.get_current_instance() is second.message_hub


def test_environment_is_in_the_log_file_and_not_on_the_screen(read, capsys):
    runner = launch.build_runner(read("--data-root", "x"))
    runner.logger.info("a line for the user")
    screen = capsys.readouterr().out
    log = next(Path("work_dirs").rglob("*.log")).read_text()
    assert "a line for the user" in screen
    assert "System environment" not in screen
    assert "toy_parts" not in screen
    assert "System environment" in log
    assert "Config:" in log


def test_the_screen_shows_means_and_the_log_file_all(read, capsys):
    runner = launch.build_runner(read("--data-root", "x"))
    runner.logger.info("Epoch(val) [1][4/4]    camus/dice: 0.9  camus/lv/dice: 0.8  time: 0.1")
    assert capsys.readouterr().out.endswith("camus/dice: 0.9  time: 0.1\n")
    assert "camus/lv/dice: 0.8" in next(Path("work_dirs").rglob("*.log")).read_text()


def test_checkpoint_that_does_not_fit_is_refused(read):
    runner = launch.build_runner(read("--data-root", "x", "--work-dir", "run"))
    weights = runner.model.state_dict()
    weights["extra"] = weights.pop("decoder.1.bias")
    torch.save({"meta": {}, "state_dict": weights}, "other.pth")
    with pytest.raises(CheckpointError) as caught:
        runner.load_checkpoint("other.pth")
    assert "1 missing (decoder.1.bias), 1 unexpected (extra)" in str(caught.value)


def test_weights_alone_cannot_be_resumed(read):
    cfg = read("--data-root", "x", "--work-dir", "run")
    cfg.resume = True
    runner = launch.build_runner(cfg)
    torch.save(runner.model.state_dict(), "weights.pth")
    with pytest.raises(CheckpointError, match="no training state"):
        runner.load_checkpoint("weights.pth")


def test_checkpoint_argument(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint in this folder"):
        checkpoint_file(tmp_path, best=True)
    for name in ("epoch_2.pth", "epoch_10.pth", "best_dice_epoch_2.pth"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"no such checkpoint; there are .*epoch_10\.pth"):
        checkpoint_file(tmp_path / "epoch_3.pth", best=True)
    assert checkpoint_file(tmp_path, best=True).endswith("best_dice_epoch_2.pth")
    # No pointer, or one to a file that is gone: the run was killed while it saved.
    assert checkpoint_file(tmp_path, best=False).endswith("epoch_10.pth")
    (tmp_path / "last_checkpoint").write_text("/elsewhere/epoch_1.pth")
    assert checkpoint_file(tmp_path, best=False).endswith("epoch_10.pth")
    (tmp_path / "last_checkpoint").write_text("/moved/since/epoch_2.pth")
    assert checkpoint_file(tmp_path, best=False).endswith("/epoch_2.pth")


@pytest.mark.parametrize("workers", [0, 2])
def test_error_in_the_data_is_one_line(read, workers):
    options = (f"train_dataloader.num_workers={workers}", "train_dataloader.dataset.bad=3")
    cfg = read("--data-root", "x", "--cfg-options", *options)
    with pytest.raises(DataError) as caught, failures.one_line():
        launch.build_runner(cfg).train()
    assert str(caught.value) == "x/sample3: broken, wanted whole: replace it"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("type", "ToyModle", "no model is named 'ToyModle'; did you mean ToyModel?"),
        ("widht", 3, "ToyModel has no parameter 'widht'; did you mean width?"),
    ],
)
def test_misspelt_parts_are_one_line(read, key, value, message):
    cfg = read("--data-root", "x")
    cfg.model[key] = value
    with pytest.raises(ConfigError) as caught, failures.one_line():
        launch.build_runner(cfg)
    assert message in str(caught.value)


def test_misspelt_parameter_of_the_optimizer_is_one_line(read):
    cfg = read("--data-root", "x")
    cfg.optim_wrapper.optimizer.momentun = 0.5
    with pytest.raises(ConfigError, match="'momentun'; did you mean momentum"), failures.one_line():
        launch.build_runner(cfg).train()


def test_other_errors_pass_unchanged():
    with pytest.raises(TypeError, match="unexpected keyword"), failures.one_line():
        DictConfig(nothing=1)


class DictConfig:
    """Not built from a config, so nothing that a user could have misspelt there."""

    def __init__(self) -> None:
        pass


def test_published_weights_are_tested_and_no_moving_average_of_nothing(read, tmp_path):
    model = launch.build_runner(read("--data-root", "x", "--seed", "9")).model
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    found = []
    for hooks in ([], [{"type": "EMAHook"}]):
        cfg = read("--data-root", "x", "--work-dir", f"run{len(hooks)}")
        cfg.custom_hooks, cfg.load_from = hooks, str(tmp_path / "weights.pth")
        found.append(launch.build_runner(cfg).test())
    assert found[0] == found[1]
