"""A training that is killed at any moment and resumed ends as one that nobody stopped."""

from __future__ import annotations

import random
import signal

import pytest
from killing import MOMENTS, state, train


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a training leaves that nobody stopped."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert train(folder)[0] == 0
    wanted = state(folder)
    assert {"best_toy_error_epoch_4.pth", "epoch_4.pth", "epoch_5.pth"} <= set(wanted)
    return wanted


def ends_equal(folder, kill, undisturbed):
    assert train(folder, kill=kill)[0] == -signal.SIGKILL
    status, said = train(folder, "--resume")
    assert status == 0, said
    assert state(folder) == undisturbed


@pytest.mark.parametrize("kill", MOMENTS)
def test_each_write_of_a_checkpoint_and_each_validation(kill, undisturbed, tmp_path):
    ends_equal(tmp_path / "run", kill, undisturbed)


def test_changes_of_files_drawn_at_random(undisturbed, tmp_path, request):
    draws = random.Random(0)
    for number in range(request.config.getoption("--kills")):
        ends_equal(tmp_path / f"run{number}", ("file", draws.randint(1, 40)), undisturbed)
