"""From a config and weights to a `LoadedModel`: built, its weights checked, on its device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from echozoo import hub, run_folder, weights, zoo
from echozoo.apis.execution import check_execution, place
from echozoo.apis.model import LoadedModel
from echozoo.datasets.anatomy import STRUCTURES, choose_structures
from echozoo.errors import CheckpointError, ConfigError
from echozoo.registry import MODELS, TRANSFORMS

# Steps of a test pipeline that belong to a data set with masks.
_NOT_FOR_FILMS = (
    *("LoadClip", "CutToSector", "PackClip"),
    *("PointPrompts", "BoxPrompts", "MaskPrompts"),
)
PROMPT_KINDS = ("points", "boxes", "masks")


def load_model(
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    int8: bool = False,
    amp: str | bool | None = None,
    compile: bool = False,
    fast_cpu: bool = True,
) -> LoadedModel:
    """Build a model and load its weights.

    Args:
        config: A config; a run's work folder, which holds one; a file of `echozoo publish`; or the
            name of a model of the zoo: with the weights that come with it, else its config; or
            ``hub:USER/NAME`` (see `echozoo.hub`). None takes `echozoo.weights.DEFAULT`.
        checkpoint: Weights, or a run's work folder (its best checkpoint, else the last). None
            takes those of the work folder; for a config, the ``pretrained`` weights that it
            names, where they are the whole of the model's.
        device: "cpu", "cuda", …; None takes a GPU where there is one.
        int8: Quantise the linear layers of the image encoder dynamically; on the CPU only.
        amp: Run in mixed precision: "bf16" (which True means too) or "fp16" (GPU only).
        compile: Compile the image encoder with torch.compile: slow to start. On the
            CPU it needs a C++ compiler.
        fast_cpu: On a CPU, compute layers in its own way (see `echozoo.models.passes.fast_cpu`).

    Raises:
        ConfigError: The config or an option is wrong.
        CheckpointError: There are no weights, or they do not fit the model.
    """
    # What builds a model brings mmengine's runner and mmseg, three seconds' worth: films can be
    # opened, and options refused, without them.
    from echozoo.engine import failures, launch
    from echozoo.engine.config_file import load_config

    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = check_execution(device, int8, amp, compile)
    with failures.one_line():
        path, checkpoint = _resolve(config, checkpoint)
        cfg = load_config(path)
        pretrained = (cfg.get("model") or {}).get("pretrained")
        launch.forget_pretrained(cfg)
        init_default_scope(cfg.get("default_scope", "echozoo"))
        model = MODELS.build(cfg.model)
        if not hasattr(model, "data_preprocessor"):
            raise ConfigError(f"{path}: {type(model).__name__} is no segmentor of echozoo")
        _load_weights(model, path, checkpoint, pretrained)
        loaded = _describe(cfg, model.eval(), checkpoint, pretrained)
    loaded.amp = dtype
    loaded.precision = "int8" if int8 else "bf16" if amp is True else amp or "float32"
    place(loaded.model, device, int8, compile, temporal=loaded.clip_length > 1, fast_cpu=fast_cpu)
    return loaded


def _resolve(config: str | Path | None, checkpoint: str | Path | None) -> tuple[Path, Path | None]:
    config = weights.DEFAULT if config is None else config
    config = hub.pull(str(config)) if hub.is_on_hub(config) else weights.find(config) or config
    config = Path(config).expanduser()
    if not config.exists():
        config = zoo.find_config(config) or config
    if config.suffix == ".safetensors":
        return config, config if checkpoint is None else Path(checkpoint)
    if config.is_dir():
        checkpoint = checkpoint or config
        config = run_folder.find_config(config)
    if checkpoint is None:
        return config, None
    return config, Path(run_folder.checkpoint_file(checkpoint, best=True))


def _load_weights(model: nn.Module, config: Path, checkpoint: Path | None, pretrained: Any) -> None:
    from echozoo.models.checkpoints import initialise, load_published

    if checkpoint is None:
        if not pretrained:
            raise CheckpointError(f"{config}: no weights: give a checkpoint or a run's work folder")
        report = initialise(model, pretrained)
    else:
        report = load_published(model, checkpoint)
    if report.left:
        parts = sorted({".".join(key.split(".")[:2]) for key in report.left})
        raise CheckpointError(
            f"{report.source}: has no weights for {len(report.left)} tensors of"
            f" {type(model).__name__} ({', '.join(parts[:4])}): give a checkpoint of {config.name}"
        )


def _describe(
    cfg: Config, model: nn.Module, checkpoint: Path | None, pretrained: Any
) -> LoadedModel:
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    steps = [
        dict(step) for step in dataset.get("pipeline") or [] if step["type"] not in _NOT_FOR_FILMS
    ]
    resize = next((step for step in steps if step["type"] == "ResizeClip"), None)
    size = (resize or {}).get("size") or dataset.get("image_size")
    if resize is None or not size:
        raise ConfigError(
            f"{cfg.filename}: no ResizeClip with a size in test_dataloader.dataset, which says"
            " how big the network's input is"
        )
    named = dataset.get("structures") or STRUCTURES
    named = (named,) if isinstance(named, str) else named  # as --cfg-options gives a single one
    head = getattr(model, "prompt_head", None)
    # A memory without a head of prompts starts from masks that are given, or takes them.
    alone = ("masks",) if head is None and hasattr(model, "memory") else ()
    wanted = tuple(getattr(head, "kinds", alone if getattr(model, "prompted", ()) else ()))
    prompts = wanted or tuple(getattr(head, "corrections", alone))
    return LoadedModel(
        cfg=cfg,
        model=model,
        checkpoint=checkpoint,
        structures=tuple(part.short for part in choose_structures(named)),
        input_size=(int(size[0]), int(size[1])),
        keep_aspect=bool(resize.get("keep_aspect", False)),
        clip_length=int(dataset.get("clip_length") or 8) if model.sees == "clip" else 1,
        window=dataset.get("clip_length", 8),
        automatic=not wanted,
        prompts=prompts,
        understands=PROMPT_KINDS if wanted and pretrained else prompts,
        _transforms=tuple(TRANSFORMS.build(step) for step in steps),
    )
