"""What a program has in memory is segmented as the file that it came from."""

from __future__ import annotations

import gc
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from film_files import moving_disc, write_dicom, write_itk
from PIL import Image

from echozoo.apis.in_memory import plain_sources
from echozoo.apis.inferencer import EchoInferencer
from echozoo.errors import ConfigError, DataError

FILM = moving_disc(4, (40, 48))
COLOUR = np.stack([FILM] * 3, -1)


@pytest.fixture(scope="module")
def infer(unet: Path) -> EchoInferencer:
    return EchoInferencer(unet, device="cpu", progress=False)


def labels(done) -> np.ndarray:
    (result,) = done.results
    return result.labels.read()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.from_numpy(FILM),
        torch.from_numpy(FILM)[:, None],
        torch.from_numpy(FILM).float().div(255).requires_grad_(),
        torch.from_numpy(COLOUR).permute(0, 3, 1, 2),
        torch.from_numpy(COLOUR),
    ],
    ids=["(T, H, W)", "(T, 1, H, W)", "fractions", "(T, 3, H, W)", "(T, H, W, 3)"],
)
def test_tensors_are_arrays(infer, tensor):
    np.testing.assert_array_equal(labels(infer(tensor)), labels(infer(FILM)))


def test_half_precision_tensors():
    (array,) = plain_sources(torch.ones(2, 40, 48, dtype=torch.bfloat16))
    assert array.dtype == np.float32
    assert array.shape == (2, 40, 48)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "CMYK"])
def test_pictures(infer, mode):
    image = Image.fromarray(FILM[0]).convert(mode)
    assert labels(infer(image)).shape == (1, 40, 48)
    if mode in ("L", "RGB", "P", "LA"):
        np.testing.assert_array_equal(labels(infer(image)), labels(infer(FILM[:1])))


def test_bytes_are_the_file_that_they_are_of(infer, tmp_path):
    write_itk(tmp_path / "film.nii.gz", FILM)
    region = dict(PhysicalDeltaX=0.03, PhysicalDeltaY=0.05)
    write_dicom(tmp_path / "IM0001", FILM, region, FrameTime="20")
    png = io.BytesIO()
    Image.fromarray(FILM[0]).save(png, "png")
    (tmp_path / "still.png").write_bytes(png.getvalue())
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        for given in (content, memoryview(content)):
            done, wanted = infer(given), infer(path)
            np.testing.assert_array_equal(labels(done), labels(wanted))
            assert done.results[0].film.spacing == wanted.results[0].film.spacing
            assert len(done.results[0].film.frames()) == len(labels(wanted)), "still there"
    written = done.results[0].film.path
    assert written.is_file()
    del done
    gc.collect()
    assert not written.exists(), "gone with its result"


def test_a_list_of_all_of_them(infer, tmp_path):
    path = write_itk(tmp_path / "film.nii.gz", FILM)
    several = [FILM, torch.from_numpy(FILM), Image.fromarray(FILM[0]), path.read_bytes(), str(path)]
    done = infer(several, tmp_path / "out")
    names = {str(result.folder.relative_to(tmp_path / "out")) for result in done.results}
    assert names == {"array", "array_2", "array_3", "bytes", "film"}
    assert done.failures == []
    assert [type(one) for one in plain_sources(one for one in several)][:3] == [np.ndarray] * 3


@pytest.mark.parametrize("source", [None, 3, {"film": FILM}, [None], [[FILM]], object()])
def test_anything_else_is_one_line(infer, source):
    with pytest.raises(DataError, match=r"a \w+ cannot be segmented, wanted a path, an array or"):
        infer(source)


@pytest.mark.parametrize(
    "source",
    [b"", b"no film", np.zeros(5), np.zeros((2, 2, 2, 2, 2)), np.full((40, 48), np.nan)],
    ids=["empty", "bytes", "a row", "too many axes", "nan"],
)
def test_nor_is_what_holds_no_film(infer, source):
    with pytest.raises(DataError) as caught:
        infer(source)
    assert "\n" not in str(caught.value)


def test_prompts_of_a_call(clicked: Path, tmp_path: Path):
    first, second = ({"lv": {"point": [24, 20]}}, {"lv": {"point": [3, 3]}})
    infer = EchoInferencer(clicked, device="cpu", progress=False)
    with pytest.raises(ConfigError, match="needs prompts"):
        infer(FILM)
    for prompts in (first, second):
        fixed = EchoInferencer(clicked, device="cpu", prompts=prompts, progress=False)
        np.testing.assert_array_equal(labels(infer(FILM, prompts=prompts)), labels(fixed(FILM)))
        done = fixed(FILM, prompts=first)
        np.testing.assert_array_equal(labels(done), labels(infer(FILM, prompts=first)))
    kept = [infer(FILM, tmp_path, prompts=one).results[0].kept for one in (first, first, second)]
    assert kept == [False, True, False], "other prompts, other results"
    with pytest.raises(ConfigError, match="cannot be read"):
        infer(FILM, prompts="absent.json")
    with pytest.raises(ConfigError, match="needs prompts"):
        infer(FILM)
