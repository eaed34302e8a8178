from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from echozoo.engine.provenance import machine
from echozoo.errors import DataError
from echozoo.tables.definition import read_definition
from echozoo.tables.planning import plan_table
from echozoo.tables.record import new_record, read_record
from echozoo.tables.runs import Run, Settings
from echozoo.zoo import CONFIGS


@pytest.fixture
def run(write_definition, tmp_path: Path) -> Run:
    rows = [
        {"name": "auto", "config": "autosamus.py", "starts_from": "timely"},
        {"name": "timely", "config": "samus_tra.py"},
    ]
    definition = read_definition(write_definition(rows=rows, baseline=None))
    settings = Settings(tmp_path / "runs", "phantom", None, (3,), {"image_size": (64, 64)})
    return plan_table(definition, settings).rows[0].runs[0]


def test_parameters_are_counted_without_memory(run: Run) -> None:
    # SAMUS, TRA in its four global blocks, and the prompt generator that alone trains.
    tra = new_record(run.starts_from)
    assert (tra.parameters, tra.trainable) == (
        133_323_568 + 4 * 791_296,
        39_653_120 + 4 * 791_296,
    )
    auto = new_record(run)
    assert (auto.parameters, auto.trainable) == (133_323_568 + 7_835_264, 7_835_264)


def test_a_config_of_the_zoo_is_shown_by_its_name(run: Run, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    record = new_record(replace(run, config=CONFIGS / "unet.py", starts_from=None))
    assert record.config == "unet"
    assert record.train_command.startswith("python tools/train.py unet --dataset")


def test_commands_name_no_folder_of_this_machine(run: Run, tmp_path: Path) -> None:
    record = new_record(run)
    shown = record.train_command.replace(str(run.config), "autosamus.py")
    assert shown == (
        "python tools/train.py autosamus.py --dataset split=files 'image_size=(64,64)' "
        "--cfg-options model.pretrained.path="
        f"{run.starts_from.name} --seed 3 --data-root PATH --work-dir RUN"
    )
    assert str(tmp_path / "runs") not in record.train_command + record.test_command
    assert record.test_command.startswith(f"python tools/test.py {run.config} RUN --dataset")
    several = new_record(run, processes=4)
    assert several.train_command.startswith(f"tools/dist_train.sh {run.config} 4 --dataset")
    assert several.test_command.startswith(f"tools/dist_test.sh {run.config} RUN 4 --dataset")
    weights = new_record(replace(run, weights="checkpoints/sam.pth"))
    assert weights.train_command is None
    assert weights.test_command.startswith(f"python tools/test.py {run.config} checkpoints/sam.pth")


def test_what_is_saved_is_read(run: Run) -> None:
    assert read_record(run.folder) is None
    record = new_record(run)
    record.train_seconds, record.hardware = 12.5, machine()
    record.save(run.folder)
    assert read_record(run.folder) == record
    assert record.hardware
    assert record.starts_from == run.starts_from.name
    path = run.folder / "run.json"
    path.write_text(path.read_text().replace('"amp"', '"amperes"'))
    with pytest.raises(DataError, match="unknown keys amperes: written by another version"):
        read_record(run.folder)
