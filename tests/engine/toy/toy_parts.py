"""A network, data and a metric that train in a moment: a user's own file, outside echozoo."""

from __future__ import annotations

import os
import signal

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from echozoo.errors import DataError
from echozoo.registry import DATASETS, METRICS, MODELS


@MODELS.register_module()
class ToyModel(BaseModel):
    def __init__(self, width: int = 4, dropout: float = 0.0, pretrained: str | None = None):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, width), nn.Tanh())
        self.backbone.requires_grad_(False)
        self.decoder = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 1))
        self.pretrained = pretrained

    def init_weights(self):
        super().init_weights()
        if self.pretrained:
            torch.load(self.pretrained)

    def forward(self, inputs, labels, mode="tensor"):
        outputs = self.decoder(self.backbone(torch.stack(inputs)))[:, 0]
        labels = torch.stack(labels)
        if mode == "loss":
            return {"loss": (outputs - labels).square().mean()}
        return [{"error": float(e)} for e in (outputs - labels).abs()]


@DATASETS.register_module()
class ToyData(Dataset):
    """Eight random samples; sample ``bad`` cannot be read, sample ``deadly`` kills its reader."""

    def __init__(
        self,
        data_root: str | None = None,
        split: str = "files",
        bad: int = -1,
        deadly: int = -1,
        deadly_epoch: int = -1,
    ):
        self.data_root, self.split = data_root, split
        self.bad, self.deadly, self.deadly_epoch = bad, deadly, deadly_epoch
        self.state = torch.zeros(2, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int, seed: int) -> None:
        self.state[0], self.state[1] = epoch, seed

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        epoch, seed = self.state.tolist()
        if index == self.bad:
            raise DataError(f"{self.data_root}/sample{index}: broken, wanted whole: replace it")
        if index == self.deadly and epoch == self.deadly_epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        values = np.random.default_rng([seed, epoch, index]).normal(size=3)
        values = torch.from_numpy(values).float()
        return {"inputs": values[:2], "labels": values[2]}


@METRICS.register_module()
class ToyMetric(BaseMetric):
    default_prefix = "toy"

    def __init__(self, out_dir: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.out_dir = out_dir

    def process(self, data_batch, data_samples) -> None:
        self.results.extend(sample["error"] for sample in data_samples)

    def compute_metrics(self, results) -> dict:
        if self.out_dir:
            with open(f"{self.out_dir}/toy.csv", "w") as file:
                file.writelines(f"{value}\n" for value in results)
        return {"error": float(np.mean(results)), "cases": len(results)}
