from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from echozoo.errors import ConfigError
from echozoo.tables.definition import read_definition
from echozoo.tables.planning import plan_table, runs_of
from echozoo.tables.runs import Settings

HERE = Path("work_dirs/tables")


def plan(path: Path, **changes):
    settings = Settings(HERE, "phantom", "tiny", (0, 1))
    return plan_table(read_definition(path), replace(settings, **changes))


def test_a_run_that_two_tables_have_is_one(write_definition) -> None:
    tables = [plan(write_definition("one")), plan(write_definition("two"))]
    runs = runs_of(row for table in tables for row in table.rows)
    assert [run.name for run in runs] == [
        "unet-split=files/seed0",
        "unet-split=files/seed1",
        "samus_tra-split=files/seed0",
        "samus_tra-split=files/seed1",
    ]
    assert runs[0].folder == HERE / "tiny" / "phantom" / "unet-split=files" / "seed0"
    assert plan(write_definition("one"), scale=None).rows[0].runs[0].folder.parts[2] == "full"


def test_folds_are_runs_of_a_seed(write_definition) -> None:
    """Each starts from a run of its own fold: else its test patients would have trained."""
    rows = [
        {"name": "plain", "config": "unet.py"},
        {"name": "timely", "config": "samus_tra.py"},
        {"name": "auto", "config": "autosamus.py", "starts_from": "timely"},
        {"name": "both", "averages": ("plain", "timely")},
    ]
    table = plan(write_definition(rows=rows), folds=(2, 10))
    auto, both = table.rows[2:]
    assert [(run.seed, run.fold) for run in auto.runs] == [(0, 2), (0, 10), (1, 2), (1, 10)]
    for run in (*auto.runs, *both.runs):
        assert run.read_config().test_dataloader.dataset.split == f"fold{run.fold}"
        assert all((one.seed, one.fold) == (run.seed, run.fold) for one in run.needs)
    assert both.runs[0].needs == (table.rows[0].runs[0], table.rows[1].runs[0])
    runs = runs_of([auto, both])
    assert len({run.folder for run in runs}) == len(runs) == 4 * 4
    assert all(runs.index(needed) < runs.index(run) for run in runs for needed in run.needs)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"averages": ("plain", "plane")},
            "no row to average is named 'plane'; did you mean plain",
        ),
        ({"averages": ("plain",)}, "averages: wanted two rows or more, or one and postprocess"),
        ({"averages": ("plain", "tested")}, "averages: wanted rows of models that train"),
        (
            {"averages": ("plain",), "postprocess": ("FilHoles",)},
            "no step is named 'FilHoles'; did you mean FillHoles",
        ),
        (
            {"config": "unet.py", "postprocess": ("FillHoles",)},
            "postprocess: wanted beside averages",
        ),
    ],
)
def test_what_cannot_be_averaged_or_tested_again(write_definition, row, said) -> None:
    rows = [
        {"name": "plain", "config": "unet.py"},
        {"name": "tested", "config": "sam.py", "trains": False},
        {"name": "both", **row},
    ]
    with pytest.raises(ConfigError, match=said):
        plan(write_definition(rows=rows))


def test_the_command_line_wins_over_the_table_and_its_rows(write_definition) -> None:
    row = {
        "name": "plain",
        "config": "unet.py",
        "options": {"model.backbone.base_channels": 8, "train_cfg.max_epochs": 7},
    }
    table = plan(
        write_definition(rows=[row]),
        dataset={"split": "ratio", "image_size": (32, 32)},
        cfg_options={"train_cfg.max_epochs": 3},
    )
    run = table.rows[0].runs[1]
    assert run.options() == [
        *["--scale", "tiny"],
        *["--dataset", "split=ratio", "image_size=(32,32)"],
        *["--cfg-options", "model.backbone.base_channels=8", "train_cfg.max_epochs=3"],
        *["--seed", "1"],
    ]
    cfg = run.read_config()
    assert cfg.model.backbone.base_channels == 8
    assert cfg.train_cfg.max_epochs == 3
    assert tuple(cfg.test_dataloader.dataset.image_size) == (32, 32)
    assert cfg.randomness.seed == 1


def test_what_differs_has_another_folder(write_definition) -> None:
    path = write_definition()
    changes = [
        {},
        {"dataset": {"split": "mini"}},
        {"cfg_options": {"train_cfg.max_epochs": 3}},
        {"cfg_options": {"train_cfg.max_epochs": 3, "train_cfg.val_interval": 3}},
        {"amp": "bf16"},
        {"data_name": "other"},
        {"scale": None},
    ]
    folders = [plan(path, **change).rows[0].runs[0].folder for change in changes]
    assert len(set(folders)) == len(changes)
    assert all(set(str(folder)) <= set(str(folder).replace(" ", "")) for folder in folders)


def test_what_a_run_starts_from_comes_before_it(write_definition) -> None:
    rows = [
        {"name": "auto", "config": "autosamus.py", "starts_from": "timely"},
        {"name": "timely", "config": "samus_tra.py"},
    ]
    table = plan(write_definition(rows=rows, baseline=None), seeds=(3,))
    auto, timely = (row.runs[0] for row in table.rows)
    assert runs_of(table.rows[:1]) == [timely, auto]
    assert runs_of(table.rows) == [timely, auto]
    assert f"model.pretrained.path={timely.folder}" in auto.options()
    assert auto.read_config().model.pretrained.path == "samus_tra-split=files/seed3"
    alone = plan(write_definition(rows=[rows[0] | {"starts_from": "samus_tra.py"}], baseline=None))
    assert alone.rows[0].runs[0].starts_from.config.stem == "samus_tra"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"config": "autosamus.py", "starts_from": "nobody"}, "neither a row .* nor a config"),
        ({"config": "unet.py", "starts_from": "samus_tra.py"}, r"model.pretrained is no dict"),
        ({"config": "unet.py", "options": {"modle.x": 1}}, "has no 'modle'; did you mean model"),
    ],
)
def test_wrong_rows_are_named(write_definition, row, message) -> None:
    path = write_definition(rows=[{"name": "odd"} | row], baseline=None)
    with pytest.raises(ConfigError, match=f"row 'odd': .*{message}"):
        plan(path)


def test_an_unknown_scale_is_an_error(write_definition) -> None:
    with pytest.raises(ConfigError, match="row 'plain': .*no scale 'tinny'; did you mean tiny"):
        plan(write_definition(), scale="tinny")


def test_published_weights_are_tested_where_they_are(write_definition, tmp_path, monkeypatch):
    rows = [{"name": "zero-shot", "config": "sam.py", "trains": False}]
    path = write_definition(rows=rows, baseline=None)
    (row,) = plan(path).rows
    assert not row.runs
    assert "has no scale 'tiny'" in row.obstacle
    monkeypatch.chdir(tmp_path)
    (row,) = plan(path, scale=None).rows
    assert [run.weights for run in row.runs] == ["checkpoints/sam_vit_b_01ec64.pth"]
    assert "is absent; echozoo download" in row.obstacle
    assert runs_of([row]) == []
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "sam_vit_b_01ec64.pth").touch()
    (row,) = plan(path, scale=None).rows
    assert not row.obstacle
    assert len(runs_of([row])) == 1, "no seed enters"


def test_the_fingerprint_follows_values_and_not_places(write_definition, tmp_path) -> None:
    path = write_definition()
    run, other_seed = plan(path).rows[0].runs
    assert run.fingerprint == plan(path, root=Path("elsewhere")).rows[0].runs[0].fingerprint
    assert run.fingerprint != other_seed.fingerprint
    config = tmp_path / "unet.py"
    config.write_text(config.read_text() + "# a remark\n")
    assert plan(path).rows[0].runs[0].fingerprint == run.fingerprint
    config.write_text(config.read_text() + "find_unused_parameters = True\n")
    assert plan(path).rows[0].runs[0].fingerprint != run.fingerprint
