from __future__ import annotations

import os

import pytest
import torch

from echozoo.errors import ConfigError
from echozoo.run_folder import find_checkpoint, find_config, find_whole_checkpoint


def checkpoint(path, score=None, rule="greater", **meta):
    info = {} if score is None else {"best_score": score}
    meta |= {} if score is None else {"save_best": [["camus/dice", rule]]}
    torch.save({"meta": meta, "message_hub": {"runtime_info": info}, "state_dict": {}}, path)
    return path


@pytest.mark.parametrize(("rule", "best"), [("greater", 0.9), ("less", 0.2)])
def test_the_best_is_known_by_its_metric(tmp_path, rule, best):
    for epoch, score in ((2, 0.2), (5, 0.9), (12, 0.5)):
        path = checkpoint(tmp_path / f"best_camus_dice_epoch_{epoch}.pth", score, rule)
        os.utime(path, (10 + epoch, 10 + epoch))
    damaged = tmp_path / "best_camus_dice_epoch_40.pth"
    damaged.write_bytes(path.read_bytes()[:300])
    found = find_checkpoint(tmp_path, best=True)
    content = torch.load(found, weights_only=True)
    assert content["message_hub"]["runtime_info"]["best_score"] == best


def test_of_several_metrics_the_first_decides(tmp_path):
    meta = {"save_best": [["camus/dice", "greater"], ["camus/hd_mm", "less"]]}
    for name, dice in (("camus_dice_epoch_3", 0.8), ("camus_hd_mm_epoch_4", 0.9)):
        info = {"best_score_camus/dice": dice, "best_score_camus/hd_mm": 4.0}
        content = {"meta": meta, "message_hub": {"runtime_info": info}}
        torch.save(content, tmp_path / f"best_{name}.pth")
    assert find_checkpoint(tmp_path, best=True).name == "best_camus_dice_epoch_3.pth"


def test_the_newest_whole_checkpoint(tmp_path):
    assert find_whole_checkpoint(tmp_path) == (None, [])
    for epoch in (8, 9, 10, 11):
        checkpoint(tmp_path / f"epoch_{epoch}.pth")
    (tmp_path / "last_checkpoint").write_text("/elsewhere/epoch_11.pth")
    assert find_whole_checkpoint(tmp_path) == (tmp_path / "epoch_11.pth", [])

    whole = (tmp_path / "epoch_11.pth").read_bytes()
    (tmp_path / "epoch_11.pth").write_bytes(whole[:-100])
    flipped = bytearray(whole)
    flipped[whole.index(b"message_hub")] ^= 1
    (tmp_path / "epoch_10.pth").write_bytes(flipped)
    found, damaged = find_whole_checkpoint(tmp_path)
    assert found == tmp_path / "epoch_9.pth"
    assert [line.split(": damaged: ")[0] for line in damaged] == [
        str(tmp_path / f"epoch_{epoch}.pth") for epoch in (11, 10)
    ]


def test_the_config_is_taken_by_its_name(tmp_path):
    for name in ("unet.py", "zz_newest.py"):
        (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match="does not say which of unet.py, zz_newest.py"):
        find_config(tmp_path)
    checkpoint(tmp_path / "epoch_1.pth", config_file="unet.py")
    assert find_config(tmp_path) == tmp_path / "unet.py"
    checkpoint(tmp_path / "epoch_1.pth", experiment_name="unet-4711-0")  # an earlier version's
    assert find_config(tmp_path) == tmp_path / "unet.py"
    checkpoint(tmp_path / "epoch_1.pth", config_file="gone.py")
    with pytest.raises(ConfigError, match=r"no config gone\.py in this folder; give a config"):
        find_config(tmp_path)


def test_a_folder_without_a_config(tmp_path):
    with pytest.raises(ConfigError, match="no config in this folder; give a config or a run's"):
        find_config(tmp_path)
