"""Masks and clicks that are brought back to an open film."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

SIZE = (40, 60)


@pytest.fixture
def labels() -> np.ndarray:
    """Maps of an lv and an la that go through a film of 5 frames; nothing in the last one."""
    maps = np.zeros((5, *SIZE), np.uint8)
    for frame in range(4):
        maps[frame, 5 : 15 + frame, 10:30] = 1
        maps[frame, 25:35, 10 : 30 + frame] = 3
    return maps


def file_of(path: Path, maps: np.ndarray, film: Path | None = None, **how: Any) -> bytes:
    image = sitk.GetImageFromArray(maps)
    if film is not None and maps.ndim == 3:
        image.CopyInformation(sitk.ReadImage(str(film)))
    for name, value in how.items():
        getattr(image, f"Set{name}")(value)
    sitk.WriteImage(image, str(path))
    return path.read_bytes()


def bring(client: Any, key: str, content: bytes, frame: int = 0) -> Any:
    return client.post(f"/api/open/{key}/masks?frame={frame}", content=content)


def written(client: Any, key: str, tmp_path: Path) -> np.ndarray:
    (tmp_path / "out.nii.gz").write_bytes(client.get(f"/api/open/{key}/masks.nii.gz").content)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nii.gz")))


def test_label_maps_of_the_whole_film(client, key, film_file, labels, tmp_path) -> None:
    content = file_of(tmp_path / "labels.nii.gz", labels, film_file)
    assert bring(client, key, content).json() == {"frames": 4, "notes": []}
    assert np.array_equal(written(client, key, tmp_path), labels)
    areas = client.get(f"/api/open/{key}/measures").json()["areas"]
    assert areas["lv"] == [4.0, 4.4, 4.8, 5.2, None]  # nobody knows whether the last was seen
    # Its own file gives the same again, and what was clicked meanwhile is replaced.
    body = {"frame": 1, "structure": "lv", "points": [[50, 30]], "labels": [1]}
    client.post(f"/api/open/{key}/clicks", json=body)
    assert not np.array_equal(written(client, key, tmp_path), labels)
    assert bring(client, key, (tmp_path / "labels.nii.gz").read_bytes()).status_code == 200
    assert np.array_equal(written(client, key, tmp_path), labels)
    assert client.get(f"/api/open/{key}/clicks").json() == []


def test_stored_upside_down_is_put_back_by_geometry(
    client, key, film_file, labels, tmp_path
) -> None:
    turned = file_of(
        tmp_path / "turned.nii", labels[:, ::-1], film_file,
        Direction=(1, 0, 0, 0, -1, 0, 0, 0, 1), Origin=(0, 39 * 2.0, 0),
    )  # fmt: skip
    answer = bring(client, key, turned).json()
    assert "upside down" in answer["notes"][0]
    assert np.array_equal(written(client, key, tmp_path), labels)


def test_a_map_of_one_frame_goes_into_the_frame_that_is_shown(
    client, key, labels, tmp_path
) -> None:
    content = file_of(tmp_path / "ed_gt.nii.gz", labels[0], Spacing=(1.0, 2.0))
    assert bring(client, key, content, frame=2).json()["frames"] == 1
    found = written(client, key, tmp_path)
    assert np.array_equal(found[2], labels[0])
    assert not found[[0, 1, 3, 4]].any()


def test_structures_that_are_not_in_the_file_stay(client, key, film_file, labels, tmp_path) -> None:
    bring(client, key, file_of(tmp_path / "both.nii", labels, film_file))
    other = np.where(labels == 1, 1, 0).astype(np.uint8)[:, ::-1]
    bring(client, key, file_of(tmp_path / "lv.nii", other, film_file))
    wanted = np.where(other, 1, np.where(labels == 3, 3, 0))
    assert np.array_equal(written(client, key, tmp_path), wanted)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (np.zeros((5, *SIZE), np.uint8), "no lv or la in it"),
        (np.full((5, *SIZE), 2, np.uint8), "no lv or la in it"),  # the myocardium alone
        (np.full((5, *SIZE), 9, np.uint8), "label 9"),
        (np.ones((4, *SIZE), np.uint8), "4 label maps of 40 x 60 pixels, wanted 1 or 5"),
        (np.ones((5, 41, 60), np.uint8), "5 label maps of 41 x 60"),
        (np.full((5, *SIZE), 0.5, np.float32), "label"),
        (b"", "empty"),
        (b"no film", "no known kind"),
        (b'{"frame": 0}', "no known kind"),
    ],
)
def test_what_are_no_masks_of_the_film(client, key, film_file, tmp_path, made, words) -> None:
    path = tmp_path / "wrong.nii"
    copied = film_file if isinstance(made, np.ndarray) and made.shape == (5, *SIZE) else None
    content = made if isinstance(made, bytes) else file_of(path, made, copied)
    answer = bring(client, key, content)
    assert answer.status_code == 422
    reason = answer.json()["error"]
    assert words in reason
    assert "private" not in reason
    assert not written(client, key, tmp_path).any()


def test_masks_that_lie_elsewhere(client, key, film_file, labels, tmp_path) -> None:
    content = file_of(tmp_path / "far.nii", labels, film_file, Origin=(300.0, 0, 0))
    assert "lies elsewhere" in bring(client, key, content).json()["error"]


ONE = {"frame": 1, "lv": {"points": [[30, 20], [5, 5]], "labels": [1, 0]}}
TWO = [ONE, {"frame": 3, "la": {"box": [20, 10, 40, 30]}}]


@pytest.mark.parametrize("given", [ONE, TWO])
def test_clicks_come_back_as_they_went(client, key, given) -> None:
    answer = client.post(f"/api/open/{key}/clicks.json", content=json.dumps(given))
    assert answer.status_code == 202
    while client.get(f"/api/open/{key}/job").json()["state"] == "running":
        time.sleep(0.02)
    assert client.get(f"/api/open/{key}/clicks.json").json() == given
    masks = client.get(f"/api/open/{key}/masks?start=0&stop=5").json()["masks"]
    frames = [given["frame"]] if isinstance(given, dict) else [1, 3]
    assert [frame for frame, found in enumerate(masks) if found] == frames


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'"lv"', "no prompt"),
        (b"[[]]", "no prompt"),
        (b"{}", "no structure is prompted"),
        (b'{"frame": 9, "lv": {"point": [1, 1]}}', "frame 9"),
        (b'{"frame": 0, "mask": "/etc/passwd"}', "no prompt"),
        (b'{"film_4CH.nii.gz": {"frame": 0, "lv": {"point": [1, 1]}}}', "no prompt"),
        (b'{"frame": 0, "myo": {"point": [1, 1]}}', "myo"),
        (b'{"frame": 0, "lv": {"point": [99, 1]}}', "outside"),
        (b'{"frame": 0, "lv": {"point": [NaN, 1]}}', "outside"),
        (b'{"frame": true, "lv": {"point": [1, 1]}}', "frame"),
    ],
)
def test_what_are_no_clicks(client, key, content, words) -> None:
    answer = client.post(f"/api/open/{key}/clicks.json", content=content)
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_too_large(start, film_file, labels, tmp_path) -> None:
    client = start(films=film_file.parent, max_upload_bytes=1000)
    key = client.post("/api/films/0").json()["key"]
    assert bring(client, key, bytes(1001)).status_code == 413
    answer = client.post(f"/api/open/{key}/clicks.json", content=bytes(2**20 + 1))
    assert answer.status_code == 413
