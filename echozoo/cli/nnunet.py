"""Write a config's data as nnU-Net wants it, and bring nnU-Net's predictions back.

    echozoo nnunet nnUNet_raw/Dataset042_CAMUS configs/unet.py --data-root PATH
    cp nnUNet_raw/Dataset042_CAMUS/splits_final.json nnUNet_preprocessed/Dataset042_CAMUS/
    nnUNetv2_train 42 2d 0     # after nnUNetv2_plan_and_preprocess -d 42 -c 2d, and the line above
    nnUNetv2_predict -d 42 -c 2d -f 0 -i nnUNet_raw/Dataset042_CAMUS/imagesTs -o predicted
    echozoo nnunet nnUNet_raw/Dataset042_CAMUS --predictions predicted -o masks
    echozoo test configs/stored.py --data-root PATH --cfg-options model.folder=masks

A case is a frame at its own size and spacing. The training and validation parts are imagesTr and
labelsTr (frames with all their labels), and fold 0 of splits_final.json; the test part is imagesTs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

from echozoo.datasets.anatomy import LABEL_VALUES
from echozoo.engine import failures, launch
from echozoo.engine.config_file import load_config
from echozoo.errors import ConfigError, DataError, one_line_errors
from echozoo.films.io import read_volume, write_volume
from echozoo.models.segmentors.stored import image_name
from echozoo.options import add_pairs, command_parser
from echozoo.registry import DATASETS
from echozoo.whole_files import written_whole

ENDING = ".nii.gz"
CASES = "cases.json"
"""Beside dataset.json: of each case of imagesTs the image file and the frame in it."""


class Frame(NamedTuple):
    """A frame of the data set; labels (H, W) count its structures from 1; None is no labels."""

    image: np.ndarray
    labels: np.ndarray | None
    spacing: tuple[float, float]
    structures: tuple[str, ...]
    values: dict[str, int]
    file: Path
    index: int

    @property
    def case(self) -> str:
        """Its name in nnU-Net's folders."""
        return f"{image_name(self.file)}_f{self.index:03d}"


def frames_of(cfg: Config, part: str) -> Iterator[Frame]:
    """Yield the frames of the train, val or test part, each once."""
    loader = cfg.get(f"{part}_dataloader")
    if not loader:
        raise ConfigError(f"{cfg.filename}: it has no {part}_dataloader to export")
    steps = [dict(type="LoadClip"), dict(type="PackClip")]
    for leaf in launch.leaves(loader.dataset):
        leaf.update(pipeline=steps, clip_length=1, test_mode=True)
    for item in DATASETS.build(loader.dataset):
        sample = item["data_samples"]
        (files,) = sample.frame_files
        labels = sample.get("native_labels")
        if "labelled" in sample and not sample.labelled.all():
            labels = None
        yield Frame(
            item["inputs"][0, 0].numpy().astype(np.uint8),  # (1, 1, H, W) -> (H, W)
            None if labels is None else labels[0].numpy(),
            sample.spacing or (1.0, 1.0),
            sample.structures,
            dict(sample.label_values),
            Path(files.image),
            files.index,
        )


def export(folder: Path, cfg: Config) -> str:
    """Write a data set for nnU-Net; return a line about it."""
    if not re.fullmatch(r"Dataset\d{3}_\w+", folder.name):
        raise ConfigError(f"{folder}: wanted a name such as Dataset042_CAMUS, as nnU-Net has them")
    cases: dict[str, list[str]] = {"train": [], "val": []}
    structures: tuple[str, ...] = ()
    values: dict[str, int] = {}
    files: dict[str, Path] = {}
    for part, names in cases.items():
        for frame in frames_of(cfg, part):
            _check_name(frame, files)
            if frame.labels is not None:
                write_volume(
                    folder / "imagesTr" / f"{frame.case}_0000{ENDING}", frame.image, frame.spacing
                )
                write_volume(
                    folder / "labelsTr" / f"{frame.case}{ENDING}", frame.labels, frame.spacing
                )
                names.append(frame.case)
                structures, values = frame.structures, frame.values
    if not structures:
        raise DataError(
            f"{cfg.filename}: no frame of the train and val parts has labels of all its structures;"
            " choose structures=... that the data set labels"
        )
    origins = {}
    for frame in frames_of(cfg, "test"):
        _check_name(frame, files)
        write_volume(folder / "imagesTs" / f"{frame.case}_0000{ENDING}", frame.image, frame.spacing)
        origins[frame.case] = {"file": frame.file.name, "frame": frame.index}
    content = {
        "channel_names": {"0": "ultrasound"},
        "labels": {"background": 0, **{name: k for k, name in enumerate(structures, start=1)}},
        "label_values": values,  # of the data set's own masks; nnU-Net does not look at it
        "numTraining": len(cases["train"]) + len(cases["val"]),
        "file_ending": ENDING,
    }
    written = (("dataset.json", content), ("splits_final.json", [cases]), (CASES, origins))
    for name, value in written:
        with written_whole(folder / name) as part:
            part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    counts = ", ".join(f"{len(names)} of the {part} part" for part, names in cases.items())
    return f"{folder}: {counts}, {len(origins)} of the test part"


def _check_name(frame: Frame, files: dict[str, Path]) -> None:
    """Refuse two images of one name, of which one would take the other's place."""
    first = files.setdefault(image_name(frame.file), frame.file)
    if first != frame.file:
        raise DataError(f"{first}, {frame.file}: two images of one name; rename one of them")


def bring_back(folder: Path, predictions: Path, out: Path) -> str:
    """Write nnU-Net's predictions of imagesTs as `StoredMasks` reads them; return a line."""
    try:
        described = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        labels = described["labels"]
        origins = json.loads((folder / CASES).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: no export of this tool ({error}); export it again") from error
    own = described.get("label_values", LABEL_VALUES)  # earlier exports are CAMUS's
    table = np.zeros(256, np.uint8)  # from nnU-Net's labels to those of the data set's masks
    for name, value in labels.items():
        if value:
            table[value] = own[name]
    films: dict[str, dict[int, Path]] = {}
    for case, origin in origins.items():
        films.setdefault(origin["file"], {})[origin["frame"]] = predictions / f"{case}{ENDING}"
    for name, frames in films.items():
        if set(frames) != set(range(len(frames))):
            raise DataError(f"{folder / CASES}: {name}: not all of its frames; export it again")
        volumes = [read_volume(frames[index], label=True) for index in range(len(frames))]
        maps = table[np.concatenate([volume.array for volume in volumes])]  # (T, H, W)
        write_volume(out / f"{image_name(name)}{ENDING}", maps, volumes[0].spacing)
    return f"{out}: label maps of {len(films)} files, {len(origins)} frames"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("folder", type=Path, help="nnUNet_raw/Dataset###_NAME")
    parser.add_argument("config", nargs="?", help="a file of configs/ whose data are exported")
    parser.add_argument("--data-root", help="the data set's folder (or environment CAMUS_ROOT)")
    add_pairs(parser, "--dataset", "set keys of the train, val and test data sets at once")
    parser.add_argument("--predictions", type=Path, help="nnU-Net's folder, to bring back")
    parser.add_argument("-o", "--out", type=Path, help="where label maps go, with --predictions")
    args = parser.parse_args()
    if (args.config is None) == (args.predictions is None):
        parser.error("give a config to export, or --predictions and -o to bring them back")
    if args.predictions and not args.out:
        parser.error("--predictions: give -o FOLDER too")
    return args


@one_line_errors
def main() -> None:
    """Export, or bring back."""
    args = parse_args()
    if args.predictions:
        print(bring_back(args.folder, args.predictions, args.out))
        return
    with failures.one_line():
        cfg = load_config(args.config)
        init_default_scope(cfg.get("default_scope", "echozoo"))
        launch.set_data(cfg, args.data_root or os.environ.get("CAMUS_ROOT"), args.dataset)
        print(export(args.folder, cfg))
