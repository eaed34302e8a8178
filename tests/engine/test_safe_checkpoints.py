import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from torch import nn

from echozoo.engine import safe_checkpoints
from echozoo.errors import CheckpointError


class Hostile:
    """Makes a folder when it is unpickled: the trace that its code ran."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        output = self.linear(torch.stack(inputs))
        return {"loss": output.square().mean()} if mode == "loss" else output


def runner_of(folder, **settings):
    data = [{"inputs": torch.tensor([float(i)])} for i in range(4)]
    return Runner(
        model=Toy(),
        work_dir=str(folder),
        train_dataloader={
            "dataset": data,
            "sampler": {"type": "DefaultSampler"},
            "batch_size": 2,
            "collate_fn": {"type": "pseudo_collate"},
        },
        train_cfg={"by_epoch": True, "max_epochs": 2},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        default_scope="echozoo",
        experiment_name=f"{folder.parent.name}-{folder.name}",
        **settings,
    )


def hostile_file(folder):
    path, marker = folder / "hostile.pth", folder / "marker"
    state = Toy().state_dict()
    torch.save({"state_dict": state, "meta": {"epoch": 1, "iter": 2, "x": Hostile(marker)}}, path)
    return path, marker


@pytest.mark.parametrize("resume", [True, False])
def test_hostile_checkpoint_is_refused_by_the_runner(tmp_path, resume):
    path, marker = hostile_file(tmp_path)
    runner = runner_of(tmp_path, load_from=str(path), resume=resume)
    with pytest.raises(CheckpointError, match=r"hostile.pth: refused: it would run code \(.*mkdir"):
        runner.train()
    assert not marker.exists()


def test_hostile_last_checkpoint_is_refused(tmp_path):
    path, marker = hostile_file(tmp_path)
    (tmp_path / "last_checkpoint").write_text(str(path))
    with pytest.raises(CheckpointError, match="refused"):
        runner_of(tmp_path, resume=True).train()
    assert not marker.exists()


def test_hostile_pretrained_weights_of_a_part_are_refused(tmp_path):
    path, marker = hostile_file(tmp_path)
    model = Toy()
    model.init_cfg = {"type": "Pretrained", "checkpoint": str(path)}
    with pytest.raises(CheckpointError, match="refused"):
        model.init_weights()
    with pytest.raises(CheckpointError, match="refused"):
        load_checkpoint(Toy(), str(path))
    assert not marker.exists()


def test_config_text_in_a_checkpoint_is_not_run(tmp_path):
    path, marker = tmp_path / "texts.pth", tmp_path / "marker"
    text = f"import os\nos.mkdir({str(marker)!r})\n"
    torch.save(
        {
            "state_dict": Toy().state_dict(),
            "meta": {"epoch": 1, "iter": 2, "config": text},
            "message_hub": {
                "log_scalars": {},
                "runtime_info": {"cfg": text, "epoch": 1},
                "resumed_keys": {"cfg": True, "epoch": True},
            },
        },
        path,
    )
    checkpoint = CheckpointLoader.load_checkpoint(str(path))
    assert checkpoint["meta"] == {"epoch": 1, "iter": 2}
    assert checkpoint["message_hub"]["runtime_info"] == {"epoch": 1}
    runner_of(tmp_path, load_from=str(path), resume=True).train()
    assert not marker.exists()


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/w.pth",
        "http://example.org/w.pth",
        "torchvision://resnet50",
        "modelzoo://resnet50",
        "open-mmlab://resnet50",
        "openmmlab://resnet50",
        "mmcls://resnet50",
        "pavi://w",
        "s3://bucket/w.pth",
        "petrel://bucket/w.pth",
        "disk:s3://bucket/w.pth",
    ],
)
def test_addresses_are_refused(address):
    with pytest.raises(CheckpointError, match="download it first"):
        CheckpointLoader.load_checkpoint(address)


def test_every_scheme_of_mmengine_is_replaced():
    ours = {safe_checkpoints.load_from_file, safe_checkpoints.load_from_elsewhere}
    assert set(CheckpointLoader._schemes.values()) == ours


def test_absent_file_and_list(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "absent.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds list, wanted a dictionary"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "list.pth"))


def test_in_force_in_a_process_that_only_makes_a_runner(tmp_path):
    # A process of its own: this one has imported the module by name.
    code = f"""
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner
class Toy(BaseModel):
    def forward(self, *args, **settings): pass
Runner(model=Toy(), work_dir={str(tmp_path)!r}, default_scope="echozoo")
print(CheckpointLoader._get_checkpoint_loader("w.pth").__module__)
"""
    root = Path(safe_checkpoints.__file__).parents[2]
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=300)
    assert ran.stdout.splitlines()[-1] == "echozoo.engine.safe_checkpoints"
