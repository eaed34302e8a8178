from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from echozoo.cli import limits as command
from echozoo.evaluation.functional.attributes import ATTRIBUTES, film_attributes
from echozoo.evaluation.functional.temporal import judge
from echozoo.evaluation.limits import load_limits
from echozoo.films.io import read_volume, write_volume

STRUCTURES = ("lv", "myo", "la")


@pytest.fixture
def derive(monkeypatch, capsys):
    """Run the tool in this process: its exit status and what it printed."""

    def run(*argv) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["limits", *map(str, argv), "--workers", "1"])
        with pytest.raises(SystemExit) as ended:
            command.main()
        code = ended.value.code
        if isinstance(code, str):
            return 1, code
        return code, capsys.readouterr().out

    return run


def films_of(root: Path) -> list[dict[str, np.ndarray]]:
    """The attributes of the films of all patients."""
    paths = sorted((root / "database_nifti").rglob("*half_sequence_gt*"))
    volumes = [read_volume(path, label=True) for path in paths]
    return [film_attributes(volume.array, STRUCTURES, volume.spacing) for volume in volumes]


ALL = ("--subset", "train", "val", "test")


def test_films_keep_the_limits_that_are_from_them(phantom, tmp_path: Path, derive) -> None:
    out = tmp_path / "new" / "limits.json"
    code, text = derive(phantom, "-o", out, *ALL)
    assert code == 0
    assert "only 8 films" in text
    limits = load_limits(out)
    assert list(limits.attributes) == [one.key for one in ATTRIBUTES]
    films = films_of(phantom)
    frames = sum(len(film["lv_area_cm2"]) for film in films)
    assert f"8 films ({frames} frames, 4 patients)" in limits.provenance
    assert "train + val + test, views 2CH + 4CH" in limits.provenance
    verdicts = [judge(film, limits.attributes) for film in films]
    assert not any(verdict.frames.any() for verdict in verdicts)
    for key, limit in limits.attributes.items():
        assert max(verdict.ratios[key].max() for verdict in verdicts) == pytest.approx(1)
        assert limit.min == min(film[key].min() for film in films)
        assert limit.max == max(film[key].max() for film in films)
    assert {"command", "date", "versions"} <= set(json.loads(out.read_text()))


def test_the_training_patients_of_one_view_with_a_margin(phantom, tmp_path: Path, derive) -> None:
    plain, wide = tmp_path / "plain.json", tmp_path / "wide.json"
    assert derive(phantom, "-o", plain, "--views", "4CH")[0] == 0
    code, _ = derive(phantom, "-o", wide, "--views", "4CH", "--margin", "0.25", "--name", "mine")
    assert code == 0
    narrow, wider = load_limits(plain), load_limits(wide)
    assert (narrow.name, wider.name) == (phantom.name, "mine")
    assert "train, views 4CH" in narrow.provenance
    assert "plus 25%" in wider.provenance
    for key, limit in narrow.attributes.items():
        assert wider.attributes[key].threshold == pytest.approx(1.25 * limit.threshold)
        assert wider.attributes[key][:2] == limit[:2]


def test_broken_films_are_listed_and_lost_structures_named(phantom, tmp_path: Path, derive) -> None:
    root = tmp_path / "data"
    for path in sorted((phantom / "database_nifti").rglob("*half_sequence*")):
        volume = read_volume(path, label="_gt" in path.name)
        array = np.where(volume.array == 1, 1, 0) if "_gt" in path.name else volume.array
        write_volume(root / path.parent.name / path.name, array.astype(np.uint8), volume.spacing)
    broken = sorted(root.rglob("*half_sequence_gt*"))
    broken[0].write_bytes(broken[0].read_bytes()[:100])
    code, text = derive(root, "-o", tmp_path / "limits.json", "--split", "ratio", *ALL)
    assert code == 1
    assert f"problem: {broken[0]}" in text
    assert "no limits for myo_area" in text
    found = load_limits(tmp_path / "limits.json")
    assert "lv_area_cm2" in found.attributes
    assert "myo_area_cm2" not in found.attributes


def test_data_without_films_is_refused(shared, tmp_path: Path, derive) -> None:
    code, text = derive(shared / "data/camus_mini", "-o", tmp_path / "limits.json")
    assert code == 1
    assert "no sequence with masks of 140 patients" in text
    assert derive(tmp_path, "-o", tmp_path / "limits.json")[0] == 1
    code, text = derive(shared / "data/camus_mini", "-o", tmp_path / "x.json", "--margin", "-1")
    assert "--margin -1.0: wanted 0 or more" in text
