"""A trained model ready for use: built from its config, its weights checked, on its device."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from echozoo import run_folder
from echozoo.datasets.anatomy import STRUCTURES, choose_structures
from echozoo.engine import failures, launch
from echozoo.engine.config_file import load_config
from echozoo.errors import CheckpointError, ConfigError
from echozoo.models.checkpoints import initialise, load_published
from echozoo.models.segmentors.predictions import to_native
from echozoo.registry import MODELS, TRANSFORMS
from echozoo.structures import EchoDataSample

# Steps of a test pipeline that belong to a data set with masks.
_NOT_FOR_FILMS = ("LoadClip", "PackClip", "PointPrompts", "BoxPrompts", "MaskPrompts")
PROMPT_KINDS = ("points", "boxes", "masks")
_MASK_LOGIT = 10.0


@dataclass(frozen=True)
class Embedding:
    """What the image encoder made of n frames, and how they became its input.

    Attributes:
        features: (n, E, h, w).
        meta: Carries ``input_size``, ``valid_size`` and ``native_size``.
    """

    features: Tensor
    meta: EchoDataSample

    def __getitem__(self, frames: slice) -> Embedding:
        """The embedding of some of the frames."""
        return Embedding(self.features[frames], self.meta)


@dataclass
class LoadedModel:
    """A model in evaluation mode, with what has to be known to give it films.

    Attributes:
        cfg: Its config.
        model: The segmentor.
        checkpoint: The file of its weights, None where it has none.
        structures: Short names of the K structures it was trained on, in the order of its labels.
        input_size: (H, W) of its input.
        keep_aspect: Whether frames are padded to that size rather than stretched.
        clip_length: Frames of a clip of a model with temporal modules, 1 for all others.
        promptable: Whether it needs prompts.
        prompts: Kinds of prompts it was trained with, of "points", "boxes", "masks".
        accepts: Kinds of prompts it understands: those, and all of SAM's where its weights
            started from SAM's, whose prompt encoder knows them.
    """

    cfg: Config
    model: nn.Module
    checkpoint: Path | None
    structures: tuple[str, ...]
    input_size: tuple[int, int]
    keep_aspect: bool
    clip_length: int
    promptable: bool
    prompts: tuple[str, ...]
    accepts: tuple[str, ...]
    amp: torch.dtype | None = None
    _transforms: tuple = ()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.data_preprocessor.device

    def prepare(
        self, frames: np.ndarray, spacing: tuple[float, float] | None = None
    ) -> tuple[Tensor, EchoDataSample]:
        """Bring native frames to the network's input, as its test pipeline does.

        Args:
            frames: (n, H0, W0) uint8.
            spacing: (dy, dx) mm; where None pixels are taken for square.

        Returns:
            inputs (1, n, 1, H, W) float32, grey values 0 to 255, not yet scaled; and a sample
            that carries ``input_size``, ``valid_size`` and ``native_size``.
        """
        results = {
            "images": frames,
            "spacing": spacing,
            "native_size": frames.shape[1:],
            "image_size": self.input_size,
            "test_mode": True,
        }
        for transform in self._transforms:
            results = transform(results)
        inputs = torch.from_numpy(results["images"].astype(np.float32))  # (n, H, W)
        meta = EchoDataSample(
            metainfo=dict(
                sequence="a film",
                spacing=spacing,
                native_size=tuple(results["native_size"]),
                input_size=tuple(results["input_size"]),
                valid_size=tuple(results["valid_size"]),
                structures=self.structures,
            )
        )
        return inputs[None, :, None], meta

    @torch.inference_mode()
    def encode(self, frames: np.ndarray, spacing: tuple[float, float] | None = None) -> Embedding:
        """Run the image encoder: the costly half, once a frame whatever is clicked on it.

        Args:
            frames: (n, H0, W0) uint8, the frames of one clip in their order.
            spacing: (dy, dx) mm, as for `prepare`.
        """
        inputs, meta = self.prepare(frames, spacing)
        with self._autocast():
            features = self.model.encode(self._scaled(inputs, meta)[0], num_frames=len(frames))
        return Embedding(features, meta)

    @torch.inference_mode()
    def decode(
        self,
        embedding: Embedding,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        masks: np.ndarray | None = None,
        structures: Sequence[str] | None = None,
    ) -> Tensor:
        """Masks for prompts in NATIVE pixels: the cheap half, once a click.

        Args:
            embedding: Of n frames.
            points: (n, K, P, 2), (x, y).
            labels: (n, K, P): 1 foreground, 0 background, -1 padding.
            boxes: (n, K, 4), (x1, y1, x2, y2).
            masks: (n, K, H0, W0) bool.
            structures: Short names of the K structures; None is all of the model's.

        Returns:
            Low-resolution logits (n, K, 4h, 4w).
        """
        features, meta = embedding.features, embedding.meta
        device = features.device
        prompts = {
            "points": None if points is None else self._to_input(points, meta).to(device),
            "labels": None if labels is None else torch.as_tensor(labels).to(device),
            "boxes": None if boxes is None else self._box_to_input(boxes, meta).to(device),
            "masks": None if masks is None else self._mask_to_input(masks, features, meta),
        }
        if structures is not None:
            prompts["structures"] = [self.structures.index(name) for name in structures]
        if boxes is None and masks is None:  # a model of boxes has its own way with clicks
            given = {key: value for key, value in prompts.items() if value is not None}
            with self._autocast():
                return self.model.decode(features, **given).float()
        with self._autocast():
            sparse, dense, features = self.model.prompt_head.embed(features, **prompts)
            dense_pe = self.model.prompt_head.dense_pe(features.shape[-2:])
            logits, _ = self.model.decoder(features, dense_pe, sparse, dense)
        return logits[:, :, 0].float()  # (n, K, 1, 4h, 4w) -> (n, K, 4h, 4w)

    def to_native(self, logits: Tensor, meta: EchoDataSample) -> Tensor:
        """Bring logits (n, K, h, w) back to the grid of the film: (n, K, H0, W0) float32."""
        return to_native(logits, meta)

    @torch.inference_mode()
    def predict(
        self,
        frames: np.ndarray,
        spacing: tuple[float, float] | None = None,
        places: Sequence[int] | None = None,
    ) -> EchoDataSample:
        """Run a model that needs no prompts on the frames of one clip.

        Args:
            frames: (n, H0, W0) uint8.
            spacing: (dy, dx) mm, as for `prepare`.
            places: The n places of the frames in the film, for smoothing over time; 0, 1, …
                where None.

        Returns:
            A sample with ``pred_masks`` (n, K, H0, W0) bool and ``pred_labels`` (n, H0, W0)
            uint8, labels counted in the order of `structures`.
        """
        inputs, meta = self.prepare(frames, spacing)
        meta.set_metainfo({"frames": tuple(range(len(frames)) if places is None else places)})
        with self._autocast():
            return self.model(self._scaled(inputs, meta), [meta], mode="predict")[0]

    def _scaled(self, inputs: Tensor, meta: EchoDataSample) -> Tensor:
        data = {"inputs": list(inputs), "data_samples": [meta]}
        return self.model.data_preprocessor(data)["inputs"]

    def _autocast(self) -> contextlib.AbstractContextManager:
        if self.amp is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.amp)

    @staticmethod
    def _to_input(points: np.ndarray, meta: EchoDataSample) -> Tensor:
        # Pixel centres are whole numbers: corners scale, centres lie half a pixel inside.
        (height, width), (native_h, native_w) = meta.valid_size, meta.native_size
        scale = torch.tensor([width / native_w, height / native_h])
        return (torch.as_tensor(points, dtype=torch.float32) + 0.5) * scale - 0.5

    def _box_to_input(self, boxes: np.ndarray, meta: EchoDataSample) -> Tensor:
        corners = np.asarray(boxes, np.float32).reshape(*np.shape(boxes)[:-1], 2, 2)
        return self._to_input(corners, meta).flatten(-2)  # (n, K, 2, 2) -> (n, K, 4)

    @staticmethod
    def _mask_to_input(masks: np.ndarray, features: Tensor, meta: EchoDataSample) -> Tensor:
        cover = torch.as_tensor(np.asarray(masks), dtype=torch.float32, device=features.device)
        cover = nn.functional.adaptive_avg_pool2d(cover, meta.valid_size)
        whole = cover.new_zeros(*cover.shape[:2], *meta.input_size)
        whole[..., : meta.valid_size[0], : meta.valid_size[1]] = cover
        size = [4 * side for side in features.shape[-2:]]
        return _MASK_LOGIT * (2 * nn.functional.adaptive_avg_pool2d(whole, size) - 1)


def load_model(
    config: str | Path,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    int8: bool = False,
    amp: str | bool | None = None,
    compile: bool = False,
) -> LoadedModel:
    """Build a model and load its weights.

    Args:
        config: A config, or a run's work folder, which holds one.
        checkpoint: Weights, or a run's work folder (its best checkpoint, else the last). None
            takes those of the work folder; for a config, the ``pretrained`` weights that it
            names, where they are the whole of the model's.
        device: "cpu", "cuda", …; None takes a GPU where there is one.
        int8: Quantise the linear layers dynamically; on the CPU only.
        amp: Run in mixed precision: "bf16" (which True means too) or "fp16" (GPU only).
        compile: Compile the image encoder with torch.compile: slow to start, then faster.

    Raises:
        ConfigError: The config or an option is wrong.
        CheckpointError: There are no weights, or they do not fit the model.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = _amp_dtype(amp, device)
    with failures.one_line():
        path, checkpoint = _resolve(Path(config).expanduser(), checkpoint)
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
    _place(loaded, device, int8, compile)
    return loaded


def _resolve(config: Path, checkpoint: str | Path | None) -> tuple[Path, Path | None]:
    if config.is_dir():
        configs = sorted(config.glob("*.py"), key=lambda p: p.stat().st_mtime)
        if not configs:
            raise ConfigError(
                f"{config}: no config in this folder; give a config or a run's folder"
            )
        checkpoint = checkpoint or config
        config = configs[-1]
    if checkpoint is None:
        return config, None
    return config, Path(run_folder.checkpoint_file(checkpoint, best=True))


def _load_weights(model: nn.Module, config: Path, checkpoint: Path | None, pretrained: Any) -> None:
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
    temporal = (cfg.model.get("backbone") or {}).get("temporal")
    head = getattr(model, "prompt_head", None)
    prompts = tuple(getattr(head, "prompts", ()))
    return LoadedModel(
        cfg=cfg,
        model=model,
        checkpoint=checkpoint,
        structures=tuple(part.short for part in choose_structures(named)),
        input_size=(int(size[0]), int(size[1])),
        keep_aspect=bool(resize.get("keep_aspect", False)),
        clip_length=int(dataset.get("clip_length") or 8) if temporal else 1,
        promptable=bool(prompts),
        prompts=prompts,
        accepts=PROMPT_KINDS if prompts and pretrained else prompts,
        _transforms=tuple(TRANSFORMS.build(step) for step in steps),
    )


def _amp_dtype(amp: str | bool | None, device: torch.device) -> torch.dtype | None:
    if not amp:
        return None
    if amp == "fp16" and device.type == "cpu":
        raise ConfigError("amp=fp16 needs a GPU; bf16 runs on the CPU")
    dtypes = {True: torch.bfloat16, "bf16": torch.bfloat16, "fp16": torch.float16}
    if amp not in dtypes:
        raise ConfigError(f"amp={amp!r}: wanted bf16 or fp16")
    return dtypes[amp]


def _place(loaded: LoadedModel, device: torch.device, int8: bool, compile: bool) -> None:
    if int8 and device.type != "cpu":
        raise ConfigError(f"int8 on {device}: dynamic quantisation runs on the CPU; device=cpu")
    if int8 and compile:
        raise ConfigError("int8 and compile: choose one of the two")
    try:
        loaded.model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {device}: {str(error).splitlines()[0]}") from error
    if int8:
        _quantise(loaded.model)
    if compile and loaded.promptable:
        loaded.model.backbone.compile()
    elif compile:
        loaded.model.compile()


def _quantise(model: nn.Module) -> None:
    """Replace linear layers by dynamically quantised ones, in place.

    Only whole calls can be replaced: a layer whose weight its parent reads stays as it is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces its successor with every call
        try:
            from torch.ao.quantization import quantize_dynamic
        except ImportError as error:
            raise ConfigError("int8: this version of torch has no dynamic quantisation") from error
        quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8, inplace=True)
