import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from echozoo.errors import CheckpointError
from echozoo.models.weight_files import load_safely, read_weights

WEIGHTS = {"a.weight": torch.arange(3.0), "b": torch.ones(2, 2)}


class Hostile:
    """Makes a folder when it is unpickled: the trace that its code ran."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def assert_same(weights, expected=WEIGHTS):
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_reads_each_format(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    save_file(WEIGHTS, path) if suffix == ".safetensors" else torch.save(WEIGHTS, path)
    assert_same(read_weights(path))
    assert_same(read_weights(str(path)))


def test_reads_the_format_before_torch_1_6(tmp_path):
    path = tmp_path / "old.pth"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)
    assert_same(read_weights(path))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"state_dict": weights, "meta": {"epoch": 3}},
        lambda weights: {"model": weights, "optimizer": {"state": {}}},
        lambda weights: {f"module.{key}": value for key, value in weights.items()},
        lambda weights: {"model": {f"module.{key}": value for key, value in weights.items()}},
    ],
)
def test_unwraps(tmp_path, wrap):
    torch.save(wrap(WEIGHTS), tmp_path / "w.pth")
    assert_same(read_weights(tmp_path / "w.pth"))


def test_only_the_first_module_prefix_goes(tmp_path):
    torch.save({"module.module.x": torch.zeros(1), "y.module.z": torch.zeros(1)}, tmp_path / "w.pt")
    assert list(read_weights(tmp_path / "w.pt")) == ["module.x", "y.module.z"]


def test_dictionaries_of_sam_parts_are_joined(tmp_path):
    parts = {
        "PromptEncoder": {"no_mask_embed.weight": torch.zeros(1, 4)},
        "MaskDecoder": {"iou_token.weight": torch.ones(1, 4)},
    }
    torch.save(parts, tmp_path / "parts.pt")
    weights = read_weights(tmp_path / "parts.pt")
    assert list(weights) == ["prompt_encoder.no_mask_embed.weight", "mask_decoder.iou_token.weight"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_pickle_that_would_run_code_is_refused(tmp_path, protocol):
    path, marker = tmp_path / "hostile.pth", tmp_path / "marker"
    path.write_bytes(pickle.dumps(Hostile(marker), protocol=protocol))
    # torch reads names in the form that pickles had up to protocol 3.
    says = r"refused: it would run code \(\w+\.mkdir" if protocol < 4 else "not weights alone"
    with pytest.raises(CheckpointError, match=says) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()  # it is hostile indeed


@pytest.mark.parametrize("new_format", [True, False])
def test_torch_file_that_would_run_code_is_refused_by_name(tmp_path, new_format):
    path, marker = tmp_path / "hostile.pth", tmp_path / "marker"
    content = {"state_dict": {**WEIGHTS, "c": Hostile(marker)}}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"refused: it would run code \(\w+\.mkdir\)"):
        read_weights(path)
    assert not marker.exists()


def test_no_environment_variable_opens_the_door(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, marker = tmp_path / "hostile.pth", tmp_path / "marker"
    torch.save({"a": Hostile(marker)}, path)
    with pytest.raises(CheckpointError, match="would run code"):
        load_safely(path)
    assert not marker.exists()


def test_pickle_that_calls_itself_safetensors_is_not_unpickled(tmp_path):
    path, marker = tmp_path / "hostile.safetensors", tmp_path / "marker"
    torch.save({"a": Hostile(marker)}, path)
    with pytest.raises(CheckpointError, match="not weights alone"):
        load_safely(path)
    assert not marker.exists()


@pytest.mark.parametrize("keep", [10, 500, 0.5, 0.9, -1])
@pytest.mark.parametrize("kind", ["new.pth", "old.pth", "x.safetensors"])
def test_truncated_file(tmp_path, keep, kind):
    path = tmp_path / kind
    weights = {"a": torch.zeros(1000), "b": torch.zeros(10)}
    if kind == "x.safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "new.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match="damaged(: cut|, or not weights)") as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
        (b"<html>not found</html>", "is a web page"),
        (b"nothing that a reader of weights knows", "damaged, or not weights alone"),
        (bytes(range(256)) * 20, "damaged, or not weights alone"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_file_that_holds_no_weights(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=says) as caught:
        read_weights(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_file_and_folder(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent.pth: no such file"):
        read_weights(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="is not a file"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.zeros(1)], "holds list, wanted a dictionary"),
        ({}, "holds an empty dictionary"),
        ({"state_dict": {}}, "holds an empty dictionary"),
        ({"a": torch.zeros(1), "epoch": 3}, "entry 'epoch' is of type int"),
        ({0: torch.zeros(1)}, "entry 0 is of type Tensor"),
        ({"generator": {"w": torch.zeros(1)}}, "the dictionary 'generator' is no part that is"),
    ],
)
def test_something_else_than_weights(tmp_path, content, says):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=says):
        read_weights(tmp_path / "w.pth")


def test_names_in_a_file_cannot_break_the_line(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(WEIGHTS, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = next(name for name in members if name.endswith("data.pkl"))
    evil = b"\x80\x02cos\x1b[31m err\nmkdir\n."
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, evil if name == data else content)
    with pytest.raises(CheckpointError, match=r"\(os\?\?31m\?err.mkdir\)"):
        load_safely(path)
