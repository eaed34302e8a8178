from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.hooks.hook import Hook
from mmengine.runner.priority import get_priority
from PIL import Image

from echozoo.engine.hooks.visualization import CurvesHook, OverlayHook
from echozoo.registry import HOOKS
from echozoo.structures import EchoDataSample


@pytest.fixture
def runner(tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(work_dir=str(tmp_path), logger=logging.getLogger("test"))


def clip(
    sequence: str, frames: tuple[int, ...], gray: float = 80
) -> tuple[torch.Tensor, EchoDataSample]:
    sample = EchoDataSample(
        metainfo=dict(
            patient=sequence[:11],
            view="4CH",
            sequence=sequence,
            frames=frames,
            instants=("ED", *[""] * (len(frames) - 1)),
            structures=("lv", "myo", "la"),
            spacing=(0.308, 0.308),
            native_size=(40, 50),
            input_size=(32, 32),
            valid_size=(26, 32),
        )
    )
    labels = torch.zeros(len(frames), 40, 50, dtype=torch.uint8)
    for i, frame in enumerate(frames):
        labels[i, 5 + frame : 25, 10:30] = 1
    sample.native_labels = labels
    sample.pred_labels = labels.clone()
    inputs = torch.zeros(len(frames), 1, 32, 32)
    inputs[:, :, :26] = gray
    return inputs, sample


def show(hook: Hook, runner: SimpleNamespace, *batches: list) -> None:
    hook.before_test(runner)
    for i, batch in enumerate(batches):
        inputs, samples = zip(*batch, strict=True)
        data_batch = dict(inputs=list(inputs), data_samples=list(samples))
        hook.after_test_iter(runner, i, data_batch, list(samples))
    hook.after_test_epoch(runner, {})


def frames_of(path: Path) -> int:
    with Image.open(path) as film:
        return film.n_frames


def test_windows_of_a_sequence_become_one_film(runner: SimpleNamespace) -> None:
    hook = OverlayHook(num_films=1, height=80)
    first, second = clip("patient0001_4CH", (0, 1, 2)), clip("patient0001_4CH", (2, 3, 4))
    other = clip("patient0002_4CH", (0, 1))
    show(hook, runner, [first, other], [second])
    folder = Path(runner.work_dir) / "overlays"
    assert [path.name for path in folder.iterdir()] == ["patient0001_4CH.gif"]
    assert frames_of(folder / "patient0001_4CH.gif") == 5


def test_frames_stand_in_the_order_of_the_film(runner: SimpleNamespace) -> None:
    hook = OverlayHook(num_films=1, height=80)
    late = clip("patient0001_4CH", (2, 3), gray=200)
    early = clip("patient0001_4CH", (0, 1), gray=50)
    show(hook, runner, [late], [early])
    with Image.open(Path(runner.work_dir) / "overlays" / "patient0001_4CH.gif") as film:
        grays = []
        for index in range(film.n_frames):
            film.seek(index)
            # Near the lower right corner of the panel: image, without the input's padding.
            grays.append(int(np.asarray(film.convert("L"))[34 + 76, 12 + 95]))
    assert grays == pytest.approx([50, 50, 200, 200], abs=6)


def test_a_single_frame_is_a_png(runner: SimpleNamespace) -> None:
    show(OverlayHook(height=80), runner, [clip("patient0001_4CH", (0,))])
    with Image.open(Path(runner.work_dir) / "overlays" / "patient0001_4CH.png") as picture:
        assert picture.height == 80 + 2 * 34


def test_a_second_test_starts_anew(runner: SimpleNamespace) -> None:
    hook = OverlayHook(num_films=1, height=80)
    show(hook, runner, [clip("patient0001_4CH", (0, 1))])
    show(hook, runner, [clip("patient0002_4CH", (0, 1))])
    folder = Path(runner.work_dir) / "overlays"
    assert sorted(path.stem for path in folder.iterdir()) == ["patient0001_4CH", "patient0002_4CH"]


def test_curves_are_drawn_from_what_was_logged(runner: SimpleNamespace) -> None:
    hook, curves = CurvesHook(), Path(runner.work_dir) / "curves.png"
    hook.after_train(runner)
    assert not curves.exists()
    log = Path(runner.work_dir) / "20250101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps({"lr": 1e-4, "loss": 0.5, "iter": 10, "epoch": 1, "step": 10}))
    hook.after_val_epoch(runner, {})
    assert curves.is_file()


def test_curves_come_after_the_log() -> None:
    assert get_priority(CurvesHook.priority) > get_priority(LoggerHook.priority)


def test_in_the_registry() -> None:
    assert HOOKS.build(dict(type="OverlayHook", num_films=3)).num_films == 3
    assert isinstance(HOOKS.build(dict(type="CurvesHook")), CurvesHook)
