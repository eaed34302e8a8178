"""Devices, precision and compilation of a loaded model; how often its encoder runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from film_files import moving_disc

from echozoo.apis.execution import Filled, check_execution
from echozoo.apis.inferencer import EchoInferencer
from echozoo.apis.loading import load_model
from echozoo.errors import ConfigError

FILM = moving_disc(9, (40, 48))
CLICKS = {"frame": 4, "lv": {"point": [24, 20]}, "la": {"point": [20, 22]}}
BOXES = {"frame": 4, "lv": {"box": [9, 9, 30, 30]}, "la": {"box": [5, 5, 20, 22]}}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("cuda", True, None, False), "int8 on cuda"),
        (("cpu", True, "bf16", False), "int8 and amp: choose one"),
        (("cpu", True, None, True), "int8 and compile: choose one"),
        (("cpu", False, "fp16", False), "fp16 needs a GPU"),
        (("cpu", False, "int4", False), "wanted bf16 or fp16"),
        (("cpu", False, None, True), "no C\\+\\+ compiler 'no-such-compiler' found"),
    ],
)
def test_options_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, options: tuple, reason: str
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    device, *rest = options
    with pytest.raises(ConfigError, match=reason):
        check_execution(torch.device(device), *rest)


def test_types_of_mixed_precision() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert check_execution(cpu, False, True, False) is torch.bfloat16
    assert check_execution(gpu, False, "fp16", True) is torch.float16
    assert check_execution(cpu, True, None, False) is None


def test_other_numbers(clicked: Path) -> None:
    exact = load_model(clicked, device="cpu").encode(FILM).features.embedding
    half, small = (
        load_model(clicked, device="cpu", **options) for options in (dict(amp="bf16"), dict(int8=1))
    )
    assert (half.precision, small.precision) == ("bf16", "int8")
    for other in (half, small):
        features = other.encode(FILM).features.embedding.float()
        # 8 bits err by about 1 % a layer, and so does bf16 with its 8 bits.
        assert 0 < (features - exact).norm() / exact.norm() < 0.1


@pytest.mark.parametrize("int8", [False, True])
def test_batched_as_one_by_one(clicked: Path, int8: bool) -> None:
    loaded = load_model(clicked, device="cpu", int8=int8)
    whole = loaded.encode(FILM).features.embedding
    single = torch.cat([loaded.encode(FILM[i : i + 1]).features.embedding for i in range(9)])
    # Floats are summed in another order; a rounding that tips over by it is one step of 127.
    torch.testing.assert_close(single, whole, rtol=0, atol=(0.05 if int8 else 1e-4))


def halves(embedding, structures, **prompts) -> torch.Tensor:
    """Stands in for a decoder: masks that are never empty, the first above the second."""
    logits = torch.ones(1, len(structures), 16, 16)
    logits[:, 0, :8] = 2
    logits[:, 1:, 8:] = 2
    return logits


def frames_of_passes(inferencer: EchoInferencer) -> list[int]:
    """Collects how many frames each pass of the encoder has."""
    seen: list[int] = []
    backbone = inferencer.loaded.model.backbone
    backbone.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    return seen


@pytest.mark.parametrize("kind", ["clicked", "boxed"])
def test_one_pass_a_frame_whatever_the_number_of_structures(
    kind: str, request: pytest.FixtureRequest
) -> None:
    prompts, passes = {
        "clicked": (CLICKS, [4, 1, 4]),  # frames 4 to 7, then 8, then back: 3 to 0
        "boxed": (BOXES, [4, 4, 4]),  # clips of 4; the last one ends with the film
    }[kind]
    inferencer = EchoInferencer(
        request.getfixturevalue(kind), device="cpu", batch_size=4, prompts=prompts, progress=False
    )
    inferencer.loaded.decode = halves
    seen = frames_of_passes(inferencer)
    labels = inferencer(FILM).results[0].labels.read()
    assert (labels[:, 0] == 1).all()
    assert (labels[:, -1] == 3).all()
    assert seen == passes


def test_one_pass_a_clip_of_a_model_that_prompts_itself(automatic: Path) -> None:
    inferencer = EchoInferencer(automatic, device="cpu", progress=False, int8=True)
    seen = frames_of_passes(inferencer)
    result = inferencer(FILM).results[0]
    assert seen == [4, 4, 4]
    assert result.labels.read().shape == FILM.shape
    assert result.summary["precision"] == "int8"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stands in for the compiler; collects the sizes of the batches that compiled code gets."""
    sizes: list[int] = []

    def compile(function, dynamic):
        assert dynamic is False

        def run(images, *args, **kwargs):
            sizes.append(len(images))
            return function(images, *args, **kwargs)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr("shutil.which", lambda name, *others: name)
    return sizes


def test_batches_are_filled_up(compiled: list[int]) -> None:
    double = Filled(lambda images: 2 * images)
    for count in (3, 4, 4, 2, 1, 6, 5):
        images = torch.randn(count, 1, 2, 2)
        torch.testing.assert_close(double(images), 2 * images)
    assert compiled == [3, 4, 4, 4, 1, 6, 6]


@pytest.mark.parametrize("kind", ["unet", "automatic"])
def test_a_film_through_compiled_code(
    kind: str, request: pytest.FixtureRequest, compiled: list[int]
) -> None:
    run, labels = request.getfixturevalue(kind), []
    for compile in (False, True):
        inferencer = EchoInferencer(
            run, device="cpu", batch_size=4, compile=compile, progress=False
        )
        labels.append(inferencer(FILM).results[0].labels.read())
    np.testing.assert_array_equal(*labels)
    # 9 frames: 4, 4 and a single one; or clips of 4, the last one ending with the film.
    assert compiled == {"unet": [4, 4, 1], "automatic": [4, 4, 4]}[kind]


def test_clicks_through_compiled_code(clicked: Path, compiled: list[int]) -> None:
    plain, fast = (load_model(clicked, device="cpu", compile=flag) for flag in (False, True))
    for frames in (FILM[:3], FILM[3:5], FILM[5:6]):
        wanted = plain.encode(frames).features.embedding
        torch.testing.assert_close(
            fast.encode(frames).features.embedding, wanted, rtol=0, atol=1e-4
        )
    assert compiled == [3, 3, 1]


@pytest.mark.slow
def test_the_compiler_runs_once_for_batches_of_any_size() -> None:
    try:
        check_execution(torch.device("cpu"), False, None, True)
    except ConfigError as error:
        pytest.skip(str(error))
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.GELU()).eval()
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    filled = Filled(network.forward)
    with torch.inference_mode():
        for count in (4, 3, 2, 4):
            images = torch.randn(count, 1, 8, 8)
            torch.testing.assert_close(filled(images), network(images))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
