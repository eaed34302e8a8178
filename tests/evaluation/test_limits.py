from __future__ import annotations

import json
from pathlib import Path

import pytest

from echozoo.errors import ConfigError
from echozoo.evaluation.functional.attributes import ATTRIBUTES
from echozoo.evaluation.limits import load_limits

GOOD = {
    "name": "mine",
    "attributes": {"lv_area_cm2": {"min": 10, "max": 50, "threshold": 0.02}},
    "provenance": "from nowhere",
}
# Of vitalab/vital: thresholds, and bounds in pixels of 0.308 x 0.154 mm.
THRESHOLDS = dict(lv_area=1.60e-2, lv_base_width=9.69e-2, lv_length=2.62e-2, lv_orientation=2.29e-2)
THRESHOLDS |= dict(myo_area=3.21e-2, epi_center_x=4.56e-3, epi_center_y=1.10e-2)
BOUNDS = {
    "lv_area": (19632, 112404, 0.308 * 0.154 / 100),
    "myo_area": (23228, 64134, 0.308 * 0.154 / 100),
    "epi_center_x": (183.3696, 479.3726, 0.308),
    "epi_center_y": (285.8587, 609.2086, 0.154),
    "lv_base_width": (53.7587, 172.8844, 0.308),
    "lv_length": (301.4249, 612.8623, 0.154),
    "lv_orientation": (-7.0359, 15.2600, 2.6146),
}


def test_limits_of_camus_are_those_published() -> None:
    limits = load_limits("camus")
    assert (limits.name, len(limits.attributes)) == ("camus", len(ATTRIBUTES))
    for one in ATTRIBUTES:
        limit = limits.attributes[one.key]
        low, high, unit = BOUNDS[one.name]
        assert limit.threshold == THRESHOLDS[one.name]
        assert (limit.min, limit.max) == pytest.approx((low * unit, high * unit), abs=0.25)
        assert limit.max - limit.min == pytest.approx((high - low) * unit, rel=1e-3)
    assert "not verified" in limits.provenance
    assert limits.details


def test_a_file_or_its_content(tmp_path: Path) -> None:
    assert load_limits(GOOD).attributes["lv_area_cm2"] == (10, 50, 0.02)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GOOD | {"date": "today", "details": ["a", "b"]}))
    found = load_limits(str(path))
    assert (found.name, found.provenance, found.details) == ("mine", "from nowhere", ("a", "b"))
    assert load_limits(found.as_content()) == found
    path.write_text(json.dumps({key: GOOD[key] for key in ("attributes", "provenance")}))
    assert load_limits(path).name == str(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": {}}, "no 'attributes'"),
        ({"provenance": " "}, "no 'provenance'"),
        ({"attributes": {"lv_area": {}}}, "attribute 'lv_area', wanted some of lv_area_cm2"),
        ({"attributes": {"lv_area_cm2": {"min": 1, "max": 2}}}, "wanted numbers min, max"),
        ({"attributes": {"lv_area_cm2": [1, 2, 3]}}, "wanted numbers min, max"),
        (
            {"attributes": {"lv_area_cm2": {"min": 2, "max": 2, "threshold": 1}}},
            "wanted min < max and a threshold above 0",
        ),
        (
            {"attributes": {"lv_area_cm2": {"min": 1, "max": 2, "threshold": 0}}},
            "wanted min < max and a threshold above 0",
        ),
    ],
)
def test_what_are_no_limits_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_limits(GOOD | changes)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wanted 'camus' or a JSON file"):
        load_limits("echonet")
    path = tmp_path / "limits.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match="no JSON"):
        load_limits(path)
    path.write_text("[1]")
    with pytest.raises(ConfigError, match="no 'attributes'"):
        load_limits(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_limits(tmp_path)
