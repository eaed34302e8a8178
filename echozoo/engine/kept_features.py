"""What a frozen encoder made of an image, on disk: in later epochs it need not run again.

An entry is a safetensors file, ``<folder>/<encoder>/<image>.safetensors``, that is read through a
memory map. It is written under a name of its own and moved into place whole, so several processes
may write the same one at once and none reads half of it.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

import echozoo
from echozoo.errors import ConfigError
from echozoo.models import contracts
from echozoo.models.segmentors.prompted import PromptedSegmentor
from echozoo.models.weight_files import weights_sha256
from echozoo.notices import notice
from echozoo.whole_files import written_whole

GIGABYTE = 2**30
Maps = tuple[Tensor, ...]
# Of the disk, what stays free for checkpoints.
_LEFT_FREE = 2 * GIGABYTE


class FeatureCache:
    """Embeddings of a frozen encoder, kept on disk; set as the ``feature_cache`` of its model.

    An entry is named by a hash of all that the embedding follows from: the bytes of the scaled
    image, the encoder's weights and settings, and the precision. So what is read is what would
    have been computed, but for rounding, which may differ with the size of a batch. Where frames
    of a clip see each other, the entry is the clip's, otherwise the frame's.

    It steps aside where gradients have to pass the encoder. The weights are hashed anew when they
    have changed, by all ways that torch counts (not through ``parameter.data``). The code of an
    encoder is not part of the name: who changes that has to empty the folder.

    Args:
        model: Its backbone and neck are the encoder.
        folder: Made where absent. One that cannot be written is read from.
        limit_gb: Gigabytes (2^30 bytes) that the folder may hold, whatever wrote them. What comes
            when it is full is computed and not kept, which is said once.
        settings: What the weights do not tell of the encoder; its config, as text.

    Attributes:
        num_read: Entries that were read since the caller last set it to 0.
        num_computed: Entries that had to be computed.
    """

    def __init__(
        self,
        model: PromptedSegmentor,
        folder: str | Path,
        limit_gb: float = 50.0,
        settings: str = "",
    ) -> None:
        self.folder = Path(folder)
        self.limit = limit_gb * GIGABYTE
        self.settings = settings
        self.num_read = self.num_computed = 0
        self._encoder = _encoder_of(model)
        self._frames_apart = contracts.sees(self._encoder) == "frame"
        self._versions: list = []
        self._fingerprint = ""
        self._checked: set[Path] = set()
        self._room = 0  # bytes to write until the folder has to be measured again
        self._is_full = False

    def __call__(
        self, encode: Callable[[Tensor, int], Maps], images: Tensor, num_frames: int
    ) -> Maps:
        """Read the embeddings of images; compute those that are not there, all at once.

        Args:
            encode: The encoder, called as ``(images, num_frames)`` for what is missing.
            images: (N, C, H, W), scaled.
            num_frames: T, the frames of a clip in N.

        Returns:
            The encoder's maps, each (N, C, h, w), on the device of the images.
        """
        if torch.is_grad_enabled() and self._needs_gradients(images):
            return encode(images, num_frames)
        length = 1 if self._frames_apart else num_frames
        clips = images.split(length)
        files = self._files(images, length)
        features = [self._read(file) for file in files]
        missing = [i for i, clip in enumerate(features) if clip is None]
        self.num_read += len(files) - len(missing)
        self.num_computed += len(missing)
        if missing:
            with torch.no_grad():
                computed = encode(torch.cat([clips[i] for i in missing]), length)
            pieces = zip(*(one.split(length) for one in computed), strict=True)
            for i, maps in zip(missing, pieces, strict=True):
                self._write(files[i], maps)
                features[i] = maps
        joined = zip(*features, strict=True)  # by map, over the clips
        return tuple(torch.cat([clip.to(images.device) for clip in clips]) for clips in joined)

    def _needs_gradients(self, images: Tensor) -> bool:
        return images.requires_grad or any(p.requires_grad for p in self._encoder.parameters())

    def _files(self, images: Tensor, length: int) -> list[Path]:
        """The files of the clips of ``length`` frames in images (N, C, H, W)."""
        device = images.device.type
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        precision = torch.get_float32_matmul_precision()
        head = f"{device} {autocast} {precision} {images.dtype} {(length, *images.shape[1:])}\n"
        folder = self.folder / self._fingerprinted()
        digest, files = hashlib.sha256(head.encode()), []
        for clip in images.detach().cpu().contiguous().split(length):
            one = digest.copy()
            one.update(clip.view(torch.uint8).numpy())
            files.append(folder / f"{one.hexdigest()[:32]}.safetensors")
        return files

    def _fingerprinted(self) -> str:
        """A name for the encoder as it is now."""
        weights = self._encoder.state_dict(keep_vars=True)
        versions = [(name, w.data_ptr(), w._version) for name, w in weights.items()]
        if versions != self._versions:
            weights = {name: weight.detach().cpu() for name, weight in weights.items()}
            text = f"{echozoo.__version__}\n{self.settings}\n{weights_sha256(weights)}"
            self._fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
            self._versions = versions
        return self._fingerprint

    def _read(self, file: Path) -> Maps | None:
        """The maps of a clip, on the CPU; None where they are absent or damaged."""
        try:
            with safe_open(file, "pt") as entry:
                about = entry.metadata()
                orders = about["orders"].split()
                maps = [entry.get_tensor(f"map{i}") for i in range(len(orders))]
            checksum = about["crc32"]
        except (OSError, SafetensorError, KeyError, TypeError):
            return None
        if file not in self._checked:
            if _checksum(maps) != checksum:
                return None
            self._checked.add(file)
        pairs = zip(maps, orders, strict=True)
        return tuple(one.permute(0, 3, 1, 2) if order == "NHWC" else one for one, order in pairs)

    def _write(self, file: Path, maps: Maps) -> None:
        # In the order that each has in memory, which rounding in the layers that follow depends on.
        last = [one.is_contiguous(memory_format=torch.channels_last) for one in maps]
        maps = [
            (one.permute(0, 2, 3, 1) if is_last else one)
            .cpu()
            .clone(memory_format=torch.contiguous_format)
            for one, is_last in zip(maps, last, strict=True)
        ]
        orders = " ".join("NHWC" if is_last else "NCHW" for is_last in last)
        about = {"crc32": _checksum(maps), "orders": orders}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if not self._has_room(sum(one.nbytes for one in maps)):
                return
            with written_whole(file, sync=False) as part:
                save_file({f"map{i}": one for i, one in enumerate(maps)}, part, about)
                part.chmod(0o644)  # safetensors leaves it to its owner alone
        except (OSError, SafetensorError) as error:
            self._is_full = True
            reason = getattr(error, "strerror", None) or error
            notice(f"{self.folder}: cannot be written ({reason}); features are not kept")

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes more may be written; takes them off what is left."""
        if size > self._room and not self._is_full:
            held = sum(entry.stat().st_size for entry in self.folder.glob("*/*.safetensors"))
            free = shutil.disk_usage(self.folder).free
            left = min(self.limit - held, free - _LEFT_FREE)
            # Other processes write too: the folder is measured again after a hundredth of it.
            self._room = min(left, max(size, self.limit / 100))
            self._is_full = size > self._room
            if self._is_full:
                notice(
                    f"{self.folder}: holds {held / GIGABYTE:.1f} of {self.limit / GIGABYTE:g} GB "
                    f"and the disk has {free / GIGABYTE:.1f} GB free: no more features are kept, "
                    "the encoder runs for the others"
                )
        if self._is_full:
            return False
        self._room -= size
        return True


def refuse_unless_frozen(model: nn.Module) -> None:
    """Refuse a model whose encoder does not map an image to the same features in every epoch.

    Args:
        model: A segmentor; its mode (training or evaluation) is left as it is.

    Raises:
        ConfigError: It is none of the SAM family, a parameter of its encoder trains, or a layer
            of its encoder acts otherwise in training (dropout, a batch norm that is not frozen).
    """
    if not isinstance(model, PromptedSegmentor):
        raise ConfigError(
            f"features can be kept of a PromptedSegmentor, found {type(model).__name__}: it has "
            "no encoder apart; leave the feature cache out (--cache-features, FeatureCacheHook)"
        )
    encoder = _encoder_of(model)
    training = [name for name, p in encoder.named_parameters() if p.requires_grad]
    if training:
        raise ConfigError(
            f"{training[0]} trains, and so do {len(training) - 1} more parameters of the encoder: "
            "features can be kept of a frozen one alone; freeze it (model.frozen) or leave the "
            "feature cache out (--cache-features, FeatureCacheHook)"
        )
    mode = model.training
    model.train()
    restless = [name for name, part in encoder.named_modules() if _changes_in_training(part)]
    model.train(mode)
    if restless:
        raise ConfigError(
            f"{restless[0]} ({type(encoder.get_submodule(restless[0])).__name__}) acts otherwise "
            "in training, so the encoder's features are not always the same: switch it off or "
            "leave the feature cache out (--cache-features, FeatureCacheHook)"
        )


def _encoder_of(model: PromptedSegmentor) -> nn.ModuleDict:
    parts = {"backbone": model.backbone, "neck": model.neck}
    return nn.ModuleDict({name: part for name, part in parts.items() if part is not None})


def _changes_in_training(module: nn.Module) -> bool:
    if isinstance(module, _BatchNorm):
        return module.training
    chance = module.p if isinstance(module, _DropoutNd) else getattr(module, "drop_prob", 0)
    return bool(chance)


def _checksum(maps: Sequence[Tensor]) -> str:
    checksum = 0
    for one in maps:
        checksum = zlib.crc32(one.view(torch.uint8).numpy(), checksum)
    return str(checksum)
