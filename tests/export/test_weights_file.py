import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from echozoo.errors import CheckpointError, ConfigError
from echozoo.export import weights_file
from echozoo.export.weights_file import verify, write_weights
from echozoo.models.weight_files import (
    file_sha256,
    read_metadata,
    read_weights,
    weights_sha256,
)

WEIGHTS = {"b.weight": torch.arange(6.0).view(2, 3), "a": torch.tensor(7), "c": torch.ones(2) > 0}
TEXTS = {"name": "tiny", "licence": "gemeinfrei, größtenteils"}


@pytest.fixture
def file(tmp_path):
    write_weights(tmp_path / "w.safetensors", WEIGHTS, TEXTS)
    return tmp_path / "w.safetensors"


def test_round_trip(file):
    weights = read_weights(file)
    assert weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(weights[key], value) for key, value in WEIGHTS.items())
    metadata = verify(file)
    assert metadata == read_metadata(file)
    assert {key: metadata[key] for key in TEXTS} == TEXTS
    assert [p.name for p in file.parent.iterdir()] == [file.name], "no draft is left"
    assert file.stat().st_mode & 0o777 == 0o644, "others may read it"


def test_the_hash_is_the_one_that_is_defined():
    stream = b"a\nint64\n\n" + np.int64(7).tobytes()
    stream += b"b.weight\nfloat32\n2 3\n" + np.arange(6, dtype="<f4").tobytes()
    stream += b"c\nbool\n2\n" + b"\x01\x01"
    assert weights_sha256(WEIGHTS) == hashlib.sha256(stream).hexdigest()


def test_the_hash_knows_names_types_and_shapes():
    hashes = {
        weights_sha256({"a": torch.zeros(4)}),
        weights_sha256({"b": torch.zeros(4)}),
        weights_sha256({"a": torch.zeros(2, 2)}),
        weights_sha256({"a": torch.zeros(4, dtype=torch.int32)}),
        weights_sha256({"a": torch.zeros(4, dtype=torch.bfloat16)}),
        weights_sha256({"a": torch.zeros(0)}),
    }
    assert len(hashes) == 6
    transposed = torch.arange(6.0).view(3, 2).T
    assert weights_sha256({"a": transposed}) == weights_sha256({"a": transposed.clone()})


def test_tensors_that_share_memory(tmp_path):
    one = torch.rand(4)
    write_weights(tmp_path / "w.safetensors", {"a": one, "b": one[:2]}, {})
    assert torch.equal(read_weights(tmp_path / "w.safetensors")["b"], one[:2])


def test_one_changed_weight_is_noticed(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w.safetensors: weights_sha256 is \w{12}\.\.\."):
        verify(file)


def test_a_renamed_weight_is_noticed(file):
    file.write_bytes(file.read_bytes().replace(b"b.weight", b"x.weight"))
    with pytest.raises(CheckpointError, match="has been changed; get it again"):
        verify(file)


def test_a_changed_text_is_noticed(file):
    file.write_bytes(file.read_bytes().replace(b"gemeinfrei", b"gemeinfein"))
    with pytest.raises(CheckpointError, match="metadata_sha256 is"):
        verify(file)


def test_other_weights_under_the_same_texts_are_noticed(file):
    with safe_open(file, "pt") as opened:
        texts = opened.metadata()
    save_file({**WEIGHTS, "b.weight": torch.zeros(2, 3)}, file, metadata=texts)
    with pytest.raises(CheckpointError, match="weights_sha256 is"):
        verify(file)


@pytest.mark.parametrize("texts", [None, {}, {"weights_sha256": "0" * 64}])
def test_a_file_without_hashes(tmp_path, texts):
    save_file(WEIGHTS, tmp_path / "w.safetensors", metadata=texts)
    with pytest.raises(CheckpointError, match="wanted a file of echozoo publish"):
        verify(tmp_path / "w.safetensors")


def test_what_is_no_such_file(tmp_path, file):
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-3])
    torch.save(WEIGHTS, tmp_path / "w.pth")
    for name, says in (
        ("absent.safetensors", "no such file"),
        ("cut.safetensors", "damaged"),
        ("w.pth", "found .pth, wanted .safetensors"),
    ):
        with pytest.raises(CheckpointError, match=says) as caught:
            verify(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_folder_that_is_a_file(file):
    with pytest.raises(ConfigError, match="cannot write there"):
        write_weights(file / "w.safetensors", WEIGHTS, {})


def test_a_full_disk(tmp_path, monkeypatch):
    def save_some(weights: dict, part: Path, metadata: dict) -> None:
        part.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights_file, "save_file", save_some)
    with pytest.raises(ConfigError, match=r"w.safetensors: cannot write there .*No space left"):
        write_weights(tmp_path / "w.safetensors", WEIGHTS, TEXTS)
    assert not list(tmp_path.iterdir())


def test_file_sha256(file):
    assert file_sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_metadata_hash_as_defined(file):
    metadata = read_metadata(file)
    found = metadata.pop("metadata_sha256")
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert found == hashlib.sha256(text.encode()).hexdigest()
