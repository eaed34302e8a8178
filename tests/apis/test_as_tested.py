"""What echozoo test measures is what echozoo infer writes, frame by frame."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from killing import run_tool

from echozoo.apis import EchoInferencer
from echozoo.datasets.anatomy import split_labels
from echozoo.datasets.info import read_info
from echozoo.evaluation.functional.overlap import dice
from echozoo.films.io import read_volume
from echozoo.phantom import PhantomOptions, write_phantom

STRUCTURES = ("lv", "myo", "la")
# Films have 3 or 4 frames: in clips of 3, two clips share the middle of the longer ones.
CLIP = 3

pytestmark = pytest.mark.slow


def from_test(config: Path, run: Path, data: Path, folder: Path) -> dict[tuple, dict[str, str]]:
    """Rows of echozoo test's table by film, frame and structure."""
    options = ("--data-root", data, "--work-dir", folder, "--cfg-options")
    options += ("test_dataloader.num_workers=0", "test_dataloader.persistent_workers=False")
    status, said = run_tool("test.py", config, run / "best_x_epoch_1.pth", *options)
    assert status == 0, said
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(row["sequence"], int(row["frame"]), row["structure"]): row for row in rows}


@pytest.fixture(scope="session")
def long_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of three and more clips."""
    root = tmp_path_factory.mktemp("long") / "data"
    options = PhantomOptions(patients=4, seed=0, spacing=2.0, frames=(7, 8))
    write_phantom(root, options, processes=1)
    return root


SMOOTH = 'dict(type="TemporalGaussian", sigma_frames=0.3), '
WHOLE = 'dict(type="WhittakerSmoother"), '


@pytest.mark.parametrize(
    ("kind", "films_of", "smooth"),
    [
        ("automatic", "phantom", ""),
        ("unet", "long_films", SMOOTH),
        ("automatic", "long_films", WHOLE),
    ],
)
def test_each_frame_has_the_dice_of_its_test(
    kind: str, films_of: str, smooth: str, tmp_path: Path, request, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    phantom = request.getfixturevalue(films_of)
    run = request.getfixturevalue(kind)
    config = tmp_path / "tested.py"
    # With a step on masks, a network whose masks overlap is measured on its label map.
    config.write_text(
        f"_base_ = {str(run / 'tiny.py')!r}\n"
        f'model = dict(postprocessing=[{smooth}dict(type="LargestComponent")])\n'
        f'test_dataloader = dict(dataset=dict(clip_length={CLIP}, subset="train"))\n'
    )
    rows = from_test(config, run, phantom, tmp_path)
    infer = EchoInferencer(config, run / "best_x_epoch_1.pth", device="cpu", progress=False)
    films = sorted({sequence for sequence, _, _ in rows})
    assert 3 in {frame for _, frame, _ in rows}, "a film longer than a clip"
    scores = []
    for film in films:
        path = next(phantom.rglob(f"{film}_half_sequence.nii.gz"))
        info = read_info(path.parent / f"Info_{film[-3:]}.cfg")
        order = -1 if info.ed > info.es else 1  # a data set turns films round that begin with ES
        frames = read_volume(path).array[::order]
        reference = path.with_name(f"{film}_half_sequence_gt.nii.gz")
        reference = read_volume(reference, label=True).array[::order]
        labels = infer(np.ascontiguousarray(frames)).results[0].labels.read()
        for frame, (mine, true) in enumerate(zip(labels, reference, strict=True)):
            ours, wanted = (split_labels(maps, STRUCTURES) for maps in (mine, true))
            for name in STRUCTURES:
                row = rows[film, frame, name]
                assert int(row["predicted_px"]) == ours[name].sum(), (film, frame, name)
                if ours[name].any():
                    scores.append(float(row["dice"]))
                    assert scores[-1] == pytest.approx(dice(ours[name], wanted[name]), abs=1e-6)
    assert np.std(scores) > 0
