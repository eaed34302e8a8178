"""ONNX files of a trained model, each compared with torch before it is kept."""

from __future__ import annotations

import contextlib
import importlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

import echozoo
from echozoo.apis.model import LoadedModel
from echozoo.errors import ConfigError, EchoZooError
from echozoo.export.networks import Decoder, Encoder, WholeModel, takes_prompts
from echozoo.export.onnx_check import Comparison, compare
from echozoo.models.passes.adapting import merge_adapters

MAX_ERROR = 1e-3
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# Numbers of frames, structures and points that a file is compared on; traced with the last.
TRIALS = ((1, 1, 1), (2, 3, 1), (3, 2, 4))

_SCALING = "grey values 0..255 go in; the scaling of the training is inside"
_VALID_SIZE = "(h, w) of the top left part of the input that holds image; the rest is padding"
_NAMED = "input structures of the decoder: which structure each of the K prompts is for, from 0"
_POINTS = (
    "(x, y) in pixels of the input; labels: 1 foreground, 0 background, -1 padding, "
    "2 and 3 upper left and lower right corner of a box (all structures have one, or none has)"
)


@dataclass(frozen=True)
class Network:
    """A network to write into one file.

    Attributes:
        file_name: Of the ONNX file.
        module: What it holds.
        inputs: Names of its inputs, with the names of their dynamic axes.
        outputs: Names of its outputs.
        trials: Inputs to compare on, each as many tensors as names.
    """

    file_name: str
    module: nn.Module
    inputs: dict[str, tuple[str, ...]]
    outputs: tuple[str, ...]
    trials: tuple[tuple[Tensor, ...], ...]


def check_installed() -> None:
    """Raise a `ConfigError` of one line where a package that the export needs is absent."""
    for package in PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ConfigError(
                f"the export to ONNX needs the package {package}: pip install 'echozoo[export]'"
            ) from error


def export_onnx(loaded: LoadedModel, folder: str | Path) -> list[Comparison]:
    """Write ``encoder.onnx`` and ``decoder.onnx``, or ``model.onnx`` where there are no prompts.

    ``encoder.onnx`` maps images (N, 1, H, W), grey values in [0, 255], to an embedding, and
    ``decoder.onnx`` embedding, points (N, K, P, 2) and labels (N, K, P) to logits and masks;
    ``model.onnx`` maps images to logits and masks. N, K and P are free, H and W are those of the
    config. A model with temporal modules takes the N frames as one clip, any other takes them
    singly; each file says so, and more, in its metadata. Where the training stretched each frame
    from its darkest to its brightest pixel there is one more input, ``valid_size`` (2,): the part
    (h, w) of the input that is no padding. Where prompts name their structure, the decoder has the
    input ``structures`` (K,), counted from 0.

    Args:
        loaded: The model, on the CPU.
        folder: Where the files go; made where it does not exist. Files of these names are
            replaced, and only after they have been compared.

    Returns:
        A comparison with torch for each file.

    Raises:
        ConfigError: A package is absent, or the folder cannot be written.
        EchoZooError: A file does not give what torch gives.
    """
    check_installed()
    merge_adapters(loaded.model)
    folder = Path(folder)
    metadata = describe(loaded)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            compared = [_write(net, Path(draft), metadata) for net in networks(loaded)]
            files = sorted(Path(draft).iterdir())
            for file in files:
                file.replace(folder / file.name)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write there ({error.strerror})") from error
    return compared


def networks(loaded: LoadedModel) -> list[Network]:
    """Cut a model into the networks of its files, with inputs to try them on."""
    model, size = loaded.model, loaded.input_size
    images = [grey_frames(frames, size) for frames, _, _ in TRIALS]
    axes, trials = {"images": ("N",)}, tuple((frames,) for frames in images)
    if model.data_preprocessor.minmax:
        axes |= {"valid_size": ()}
        valid = torch.tensor([size[0], size[1] // 2 + 1])
        trials = tuple((frames, valid) for frames in images)
    if not takes_prompts(model):
        whole = WholeModel(model, size).eval()
        outputs = ("logits", "masks")
        return [Network("model.onnx", whole, axes, outputs, trials)]
    encoder = Encoder(model).eval()
    with torch.no_grad():
        embeddings = [encoder(*inputs) for inputs in trials]
    decoder = Decoder(model, size, embeddings[0].shape[-2:]).eval()
    named = model.prompt_head.names is not None
    prompted = tuple(
        (embedding, *prompts(trial, size, box, named))
        for embedding, trial in zip(embeddings, TRIALS, strict=True)
        for box in (True, False)
    )
    _check_prompts(model, decoder, prompted[1])
    prompt_axes = {"embedding": ("N",), "points": ("N", "K", "P"), "labels": ("N", "K", "P")}
    if named:
        prompt_axes |= {"structures": ("K",)}
    return [
        Network("encoder.onnx", encoder, axes, ("embedding",), trials),
        Network("decoder.onnx", decoder, prompt_axes, ("logits", "masks"), prompted),
    ]


def _check_prompts(model: BaseModel, decoder: Decoder, inputs: Sequence[Tensor]) -> None:
    embedding, points, labels, *structures = inputs
    with torch.no_grad():
        named = structures[0].tolist() if structures else None
        expected = model.decode(embedding, points, labels, named)
        found = decoder(*inputs)[0]
    if not (found - expected).abs().max() < MAX_ERROR * expected.abs().max():
        raise ConfigError(
            f"{type(model.prompt_head).__name__}: does more with points than ManualPromptHead, "
            "which is all that the export to ONNX knows"
        )


def grey_frames(number: int, size: Sequence[int]) -> Tensor:
    """Make smooth blobs with speckle, (number, 1, H, W) in [0, 255], the same at every call."""
    generator = torch.Generator().manual_seed(number)
    coarse = torch.rand(number, 1, 8, 8, generator=generator)
    blobs = nn.functional.interpolate(coarse, tuple(size), mode="bilinear", align_corners=False)
    speckle = torch.rand(number, 1, *size, generator=generator)
    return (255 * blobs * (0.5 + 0.5 * speckle)).round()


def prompts(
    trial: Sequence[int], size: Sequence[int], box: bool, named: bool = False
) -> tuple[Tensor, ...]:
    """Make points and labels of one trial, the same at every call.

    Args:
        trial: Frames N, structures K and points P.
        size: (H, W) that they lie in.
        box: Whether the first two points are a box's corners (P is then at least 2).
        named: Whether prompts name their structure.

    Returns:
        Points (N, K, P, 2), labels (N, K, P) of clicks and padding and, where prompts name their
        structure, these structures (K,).
    """
    frames, structures, number = trial
    number = max(number, 2) if box else number
    generator = torch.Generator().manual_seed(number)
    shape = (frames, structures, number)
    points = torch.rand(*shape, 2, generator=generator) * torch.tensor([size[1], size[0]])
    labels = torch.randint(-1, 2, shape, generator=generator)
    labels[..., 0] = 1
    if box:
        points[..., :2, :] = points[..., :2, :].sort(dim=-2).values
        labels[..., :2] = torch.tensor([2, 3])
    if named:
        return points, labels, torch.arange(structures).flip(0)
    return points, labels


def describe(loaded: LoadedModel) -> dict[str, str]:
    """Say in an ONNX file's metadata what a program needs to know to use the file."""
    clips = loaded.model.sees == "clip"
    padded = "resized to fit and padded with zeros at the bottom or right"
    description = {
        "config": Path(loaded.cfg.filename).stem,
        "version": echozoo.__version__,
        "input_size": "{} {}".format(*loaded.input_size),
        "resizing": padded if loaded.keep_aspect else "stretched to the input's size",
        "scaling": _SCALING,
        "structures": " ".join(loaded.structures),
        "frames": "the N frames of one clip, in order" if clips else "N frames, each by itself",
        "purpose": "research; not for diagnosis",
    }
    if loaded.model.data_preprocessor.minmax:
        description["valid_size"] = _VALID_SIZE
    if takes_prompts(loaded.model):
        description["prompts"] = " ".join(loaded.prompts)
        description["points"] = _POINTS
        if loaded.model.prompt_head.names is not None:
            description["named"] = _NAMED
    return {f"echozoo.{key}": value for key, value in description.items()}


def _write(network: Network, folder: Path, metadata: dict[str, str]) -> Comparison:
    file = folder / network.file_name
    program = _trace(network)
    _strip(program.model)
    program.model.producer_name = "echozoo"
    program.model.producer_version = echozoo.__version__
    program.model.metadata_props.update(metadata)
    program.save(file)
    comparison = compare(file, network.module, list(network.inputs), network.trials)
    if not comparison.max_error < MAX_ERROR:
        raise EchoZooError(
            f"{network.file_name}: found an error of {comparison.max_error:.1e} against torch, "
            f"wanted less than {MAX_ERROR:.0e}; the file is not kept"
        )
    return comparison


def _trace(network: Network) -> Any:
    axes = [
        {place: torch.export.Dim(name) for place, name in enumerate(names)}
        for names in network.inputs.values()
    ]
    with _quiet(), torch.no_grad():
        return torch.onnx.export(
            network.module,
            network.trials[-1],
            dynamo=True,
            input_names=list(network.inputs),
            output_names=list(network.outputs),
            dynamic_shapes=axes,
            verbose=False,
        )


def _strip(model: Any) -> None:
    """Drop what torch notes about each node: source lines, with this machine's paths in them."""
    model.metadata_props.clear()
    for graph in model.graphs():
        graph.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's remarks about its own tracing from the screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
