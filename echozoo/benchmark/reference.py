"""The other side: the published SAMUS from a checkout, or SAM's encoder from segment-anything.

Nothing of a checkout is copied: its code is imported under a name of its own, so that its packages
(``models``) meet nobody else's, and built with the sizes of the config's model.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from echozoo.benchmark.inputs import Batch, num_structures
from echozoo.benchmark.setting import Setting
from echozoo.errors import ConfigError
from echozoo.registry import MODELS

SEGMENT_ANYTHING = "segment-anything"
_PACKAGE = Path("models") / "segment_anything_samus"
_NAME = "_published_samus"
# Named in stray imports of the published files and never called: editors leave such lines.
_NEVER_CALLED = {"tkinter": "X", "turtle": "shape", "einops": "rearrange"}


@dataclass(frozen=True)
class Reference:
    """How to build and run what this project is compared with.

    Attributes:
        name: In tables.
        build: From the config's model (or its outline) to a network of the same sizes.
        forward: Network and batch to what the forward pass returns.
        prefix: What its keys lack of the published ones.
        parts: The parts of the config's model that its weights are for; None is all.
    """

    name: str
    build: Callable[[nn.Module], nn.Module]
    forward: Callable[[nn.Module, Batch], Tensor]
    prefix: str = ""
    parts: tuple[str, ...] | None = None


def find_reference(setting: Setting) -> Reference | None:
    """Find what the setting compares with.

    Args:
        setting: ``against`` is a folder with a checkout of the published SAMUS,
            "segment-anything" for the installed package, or None.

    Raises:
        ConfigError: There is no such code, or it has no such part.
    """
    if setting.against is None:
        return None
    if setting.against == SEGMENT_ANYTHING:
        if setting.part != "forward" or not setting.encoder_only:
            raise ConfigError(
                "--against segment-anything: it is compared in the forward pass of the image "
                "encoder alone; give a checkout of the published SAMUS to compare the rest"
            )
        return Reference(
            SEGMENT_ANYTHING, _build_sam_encoder, _encode_sam, "image_encoder.", ("backbone",)
        )
    folder = Path(setting.against).expanduser()
    _package_of(folder)
    forward = _encode_samus if setting.encoder_only else _decode_samus
    return Reference(f"published ({folder.name})", partial(_build_samus, folder), forward)


def random_weights(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Draw weights that keep a deep network in range and leave no table at its initial zeros.

    Args:
        network: It may be on the meta device: names and shapes are all that counts.
        seed: Same seed, same weights.

    Returns:
        Normal numbers by key: scales of norms around 1, matrices by their fan-in, biases small,
        the frequencies of SAM's position encoding as they are.
    """
    draw = torch.Generator().manual_seed(seed)
    weights = {}
    for key, old in network.state_dict().items():
        values = torch.randn(old.shape, generator=draw)
        if "positional_encoding" not in key:
            if old.ndim > 1:
                values *= 0.5 / old[0].numel() ** 0.5
            elif key.endswith("weight"):
                values = 1 + 0.1 * values
            else:
                values *= 0.02
        weights[key] = values
    return weights


def training_run(
    reference: Reference, network: nn.Module, batch: Batch, setting: Setting
) -> Callable[[], Tensor]:
    """A function that trains one step as the published code does: with Adam, in float32.

    Args:
        reference: How the network is run.
        network: What its own code leaves trainable is trained.
        batch: Its inputs, the same in every step.
        setting: Its config names loss and learning rate.

    Returns:
        It returns the loss before the step.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=setting.cfg.optim_wrapper.optimizer.lr)
    loss_function = MODELS.build(setting.cfg.model.loss).to(setting.device)
    labels = torch.cat([sample.gt_labels for sample in batch.samples])[:, None]  # N, 1, H, W

    def run() -> Tensor:
        logits = reference.forward(network, batch)  # N, 1, h, w
        small = nn.functional.interpolate(labels, logits.shape[-2:], mode="nearest-exact")
        losses = loss_function(logits, (small == 1).float())
        loss = sum(losses.values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return run


def _build_sam_encoder(model: nn.Module) -> nn.Module:
    from segment_anything.modeling import ImageEncoderViT

    backbone = model.backbone
    return ImageEncoderViT(
        img_size=backbone.grid_size * backbone.patch_size,
        patch_size=backbone.patch_size,
        embed_dim=backbone.embed_dims,
        depth=len(backbone.blocks),
        num_heads=backbone.num_heads,
        out_chans=backbone.neck[0].out_channels,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=backbone.use_rel_pos,
        window_size=backbone.window_size,
        global_attn_indexes=backbone.global_attn_indexes,
    )


def _encode_sam(network: nn.Module, batch: Batch) -> Tensor:
    return network(batch.images.expand(-1, 3, -1, -1))


def _build_samus(folder: Path, model: nn.Module) -> nn.Module:
    if num_structures(model) > 1:
        raise ConfigError(
            f"--against: the published SAMUS takes one click an image, the config's model "
            f"{num_structures(model)}, one a structure; leave --scale out or set "
            "--cfg-options model.prompt_head.num_structures=0"
        )
    backbone = model.backbone
    size = types.SimpleNamespace(encoder_input_size=backbone.grid_size * backbone.patch_stride)
    return load_published_code(folder)._build_samus(
        size,
        encoder_embed_dim=backbone.embed_dims,
        encoder_depth=len(backbone.blocks),
        encoder_num_heads=backbone.num_heads,
        encoder_global_attn_indexes=list(backbone.global_attn_indexes),
    )


def _encode_samus(network: nn.Module, batch: Batch) -> Tensor:
    return network.image_encoder(batch.images)


def _decode_samus(network: nn.Module, batch: Batch) -> Tensor:
    click = batch.points[:, 0], batch.point_labels[:, 0]  # N, 1, 2 and N, 1
    return network(batch.images, click)["low_res_logits"]


def load_published_code(folder: Path) -> types.ModuleType:
    """Import the published SAMUS's builders from a checkout.

    Args:
        folder: The checkout; its package is imported under a name that nobody else has, and what
            the import leaves in ``sys.modules`` is under that name.

    Returns:
        Its module ``build_sam_us``.

    Raises:
        ConfigError: The folder is no checkout of it, or its code wants a package that is absent.
    """
    package = _package_of(folder)
    _forget(_NAME)
    spec = importlib.util.spec_from_file_location(
        _NAME, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    stand_ins = _stand_ins()
    sys.modules.update(stand_ins)
    sys.modules[_NAME] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return importlib.import_module(f"{_NAME}.build_sam_us")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--against {folder}: its code needs the package {error.name}: pip install {error.name}"
        ) from error
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _package_of(folder: Path) -> Path:
    package = folder / _PACKAGE
    if not (package / "build_sam_us.py").is_file():
        raise ConfigError(
            f"--against {folder}: no {_PACKAGE}/build_sam_us.py in it; give a checkout of "
            f"https://github.com/xianlin7/SAMUS, or {SEGMENT_ANYTHING}"
        )
    return package


def _stand_ins() -> Mapping[str, types.ModuleType]:
    """Modules for those stray imports whose packages are not installed."""
    absent = [name for name in _NEVER_CALLED if importlib.util.find_spec(name) is None]
    modules = {}
    for name in absent:
        modules[name] = types.ModuleType(name)
        setattr(modules[name], _NEVER_CALLED[name], None)
    return modules


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
        del sys.modules[name]
