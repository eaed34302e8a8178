"""A trained model as a command line names it: a config and a checkpoint, or a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.model import BaseModel

from echozoo.datasets.anatomy import STRUCTURES
from echozoo.engine import failures, run_folder
from echozoo.engine.config_file import load_config
from echozoo.errors import CheckpointError, ConfigError
from echozoo.models.checkpoints import load_published
from echozoo.registry import MODELS


@dataclass(frozen=True)
class TrainedModel:
    """A model with all of its weights, and what its config says about its input.

    Attributes:
        name: The config's name, without ``.py``.
        cfg: The config.
        checkpoint: The file that the weights are from.
        model: In evaluation mode, on the CPU.
        structures: Short names of the K structures, in their order.
        input_size: (H, W) of the network's input.
        keep_aspect: Whether images are padded to that size, instead of stretched.
    """

    name: str
    cfg: Config
    checkpoint: Path
    model: BaseModel
    structures: tuple[str, ...]
    input_size: tuple[int, int]
    keep_aspect: bool


def config_of(folder: str | Path) -> Path:
    """Find the config that a run has written into its folder.

    Args:
        folder: The run's work folder.

    Raises:
        ConfigError: There is none, or more than one.
    """
    found = sorted(Path(folder).glob("*.py"))
    if len(found) != 1:
        there = ", ".join(path.name for path in found) or "none"
        raise ConfigError(f"{folder}: found {there}, wanted one config; name the config yourself")
    return found[0]


def load_trained(config: str | Path, checkpoint: str | Path) -> TrainedModel:
    """Build a config's model and give it all the weights of a checkpoint.

    Args:
        config: A ``.py`` config.
        checkpoint: A checkpoint, published weights, or a run's folder (its best checkpoint).

    Returns:
        The model, ready to use.

    Raises:
        ConfigError: The config is wrong, or does not say the size of the input.
        CheckpointError: The checkpoint is absent, refused, or of another model.
    """
    cfg = load_config(config)
    file = Path(run_folder.checkpoint_file(checkpoint, best=True))
    with failures.one_line():
        model = MODELS.build({**cfg.model, "_scope_": "echozoo"}).eval()
    left = load_published(model, file).left
    if left:
        raise CheckpointError(
            f"{file}: has no weights for {left[0]} and {len(left) - 1} more tensors of "
            f"{config}: give the config that the checkpoint was trained with"
        )
    dataset = _dataset(cfg)
    size, keep_aspect = _resizing(dataset, str(config))
    structures = dataset.get("structures", STRUCTURES)
    structures = (structures,) if isinstance(structures, str) else tuple(structures)
    return TrainedModel(Path(config).stem, cfg, file, model, structures, size, keep_aspect)


def _dataset(cfg: Config) -> dict:
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    while dataset.get("dataset"):  # one that repeats or cuts another
        dataset = dataset["dataset"]
    return dataset


def _resizing(dataset: dict, config: str) -> tuple[tuple[int, int], bool]:
    steps = [step for step in dataset.get("pipeline") or () if step.get("type") == "ResizeClip"]
    step = steps[-1] if steps else {}
    size = step.get("size") or dataset.get("image_size")
    if not size:
        raise ConfigError(
            f"{config}: found no size of the network's input, wanted "
            "test_dataloader.dataset.image_size=(H, W)"
        )
    return (int(size[0]), int(size[1])), bool(step.get("keep_aspect"))
