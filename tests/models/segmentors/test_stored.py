"""Label maps on disk as a model, through echozoo test's own path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from clinic import PART, write_clinic

from echozoo.errors import ConfigError, DataError
from echozoo.films.io import read_volume, write_volume
from echozoo.models.segmentors.stored import StoredMasks
from echozoo.registry import DATASETS

VALUES = {"lv": 1, "myo": 2, "la": 3}
PIPELINE = [dict(type="LoadClip"), dict(type="PackClip")]


def samples_of(root: Path, **settings) -> list:
    dataset = dict(type="CAMUSDataset", data_root=str(root), subset="test", test_mode=True)
    dataset |= dict(split="ratio", clip_length=2, pipeline=PIPELINE, **settings)
    return [item["data_samples"] for item in DATASETS.build(dataset)]


def predict(model: StoredMasks, samples: list) -> list:
    return [model(torch.zeros(1, 1, 1, 1, 1), [sample], "predict")[0] for sample in samples]


def store(root: Path, folder: Path, name: str) -> None:
    """Copy the masks of a data set under other names: ``name`` has the image's in it."""
    for path in root.rglob("*_gt.nii.gz"):
        array, spacing = read_volume(path, label=True)
        stem = path.name.removesuffix("_gt.nii.gz")
        write_volume(folder / name.format(stem), array, spacing)


@pytest.mark.parametrize("name", ["{}.nii.gz", "{}.mhd", "deep/{}_gt.nii", "{}/labels.nii.gz"])
@pytest.mark.parametrize("frames", ["sequence", "ed_es"])
def test_predictions_are_the_frames_of_the_files(make_camus, tmp_path, name, frames):
    # ED after ES: such a film is stored backwards, and its clips are read from its end.
    root = make_camus(frames=3, info="ED: 3\nES: 1\n")
    store(root, tmp_path / "masks", name)
    samples = samples_of(root, frames=frames, structures=("lv", "la"))
    assert samples
    for sample in predict(StoredMasks(str(tmp_path / "masks")), samples):
        assert sample.pred_labels.dtype == torch.uint8
        assert torch.equal(sample.pred_labels, sample.native_labels)
        assert sample.pred_labels.unique().tolist() == [0, 1, 2]
        wanted = sample.native_labels[:, None] == torch.tensor([1, 2]).view(1, -1, 1, 1)
        assert torch.equal(sample.pred_masks, wanted)


def test_masks_are_put_back_by_their_geometry(make_camus, tmp_path):
    root = make_camus(frames=3)
    for path in root.rglob("*_half_sequence_gt.nii.gz"):
        mask = sitk.ReadImage(str(path))
        mirrored = sitk.Flip(mask, [True, False, False])
        assert mirrored.GetDirection()[0] == -1
        (tmp_path / "masks").mkdir(exist_ok=True)
        sitk.WriteImage(mirrored, str(tmp_path / "masks" / path.name))
    for sample in predict(StoredMasks(str(tmp_path / "masks")), samples_of(root)):
        assert torch.equal(sample.pred_labels, sample.native_labels)
        assert not torch.equal(sample.pred_labels, sample.pred_labels.flip(-1))
    for path in (tmp_path / "masks").iterdir():
        mask = sitk.ReadImage(str(path))
        mask.SetOrigin((900.0, 0.0, 0.0))
        sitk.WriteImage(mask, str(path))
    with pytest.raises(DataError, match="lies elsewhere than its image"):
        predict(StoredMasks(str(tmp_path / "masks")), samples_of(root))


def test_a_film_may_have_the_name_of_its_sequence(make_camus, tmp_path):
    root = make_camus(frames=3)
    for path in root.rglob("*_half_sequence_gt.nii.gz"):
        array, spacing = read_volume(path, label=True)
        name = path.name.replace("_half_sequence_gt", "")
        write_volume(tmp_path / "masks" / name, array, spacing)
    for sample in predict(StoredMasks(str(tmp_path / "masks")), samples_of(root)):
        assert torch.equal(sample.pred_labels, sample.native_labels)


def test_a_data_set_predicts_itself_by_its_masks(make_camus):
    root = make_camus()
    for sample in predict(StoredMasks(str(root)), samples_of(root)):
        assert torch.equal(sample.pred_labels, sample.native_labels)


def test_masks_have_the_values_of_the_data_set_and_those_of_infer_its_own(tmp_path):
    root, masks, own = write_clinic(tmp_path / "data"), tmp_path / "masks", tmp_path / "own"
    exec(PART, {})
    dataset = dict(type="Clinic", data_root=str(root), subset="test", test_mode=True)
    dataset |= dict(clip_length=4, pipeline=PIPELINE, structures=("lv", "myo", "la"))
    samples = [item["data_samples"] for item in DATASETS.build(dataset)]
    for path in root.glob("*_masks.nii.gz"):
        values = np.zeros((4, 20, 30), np.uint8)
        values[1::2] = read_volume(path, label=True).array
        stem = path.name.removesuffix("_masks.nii.gz")
        write_volume(masks / f"{stem}.nii.gz", values, (4.0, 4.0))
        house = np.where(values == 40, 1, np.where(values == 7, 3, 0)).astype(np.uint8)
        write_volume(own / stem / "labels.nii.gz", house, (4.0, 4.0))
    for folder in (masks, own):
        for sample in predict(StoredMasks(str(folder)), samples):
            assert torch.equal(sample.pred_labels[1::2], sample.native_labels[1::2])
            assert sample.pred_labels.unique().tolist() == [0, 1, 3]
    DATASETS.module_dict.pop("Clinic")


def test_other_values_are_said(make_camus, tmp_path):
    root = make_camus()
    for path in root.rglob("*_gt.nii.gz"):
        array, spacing = read_volume(path, label=True)
        write_volume(tmp_path / "masks" / path.name, array + 10 * (array > 0), spacing)
    samples = samples_of(root)
    with pytest.raises(DataError, match=r"labels 11, 12, 13, wanted 0 or lv=1, .*model.labels"):
        predict(StoredMasks(str(tmp_path / "masks")), samples)
    labels = dict(lv=11, myo=12, la=13)
    for sample in predict(StoredMasks(str(tmp_path / "masks"), labels), samples):
        assert torch.equal(sample.pred_labels, sample.native_labels)
    del labels["la"]
    labels["aorta"] = 13
    with pytest.raises(ConfigError, match="no label of 'la'; labels has lv, myo, aorta"):
        predict(StoredMasks(str(tmp_path / "masks"), labels), samples)


def test_what_does_not_fit_is_one_line(make_camus, tmp_path):
    root, masks = make_camus(patients=3, views=("4CH",)), tmp_path / "masks"
    store(root, masks, "{}.nii.gz")
    (sample,) = samples_of(root)
    path = masks / f"{sample.sequence}_ES.nii.gz"
    path.unlink()
    with pytest.raises(DataError, match=rf"no label map {sample.sequence}_ES.nii.gz, ") as caught:
        predict(StoredMasks(str(masks)), [sample])
    assert "\n" not in str(caught.value)
    write_volume(path, np.zeros((9, 9), np.uint8), (1, 1))
    with pytest.raises(DataError, match=r"1 frames of \(9, 9\) pixels .*wanted at least 1 of \(24"):
        predict(StoredMasks(str(masks)), [sample])
    with pytest.raises(ConfigError, match="wanted a folder with label maps: --cfg-options"):
        StoredMasks(str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="mode 'loss'; stored masks can be tested"):
        StoredMasks(str(masks))(torch.zeros(1), [sample], "loss")


def test_films_are_smoothed_in_one_piece(make_camus, tmp_path):
    """Through the clips of a test, the steps see the film; the data set says which clips."""
    root = make_camus(frames=7)
    store(root, tmp_path / "masks", "{}.nii.gz")
    steps = [dict(type="WhittakerSmoother", weight=500.0)]
    model = StoredMasks(str(tmp_path / "masks"), postprocessing=steps)
    for sample in samples_of(root, whole_films=True):
        assert len(sample.clips) == 4
        data = {"inputs": [torch.zeros(7, 1, 4, 4)], "data_samples": [sample]}
        (found,) = model.test_step(data)
        maps = sample.native_labels.numpy()
        wanted = model.postprocessing.finish(maps, VALUES, sample.spacing)
        np.testing.assert_array_equal(found.pred_labels, wanted)
        assert found.pred_masks.shape == (7, 3, *maps.shape[1:])
        assert (found.pred_masks.long().argmax(1) + 1)[found.pred_labels > 0].tolist() == (
            found.pred_labels[found.pred_labels > 0].tolist()
        )


def test_steps_on_logits_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="TemporalGaussian smooths logits"):
        StoredMasks(str(tmp_path), postprocessing=[dict(type="TemporalGaussian")])
