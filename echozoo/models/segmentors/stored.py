"""Label maps that any other program has made, as a model that has no parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor

from echozoo.datasets.anatomy import Structure
from echozoo.errors import ConfigError, DataError
from echozoo.films.io import IMAGE_SUFFIXES, read_volume
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

_CAMUS_LABELS = {structure.short: int(structure) for structure in Structure}


@MODELS.register_module()
class StoredMasks(BaseModel):
    """Read each frame's prediction from a folder, by the name of the image file that it is of.

    For an image ``patient0001_4CH_ED.nii.gz``, or a film ``patient0001_4CH_half_sequence.nii.gz``,
    the folder holds, at any depth, one of

    - ``patient0001_4CH_ED_gt.nii.gz`` (or ``.nii``, ``.mhd``): as CAMUS names masks,
    - ``patient0001_4CH_ED/labels.nii.gz``: as ``tools/infer.py`` writes them,
    - ``patient0001_4CH_ED.nii.gz``: the same name; of a CAMUS film also ``patient0001_4CH.nii.gz``,

    with the image's size and its frames in the image file's order. ``tools/export_nnunet.py``
    makes such a folder of nnU-Net's predictions.

    Args:
        folder: The folder.
        labels: Which value means what; by default CAMUS's: 1 LV cavity, 2 myocardium, 3 left
            atrium. 0 is background.
        data_preprocessor: Stacks the clips of a batch.

    Raises:
        ConfigError: No folder is given, or there is none of that name.
    """

    sees = "frame"

    def __init__(
        self,
        folder: str | None = None,
        labels: Mapping[str, int] = _CAMUS_LABELS,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or {"type": "EchoDataPreprocessor"}))
        if folder is None or not Path(folder).expanduser().is_dir():
            raise ConfigError(
                f"StoredMasks: folder={folder!r}, wanted a folder with label maps: "
                "--cfg-options model.folder=FOLDER"
            )
        self.folder = Path(folder).expanduser()
        self.labels = dict(labels)
        files = (path for path in self.folder.rglob("*") if path.name.endswith(IMAGE_SUFFIXES))
        self._files = {_key(path): path for path in sorted(files, key=_precedence)}
        self._volume = lru_cache(maxsize=4)(self._read)  # clips of one film follow each other

    def forward(
        self, inputs: Tensor, data_samples: Sequence[EchoDataSample], mode: str = "predict"
    ) -> list[EchoDataSample]:
        """Look the predictions of a batch up.

        Args:
            inputs: Clips (B, T, C, H, W); what they show is not looked at.
            data_samples: B samples, with the ``frame_files`` of their frames.
            mode: ``"predict"``: masks of a file have no logits and no loss.

        Returns:
            The samples with ``pred_labels`` (T, H0, W0) and ``pred_masks`` (T, K, H0, W0).

        Raises:
            ConfigError: Another mode, or a structure that ``labels`` does not have.
            DataError: A file is absent, or has another size, too few frames or unknown labels.
        """
        if mode != "predict":
            raise ConfigError(f"StoredMasks: mode {mode!r}; stored masks can be tested, no more")
        for sample in data_samples:
            stored = np.stack(
                [self._frame(sample, files.image, files.index) for files in sample.frame_files]
            )
            masks = np.stack([stored == self._label(name) for name in sample.structures], 1)
            sample.pred_masks = torch.from_numpy(masks).to(inputs.device)  # (T, K, H0, W0)
            numbers = torch.arange(1, masks.shape[1] + 1, device=inputs.device)
            numbered = sample.pred_masks * numbers.view(1, -1, 1, 1)  # (T, K, H0, W0)
            sample.pred_labels = numbered.amax(1).to(torch.uint8)
        return list(data_samples)

    def _label(self, structure: str) -> int:
        if structure not in self.labels:
            there = ", ".join(self.labels)
            raise ConfigError(f"StoredMasks: no label of {structure!r}; labels has {there}")
        return self.labels[structure]

    def _frame(self, sample: EchoDataSample, image: str, index: int) -> np.ndarray:
        """The stored label map (H0, W0) of frame ``index`` of an image file."""
        name = _key(Path(image))
        path = self._files.get(name) or self._files.get(re.sub(r"(_half)?_sequence$", "", name))
        if path is None:
            raise DataError(
                f"{self.folder}: no label map {name}.nii.gz, {name}_gt.nii.gz or "
                f"{name}/labels.nii.gz of {Path(image).name}"
            )
        labels = self._volume(path)  # (T, H0, W0)
        if labels.shape[1:] != tuple(sample.native_size) or index >= len(labels):
            raise DataError(
                f"{path}: {len(labels)} frames of {labels.shape[1:]} pixels (H, W), wanted at "
                f"least {index + 1} of {tuple(sample.native_size)}, the grid of {Path(image).name}"
            )
        return labels[index]

    def _read(self, path: Path) -> np.ndarray:
        """Read label maps (T, H0, W0) uint8 all of whose values mean something."""
        array = read_volume(path, label=True).array
        unknown = set(np.flatnonzero(np.bincount(array.ravel()))) - {0, *self.labels.values()}
        if unknown:
            found = ", ".join(map(str, sorted(unknown)))
            known = ", ".join(f"{name}={value}" for name, value in self.labels.items())
            raise DataError(
                f"{path}: labels {found}, wanted 0 or {known}; say by model.labels what they mean"
            )
        return array


def _key(path: Path) -> str:
    """The name of the image that a file of labels is of."""
    stem = path.name.removesuffix(next(filter(path.name.endswith, IMAGE_SUFFIXES), path.suffix))
    return path.parent.name if stem == "labels" else stem.removesuffix("_gt")


def _precedence(path: Path) -> tuple[bool, bool, Path]:
    """Sorts images of a folder in CAMUS's layout before the masks beside them, which count."""
    return "_gt." in path.name, path.name.startswith("labels."), path
