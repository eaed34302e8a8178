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

from echozoo.datasets.anatomy import LABEL_VALUES
from echozoo.errors import ConfigError, DataError
from echozoo.films.cache import decoded_volume
from echozoo.films.io import IMAGE_SUFFIXES
from echozoo.models.segmentors.whole_films import WholeFilms
from echozoo.postprocessing import Postprocessing
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample


@MODELS.register_module()
class StoredMasks(WholeFilms, BaseModel):
    """Read each frame's prediction from a folder, by the name of the image file that it is of.

    For an image ``patient0001_4CH_ED.nii.gz``, or a film ``patient0001_4CH_half_sequence.nii.gz``,
    the folder holds, at any depth, one of

    - ``patient0001_4CH_ED_gt.nii.gz`` (or ``.nii``, ``.mhd``): as CAMUS names masks,
    - ``patient0001_4CH_ED/labels.nii.gz``: as ``echozoo infer`` writes them,
    - ``patient0001_4CH_ED.nii.gz``: the same name; of a CAMUS film also ``patient0001_4CH.nii.gz``,

    with the image's frames in its order. They are put on its grid by their geometry, as the masks
    of a data set are. ``echozoo nnunet`` makes such a folder of nnU-Net's predictions.

    Args:
        folder: The folder.
        labels: Which value means what, ``dict(lv=1)``; 0 is background. By default those of the
            data set's own masks, but of ``labels.nii.gz`` those of ``echozoo infer``: 1 LV cavity,
            2 myocardium, 3 left atrium. CAMUS's are the same.
        data_preprocessor: Stacks the clips of a batch.
        postprocessing: Steps on masks and on films (see `echozoo.postprocessing`).

    Raises:
        ConfigError: No folder is given, or there is none of that name; or a step wants logits.
    """

    sees = "frame"

    def __init__(
        self,
        folder: str | None = None,
        labels: Mapping[str, int] | None = None,
        data_preprocessor: dict | None = None,
        postprocessing: Sequence[dict] = (),
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or {"type": "EchoDataPreprocessor"}))
        if folder is None or not Path(folder).expanduser().is_dir():
            raise ConfigError(
                f"StoredMasks: folder={folder!r}, wanted a folder with label maps: "
                "--cfg-options model.folder=FOLDER"
            )
        self.postprocessing = Postprocessing(postprocessing)
        if self.postprocessing.logit_steps:
            name = type(self.postprocessing.logit_steps[0]).__name__
            raise ConfigError(f"StoredMasks: {name} smooths logits, which masks of a file have not")
        self.folder = Path(folder).expanduser()
        self.labels = None if labels is None else dict(labels)
        files = (path for path in self.folder.rglob("*") if path.name.endswith(IMAGE_SUFFIXES))
        self._files = {_key(path): path for path in sorted(files, key=_precedence)}
        # Clips of one film follow each other.
        self._volume = lru_cache(maxsize=4)(
            lambda path, image: decoded_volume(path, label=True, image=image).array
        )

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
            DataError: A file is absent, lies elsewhere than its image, or has another size, too few
                frames or unknown labels.
        """
        if mode != "predict":
            raise ConfigError(f"StoredMasks: mode {mode!r}; stored masks can be tested, no more")
        for sample in data_samples:
            masks = np.stack(
                [self._masks(sample, files.image, files.index) for files in sample.frame_files]
            )
            masks = self.postprocessing.clean(masks, sample.structures, sample.spacing)
            sample.pred_masks = torch.from_numpy(masks).to(inputs.device)  # (T, K, H0, W0)
            numbers = torch.arange(1, masks.shape[1] + 1, device=inputs.device)
            numbered = sample.pred_masks * numbers.view(1, -1, 1, 1)  # (T, K, H0, W0)
            sample.pred_labels = numbered.amax(1).to(torch.uint8)
        return list(data_samples)

    def _masks(self, sample: EchoDataSample, image: str, index: int) -> np.ndarray:
        """The stored masks (K, H0, W0) of frame ``index`` of an image file."""
        name = image_name(image)
        path = self._files.get(name) or self._files.get(re.sub(r"(_half)?_sequence$", "", name))
        if path is None:
            raise DataError(
                f"{self.folder}: no label map {name}.nii.gz, {name}_gt.nii.gz or "
                f"{name}/labels.nii.gz of {Path(image).name}"
            )
        labels = self._volume(path, image)  # (T, H0, W0)
        if labels.shape[1:] != tuple(sample.native_size) or index >= len(labels):
            raise DataError(
                f"{path}: {len(labels)} frames of {labels.shape[1:]} pixels (H, W), wanted at "
                f"least {index + 1} of {tuple(sample.native_size)}, the grid of {Path(image).name}"
            )
        values = self._values(sample, path)
        unknown = set(np.flatnonzero(np.bincount(labels[index].ravel()))) - {0, *values.values()}
        if unknown:
            found = ", ".join(map(str, sorted(unknown)))
            known = ", ".join(f"{name}={value}" for name, value in values.items())
            raise DataError(
                f"{path}: labels {found}, wanted 0 or {known}; say by model.labels what they mean"
            )
        # What the data set does not label has no value, and is measured nowhere.
        return np.stack([labels[index] == values.get(name, -1) for name in sample.structures])

    def _values(self, sample: EchoDataSample, path: Path) -> Mapping[str, int]:
        """Which structure has which value in a file."""
        if self.labels is None:
            own = path.name.startswith("labels.")
            return LABEL_VALUES if own else sample.get("label_values", LABEL_VALUES)
        absent = [name for name in sample.structures if name not in self.labels]
        if absent:
            there = ", ".join(self.labels)
            raise ConfigError(f"StoredMasks: no label of {absent[0]!r}; labels has {there}")
        return self.labels


def image_name(file: str | Path) -> str:
    """The name of an image file without its ending, by which its masks are found."""
    name = Path(file).name
    return name.removesuffix(next(filter(name.endswith, IMAGE_SUFFIXES), Path(name).suffix))


def _key(path: Path) -> str:
    """The name of the image that a file of labels is of."""
    stem = image_name(path)
    return path.parent.name if stem == "labels" else stem.removesuffix("_gt")


def _precedence(path: Path) -> tuple[bool, bool, Path]:
    """Sorts images of a folder in CAMUS's layout before the masks beside them, which count."""
    return "_gt." in path.name, path.name.startswith("labels."), path
