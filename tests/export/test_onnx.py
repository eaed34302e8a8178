import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from echozoo.apis import load_model
from echozoo.errors import ConfigError, EchoZooError
from echozoo.export import onnx as module
from echozoo.export.onnx import Network, export_onnx, grey_frames
from echozoo.models.prompts import Features, Prompts

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")

FILES = (("tra", "encoder"), ("tra", "decoder"), ("apg", "model"))


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """Small models as ONNX, with and without prompts: folder and comparisons by kind."""
    kinds = ("tra", "apg", "inserts")
    folders = {kind: tmp_path_factory.mktemp(f"onnx_{kind}") for kind in kinds}
    return {kind: (folder, export_onnx(trained[kind], folder)) for kind, folder in folders.items()}


def session(file):
    return onnxruntime.InferenceSession(file.as_posix(), providers=["CPUExecutionProvider"])


def relative(found, expected):
    return float((torch.from_numpy(found) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("frames", [1, 4, 7])
@pytest.mark.parametrize(("structures", "points"), [([2], 1), ([0, 1, 2], 5)])
def test_clicks_on_any_number_of_frames(exported, trained, frames, structures, points):
    folder, _ = exported["tra"]
    model = trained["tra"].model
    grey = torch.rand(frames, 1, 64, 64) * 255
    xy = torch.rand(frames, len(structures), points, 2) * 64
    labels = torch.randint(-1, 2, (frames, len(structures), points))
    with torch.no_grad():
        embedding = model.encode(grey / 255, num_frames=frames).embedding
        logits = model.decode(embedding, xy, labels, structures=structures)
    (found,) = session(folder / "encoder.onnx").run(None, {"images": grey.numpy()})
    assert relative(found, embedding) < 1e-3
    feed = {
        "embedding": found,
        "points": xy.numpy(),
        "labels": labels.numpy(),
        "structures": np.array(structures),
    }
    low, masks = session(folder / "decoder.onnx").run(None, feed)
    assert relative(low, logits) < 1e-3
    large = torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear") > 0
    assert (torch.from_numpy(masks) != large).float().mean() < 1e-3


def test_a_box_is_two_points(exported, trained):
    folder, _ = exported["tra"]
    model = trained["tra"].model
    embedding, boxes = torch.randn(2, 16, 8, 8), torch.rand(2, 3, 4) * 64
    with torch.no_grad():
        expected = model.decode(Features.of(embedding), Prompts(boxes=boxes))[0]
    feed = {
        "embedding": embedding.numpy(),
        "points": boxes.view(2, 3, 2, 2).numpy(),
        "labels": torch.tensor([2, 3]).expand(2, 3, 2).numpy(),
        "structures": np.arange(3),
    }
    assert relative(session(folder / "decoder.onnx").run(None, feed)[0], expected) < 1e-3


@pytest.mark.parametrize("frames", [1, 5])
def test_a_model_without_prompts_is_one_file(exported, trained, frames):
    """In which frames see each other through inserts."""
    folder, compared = exported["inserts"]
    assert [one.file_name for one in compared] == ["model.onnx"]
    assert [file.name for file in folder.iterdir()] == ["model.onnx"]
    grey, model = torch.rand(frames, 1, 32, 48) * 255, trained["inserts"].model
    with torch.no_grad():
        expected = model(grey[None] / 255, mode="tensor")
        alone = model(grey[:, None] / 255, mode="tensor")
    assert (frames == 1) == torch.equal(expected, alone)
    file = session(folder / "model.onnx")
    logits, masks = file.run(None, {"images": grey.numpy()})
    assert relative(logits, expected) < 1e-3
    assert masks.shape == (frames, 3, 32, 48)
    assert file.get_modelmeta().custom_metadata_map["echozoo.frames"].startswith("the N frames of")


@pytest.mark.parametrize("frames", [1, 5])
def test_a_model_that_prompts_itself_is_one_file(exported, trained, frames):
    folder, compared = exported["apg"]
    assert [one.file_name for one in compared] == ["model.onnx"]
    grey = torch.rand(frames, 1, 64, 64) * 255
    with torch.no_grad():
        expected = trained["apg"].model(grey[None] / 255, mode="tensor")
    (images,) = session(folder / "model.onnx").get_inputs()
    assert images.name == "images"
    logits, masks = session(folder / "model.onnx").run(None, {"images": grey.numpy()})
    assert relative(logits, expected) < 1e-3
    large = torch.nn.functional.interpolate(expected, (64, 64), mode="bilinear") > 0
    assert masks.shape == (frames, 3, 64, 64)
    assert (torch.from_numpy(masks) != large).float().mean() < 1e-3


def test_the_comparison_is_returned(exported):
    _, compared = exported["tra"]
    assert [one.file_name for one in compared] == ["encoder.onnx", "decoder.onnx"]
    for one in compared:
        assert 0 < one.max_error < 1e-3
        assert one.mask_changes < 1e-3
        assert one.megabytes > 0.01
        assert one.torch_ms > 0
        assert one.onnx_ms > 0


def test_metadata_says_how_to_use_the_file(exported, trained):
    metadata = {}
    for kind, name in FILES:
        meta = session(exported[kind][0] / f"{name}.onnx").get_modelmeta()
        metadata[kind, name] = meta.custom_metadata_map
    tra, apg = (metadata[file] for file in FILES[1:])
    unet = module.describe(trained["unet"])
    assert tra == metadata[FILES[0]]
    assert tra["echozoo.config"] == "my_tra"
    assert tra["echozoo.input_size"] == "64 64"
    assert tra["echozoo.structures"] == "lv myo la"
    assert tra["echozoo.frames"] == "the N frames of one clip, in order"
    assert "2 and 3 upper left" in tra["echozoo.points"]
    assert "which structure each of the K" in tra["echozoo.named"]
    assert "0..255" in tra["echozoo.scaling"]
    assert tra["echozoo.version"]
    assert unet["echozoo.frames"] == "N frames, each by itself"
    assert unet["echozoo.input_size"] == "32 48"
    assert "echozoo.points" not in unet
    assert apg["echozoo.frames"] == "the N frames of one clip, in order"
    assert "echozoo.points" not in apg


def test_where_frames_are_stretched_the_padding_is_an_input(runs):
    one = load_model(runs["tra"], device="cpu")
    assert list(module.networks(one)[0].inputs) == ["images"]
    one.model.data_preprocessor.minmax = True
    encoder, decoder = module.networks(one)
    assert list(encoder.inputs) == ["images", "valid_size"]
    assert all(len(trial) == 2 for trial in encoder.trials)
    assert list(decoder.inputs) == ["embedding", "points", "labels", "structures"]
    assert "padding" in module.describe(one)["echozoo.valid_size"]


def test_a_head_that_names_no_structures(runs):
    one = load_model(runs["tra"], device="cpu")
    one.model.prompt_head.names = None
    decoder = module.networks(one)[1]
    assert list(decoder.inputs) == ["embedding", "points", "labels"]
    assert "echozoo.named" not in module.describe(one)


def test_no_path_of_this_machine_is_in_a_file(exported):
    for folder, _ in exported.values():
        for file in folder.iterdir():
            content = file.read_bytes()
            assert b".py" not in content
            assert b"stack_trace" not in content


def test_a_file_that_differs_from_torch_is_not_kept(trained, tmp_path, monkeypatch):
    class Wrong(torch.nn.Module):
        """Gives other numbers once it is traced."""

        def forward(self, images):
            return images * (2.0 if torch.compiler.is_exporting() else 1.0)

    trials = ((grey_frames(2, (4, 4)),),)
    wrong = Network("model.onnx", Wrong(), {"images": ("N",)}, ("logits",), trials)
    monkeypatch.setattr(module, "networks", lambda loaded: [wrong])
    with pytest.raises(EchoZooError, match=r"model.onnx: found an error of 1.0e\+00 against torch"):
        export_onnx(trained["unet"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_does_more_with_points_is_refused(runs, monkeypatch):
    one = load_model(runs["tra"], device="cpu")
    embed = one.model.prompt_head.embed

    def embed_elsewhere(features, prompts, output_tokens):
        return embed(features, replace(prompts, points=prompts.points + 9), output_tokens)

    monkeypatch.setattr(one.model.prompt_head, "embed", embed_elsewhere)
    with pytest.raises(ConfigError, match="ManualPromptHead: does more with points"):
        module.networks(one)


@pytest.mark.parametrize("package", module.PACKAGES)
def test_without_the_extra(trained, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ConfigError, match=rf"needs the package {package}: pip install 'echozoo\[exp"
    ):
        export_onnx(trained["unet"], tmp_path)


def test_a_folder_that_is_a_file(trained, tmp_path, monkeypatch):
    (tmp_path / "out").write_text("")
    monkeypatch.setattr(module, "networks", lambda loaded: [])
    with pytest.raises(ConfigError, match="cannot write there"):
        export_onnx(trained["unet"], tmp_path / "out")
