"""The view head, fitted to the encoder that a training has left."""

from __future__ import annotations

import copy

import torch
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, weights_to_cpu
from torch import Tensor, nn
from torch.utils.data import DataLoader

from echozoo import run_folder
from echozoo.models.view_head import ViewHead
from echozoo.models.weight_files import load_safely
from echozoo.registry import HOOKS
from echozoo.whole_files import written_whole


@HOOKS.register_module()
class ViewHeadHook(Hook):
    """Fit the view head of the best checkpoint (else the last) when the training ends.

    The training images, without augmentation, tell what the views look like, the validation images
    how certain that is. All other checkpoints have a head that knows nothing.
    """

    priority = "VERY_LOW"

    def after_train(self, runner: Runner) -> None:
        """Fit.

        Raises:
            ConfigError: The training data lack a view.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        file = run_folder.find_checkpoint(runner.work_dir, best=True)
        checkpoint = load_safely(file)
        model.load_state_dict(checkpoint["state_dict"])
        fit_view_head(model, self._training(runner), runner.val_loop.dataloader)
        if is_main_process():
            checkpoint["state_dict"] = weights_to_cpu(model.state_dict())
            with written_whole(file) as part:
                torch.save(checkpoint, part)

    @staticmethod
    def _training(runner: Runner) -> DataLoader:
        """The training images without augmentation, prepared as those of the validation."""
        loader = copy.deepcopy(runner.cfg.train_dataloader)
        loader.dataset.pipeline = copy.deepcopy(runner.cfg.val_dataloader.dataset.pipeline)
        return runner.build_dataloader(loader, seed=runner.seed)


def fit_view_head(model: nn.Module, training: DataLoader, validation: DataLoader) -> None:
    """Fit and calibrate the view head of a segmentor, in place.

    Args:
        model: Has a `ViewHead`; comes back in evaluation mode.
        training: Loads what the head is fitted to.
        validation: Loads what it is calibrated on.
    """
    head: ViewHead = model.eval().view_head
    head.fit(*_descriptors(model, training))
    head.calibrate(*_descriptors(model, validation))


@torch.inference_mode()
def _descriptors(model: nn.Module, loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Descriptors (N, D) of all frames, on all processes, and the places (N,) of their views."""
    found = []
    for batch in loader:
        data = model.data_preprocessor(batch)
        clips = data["inputs"]  # (B, T, C, H, W)
        maps = model.encode(clips.flatten(0, 1)).maps
        places = [model.view_head.views.index(sample.view) for sample in data["data_samples"]]
        views = torch.tensor(places).repeat_interleave(clips.shape[1])
        found.append((model.view_head.describe(maps).cpu(), views))
    parts = [part for process in all_gather_object(found) for part in process]
    descriptors, views = (torch.cat(part) for part in zip(*parts, strict=True))
    return descriptors.to(clips.device), views.to(clips.device)
