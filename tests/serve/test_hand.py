"""What is done by hand: strokes, steps, carrying around corrected frames, numbers."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import cv2
import numpy as np
import pytest
from film_files import moving_disc

from echozoo.films.io import read_volume, write_volume
from echozoo.serve.strokes import covered

SIZE = (40, 60)
LINE = [[10.0, 8.0], [30.0, 8.0], [30.25, 20.5]]


def refused(answer: Any, status: int, words: str = "") -> None:
    assert answer.status_code == status, answer.text
    (reason,) = answer.json().values()
    assert words in reason
    assert "\n" not in reason


def click(client: Any, key: str, **given: Any) -> None:
    body = {"frame": 0, "structure": "lv", "points": [[30, 20]], "labels": [1]} | given
    assert client.post(f"/api/open/{key}/clicks", json=body).status_code == 200


def draw(client: Any, key: str, **given: Any) -> Any:
    body = {"frame": 0, "structure": "lv", "radius": 2.5, "points": LINE} | given
    return client.post(f"/api/open/{key}/strokes", json=body)


def carry(client: Any, key: str, frame: int = 0, **query: str) -> None:
    answer = client.post(f"/api/open/{key}/carry/{frame}", params=query)
    assert answer.status_code == 202, answer.text
    for _ in range(300):
        if (job := client.get(f"/api/open/{key}/job").json())["state"] != "running":
            assert (job["state"], job["done"]) == ("done", job["total"])
            return
        time.sleep(0.02)
    raise AssertionError("the job does not end")


def maps(client: Any, key: str) -> np.ndarray:
    """Label maps (T, H, W), 1 for lv and 3 for la."""
    frames = client.get(f"/api/open/{key}/masks?start=0&stop=9").json()["masks"]
    found = np.zeros((len(frames), *SIZE), np.uint8)
    for labels, masks in zip(found, frames, strict=True):
        for name, runs in masks.items():
            labels.flat[np.repeat(np.arange(len(runs)) % 2 == 1, runs)] = {"lv": 1, "la": 3}[name]
    return found


def measures(client: Any, key: str) -> dict[str, Any]:
    found = client.get(f"/api/open/{key}/measures").json()
    return found | {"numbers": {one["name"]: one["value"] for one in found["numbers"]}}


def by_the_rule(points: list, radius: float) -> np.ndarray:
    """Every pixel against every piece of the line, one by one."""
    found = np.zeros(SIZE, bool)
    for y, x in np.ndindex(SIZE):
        for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[-1]], strict=True):
            squared = (x2 - x1) ** 2 + (y2 - y1) ** 2
            share = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / squared if squared else 0
            share = min(max(share, 0), 1)
            away = np.hypot(x - x1 - share * (x2 - x1), y - y1 - share * (y2 - y1))
            found[y, x] |= away <= radius + 1e-9
    return found


class TestStrokes:
    @pytest.mark.parametrize(
        ("points", "radius"),
        [(LINE, 2.5), ([[5, 5]], 3), ([[59, 39], [80, 50]], 4), ([[-50, 3], [90, 3]], 0.5)],
    )
    def test_covers_what_the_rule_says(self, points, radius) -> None:
        np.testing.assert_array_equal(
            covered(np.array(points), radius, SIZE), by_the_rule(points, radius)
        )

    def test_changes_exactly_its_pixels(self, client, key) -> None:
        click(client, key)
        click(client, key, structure="la", points=[[10, 10]])
        before, where = maps(client, key)[0], by_the_rule(LINE, 2.5)
        assert draw(client, key).json()["frame"] == 0
        np.testing.assert_array_equal(maps(client, key)[0], np.where(where, 1, before))
        draw(client, key, structure="la", erase=True, points=[[5, 10], [40, 10]])
        erased = by_the_rule([[5, 10], [40, 10]], 2.5)
        wanted = np.where(where, 1, np.where(erased & (before == 3), 0, before))
        np.testing.assert_array_equal(maps(client, key)[0], wanted)
        # What was painted over does not come back from below.
        draw(client, key, erase=True)
        np.testing.assert_array_equal(maps(client, key)[0], np.where(where, 0, wanted))

    def test_lies_over_clicks_of_others_and_goes_with_its_own(self, client, key) -> None:
        draw(client, key)
        drawn = maps(client, key)[0] == 1
        click(client, key, structure="la", points=[[30, 20]])
        now = maps(client, key)[0]
        assert (now[drawn] == 1).all()
        assert (now == 3).any()
        click(client, key, points=[[50, 30]])
        assert not (maps(client, key)[0][drawn & (now != 3)] == 1).all()

    def test_for_a_model_without_prompts(self, start, film_file, automatic_model) -> None:
        client = start(automatic_model, films=film_file.parents[1], session=None)
        key = client.post("/api/films/0").json()["key"]
        assert draw(client, key).status_code == 200
        assert (maps(client, key)[0] == 1).sum() == by_the_rule(LINE, 2.5).sum()
        refused(client.post(f"/api/open/{key}/carry/0"), 422, "takes no clicks")

    @pytest.mark.parametrize(
        "given",
        [
            {"frame": 9}, {"frame": -1}, {"frame": True}, {"structure": "rv"}, {"radius": 0},
            {"radius": 1e9}, {"radius": "2"}, {"points": []}, {"points": [[1, 2, 3]]},
            {"points": [[1, 1e9]]}, {"points": [[0, 0]] * 513}, {"erase": 1}, {"more": 1},
        ],
    )  # fmt: skip
    def test_what_is_refused(self, client, key, given) -> None:
        refused(draw(client, key, **given), 422)
        assert not maps(client, key).any()


class TestSteps:
    def test_everything_is_taken_back_and_done_again(self, client, key) -> None:
        nothing = (maps(client, key), client.get(f"/api/open/{key}/clicks").json())
        states = [nothing]

        def masks_brought() -> None:
            labels = np.zeros((5, *SIZE), np.uint8)
            labels[3, 5:9, 5:9] = 3
            film = client.get(f"/api/open/{key}/masks.nii.gz").content
            answer = client.post(f"/api/open/{key}/masks?frame=0", content=film)
            assert answer.status_code == 200, answer.text

        for act in (
            lambda: click(client, key),
            lambda: click(client, key, points=[], labels=[], box=[20, 10, 40, 30]),
            lambda: draw(client, key, frame=1),
            lambda: carry(client, key),
            lambda: draw(client, key, frame=2, erase=True, points=[[30, 20]]),
            lambda: client.delete(f"/api/open/{key}/clicks/0/lv"),
            masks_brought,
            lambda: client.delete(f"/api/open/{key}/masks"),
        ):
            act()
            states.append((maps(client, key), client.get(f"/api/open/{key}/clicks").json()))
            assert (measures(client, key)["undo"], measures(client, key)["redo"]) == (
                len(states) - 1,
                0,
            )
        for way, order in (("undo", states[-2::-1]), ("redo", states[1:])):
            for masks, clicks in order:
                assert client.post(f"/api/open/{key}/{way}").status_code == 200
                np.testing.assert_array_equal(maps(client, key), masks)
                assert client.get(f"/api/open/{key}/clicks").json() == clicks
            refused(client.post(f"/api/open/{key}/{way}"), 409, "nothing to")
        client.post(f"/api/open/{key}/undo")
        draw(client, key)
        refused(client.post(f"/api/open/{key}/redo"), 409)

    def test_a_stroke_of_nothing_and_a_refused_click_are_no_steps(self, client, key) -> None:
        draw(client, key, erase=True)
        draw(client, key, points=[[900, 900]])
        client.post(f"/api/open/{key}/clicks", json={"frame": 0, "structure": "lv"})
        client.delete(f"/api/open/{key}/clicks/0/lv")
        assert measures(client, key)["undo"] == 0

    def test_measures_follow(self, client, key) -> None:
        click(client, key)
        area = measures(client, key)["areas"]["lv"][0]
        draw(client, key)
        assert measures(client, key)["areas"]["lv"][0] > area
        frames = client.post(f"/api/open/{key}/undo").json()
        assert frames == {"frames": [0], "spacing": [2.0, 1.0], "undo": 1, "redo": 1}
        assert measures(client, key)["areas"]["lv"][0] == area


class TestCarrying:
    @pytest.mark.parametrize(
        ("frame", "way", "reached"),
        [
            (2, "both", [0, 1, 2, 3, 4]),
            (2, "forward", [2, 3, 4]),
            (2, "backward", [0, 1, 2]),
            (3, "between", [2, 3, 4]),  # from 2 or 4: frames that were corrected
            (2, "between", [2, 3, 4]),
        ],
    )
    def test_goes_where_it_is_to(self, client, key, frame, way, reached) -> None:
        click(client, key, frame=2)
        if way == "between":
            click(client, key, frame=4)
        carry(client, key, frame, way=way)
        assert [k for k, labels in enumerate(maps(client, key)) if labels.any()] == reached

    def test_between_wants_two(self, client, key) -> None:
        click(client, key, frame=2)
        for frame in (1, 2, 3):
            answer = client.post(f"/api/open/{key}/carry/{frame}?way=between")
            refused(answer, 422, "not between two frames")
        refused(client.post(f"/api/open/{key}/carry/2?way=up"), 422)

    def test_corrected_frames_stay_and_lack_nothing(self, client, key) -> None:
        draw(client, key, frame=1)
        click(client, key, frame=3, points=[[12, 12]])
        before = maps(client, key)
        click(client, key, frame=0)
        click(client, key, frame=0, structure="la", points=[[40, 30]])
        carry(client, key)
        after = maps(client, key)
        for frame in (1, 3):
            np.testing.assert_array_equal(after[frame] == 1, before[frame] == 1)
            assert (after[frame] == 3).any()  # nobody had looked for the atrium there
        assert measures(client, key)["corrected"] == [0, 1, 3]
        # A film that is segmented anew leaves them, too.
        again = maps(client, key)
        carry(client, key)
        np.testing.assert_array_equal(maps(client, key), again)

    def test_what_was_carried_stays_where_it_is_stopped(self, start, film_file, sessions) -> None:
        client = start(films=film_file.parents[1], session=sessions)
        key = client.post("/api/films/0").json()["key"]
        click(client, key)
        session = sessions.made[0]
        session.go_on.clear()
        client.post(f"/api/open/{key}/carry/0")
        refused(client.post(f"/api/open/{key}/undo"), 409, "being segmented")
        refused(draw(client, key), 409, "being segmented")
        client.delete(f"/api/open/{key}/job")
        session.go_on.set()
        for _ in range(300):
            if client.get(f"/api/open/{key}/job").json()["state"] == "stopped":
                break
            time.sleep(0.02)
        kept = [k for k, labels in enumerate(maps(client, key)) if labels.any()]
        assert 0 < len(kept) < 5
        client.post(f"/api/open/{key}/undo")
        assert [k for k, labels in enumerate(maps(client, key)) if labels.any()] == [0]


class TestNumbers:
    def test_instants_that_are_set(self, client, key) -> None:
        click(client, key)
        carry(client, key)
        told = measures(client, key)
        assert [mark["frame"] for mark in told["marks"]] == [0, 4]
        path = f"/api/open/{key}/instants"
        assert client.put(path, json={"ed": 1, "es": 3}).status_code == 204
        found = measures(client, key)
        assert [mark["frame"] for mark in found["marks"]] == [1, 3]
        assert found["numbers"]["ED"] == "frame 2, set"
        assert found["instants"] == {"ed": 1, "es": 3}
        fraction = float(found["numbers"]["Ejection fraction"].removesuffix(" %"))
        assert fraction == pytest.approx(100 * (1 - (11 / 13) ** 3), abs=3)
        client.post(f"/api/open/{key}/undo")
        assert measures(client, key) == told | {"redo": 1}
        for wrong in (
            {"ed": 5},
            {"es": -1},
            {"ed": 1, "es": 1},
            {"ed": True},
            {"ed": "1"},
            {"x": 1},
        ):
            refused(client.put(path, json=wrong), 422)

    def test_a_frame_without_a_ventricle_is_no_instant(self, client, key) -> None:
        click(client, key)
        client.put(f"/api/open/{key}/instants", json={"ed": 3})
        assert measures(client, key)["numbers"] == {"ED": "frame 4, set; no EF: segment ED and ES"}

    @pytest.mark.parametrize(
        ("typed", "mm"), [({"spacing": [0.5, 0.25]}, (0.5, 0.25)), ({"depth_cm": 16}, (4, 4))]
    )
    def test_spacing_that_is_typed(self, start, tmp_path, sessions, typed, mm) -> None:
        client = start(session=sessions)
        picture = cv2.imencode(".png", np.zeros(SIZE, np.uint8))[1].tobytes()
        opened = client.post("/api/uploads", content=picture).json()
        key = opened["key"]
        assert (opened["spacing"], opened["spacing_known"]) == (None, False)
        click(client, key)
        pixels = measures(client, key)["areas"]["lv"][0]
        path = f"/api/open/{key}/spacing"
        assert client.put(path, json=typed).status_code == 204
        assert sessions.made[0].forgotten
        now = client.get(f"/api/open/{key}").json()
        assert now["spacing"] == list(mm)
        assert not any("no spacing" in note for note in now["notes"])
        found = measures(client, key)
        assert (found["unit"], found["areas"]["lv"][0]) == (
            "cm²",
            pytest.approx(pixels * mm[0] * mm[1] / 100),
        )
        (tmp_path / "masks.nii.gz").write_bytes(client.get(f"/api/open/{key}/masks.nii.gz").content)
        assert read_volume(tmp_path / "masks.nii.gz", label=True).spacing[:2] == pytest.approx(mm)
        assert client.put(path, json={}).status_code == 204
        assert measures(client, key)["unit"] == "px²"
        for wrong in (
            {"spacing": [0, 1]}, {"spacing": [1]}, {"spacing": ["1", "1"]}, {"depth_cm": 0},
            {"depth_cm": 1e9}, {"spacing": [1, 1], "depth_cm": 5}, {"x": 1},
        ):  # fmt: skip
            refused(client.put(path, json=wrong), 422)

    def test_spacing_of_the_file_stands(self, client, key) -> None:
        answer = client.put(f"/api/open/{key}/spacing", json={"spacing": [1.0, 1.0]})
        refused(answer, 422, "the film says its spacing")

    def test_flags_are_those_of_the_tool(self, client, key) -> None:
        click(client, key)
        carry(client, key)
        draw(client, key, frame=2, points=[[5, 5]])
        found = measures(client, key)
        rows = list(csv.DictReader(io.StringIO(client.get(f"/api/open/{key}/measures.csv").text)))
        assert "lv:components" in rows[2]["flags"]
        assert "left ventricular cavity: in several pieces" in found["flags"][2]
        assert [bool(flags) for flags in found["flags"]] == [bool(row["flags"]) for row in rows]
        assert [row["corrected"] for row in rows] == ["1", "0", "1", "0", "0"]

    def test_the_table_has_ef_and_volumes(self, client, key) -> None:
        click(client, key)
        carry(client, key)
        rows = list(csv.DictReader(io.StringIO(client.get(f"/api/open/{key}/measures.csv").text)))
        shown = measures(client, key)["numbers"]
        assert {row["method"] for row in rows} == {"single-plane 4CH"}
        assert f"{float(rows[0]['ef_percent']):.0f} %" == shown["Ejection fraction"]
        assert f"{float(rows[0]['edv_ml']):.0f} ml" == shown["EDV"]
        assert float(rows[4]["lv_volume_ml"]) == pytest.approx(float(rows[0]["esv_ml"]), rel=1e-4)
        assert rows[0]["study_method"] == "single-plane 4CH"

    def test_both_views_of_a_study_give_the_biplane_ef(self, start, film_file, tmp_path) -> None:
        """The same outlines in both views: what one view alone gives is the biplane value, too."""
        other = film_file.with_name("film_2CH.nii.gz")
        write_volume(other, moving_disc(5, SIZE), (2.0, 1.0))
        client = start(films=film_file.parents[1])
        alone = []
        for number in (0, 1):
            key = client.post(f"/api/films/{number}").json()["key"]
            click(client, key)
            carry(client, key)
            alone.append(measures(client, key))
        assert "Biplane EF" not in alone[0]["numbers"]
        numbers = alone[1]["numbers"]
        assert numbers["Biplane EF"] == numbers["Ejection fraction"]
        assert numbers["Biplane EDV"] == numbers["EDV"]
        assert "film_2CH with film_4CH" in alone[1]["method"]
        rows = list(csv.DictReader(io.StringIO(client.get(f"/api/open/{key}/measures.csv").text)))
        assert {row["study_method"] for row in rows} == {"biplane"}


def test_all_of_it_is_kept(start, film_file) -> None:
    client = start(films=film_file.parents[1])
    key = client.post("/api/films/0").json()["key"]
    click(client, key)
    carry(client, key)
    draw(client, key, frame=2)
    client.put(f"/api/open/{key}/instants", json={"ed": 1, "es": 3})
    before, labels = measures(client, key), maps(client, key)
    start.stop()
    client = start(films=film_file.parents[1])
    key = client.post("/api/films/0").json()["key"]
    np.testing.assert_array_equal(maps(client, key), labels)
    assert measures(client, key) == before | {"undo": 0}
