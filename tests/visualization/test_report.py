from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echozoo.errors import DataError
from echozoo.evaluation.functional import summarise
from echozoo.evaluation.report import write_csv, write_json
from echozoo.visualization.report import facts, failures, groups, write_report
from echozoo.visualization.report_files import plain_values, read_run

NAN = float("nan")
METRICS = ("dice", "iou", "hd_mm", "hd95_mm", "assd_mm", "hd_px", "dice_with_empty_as_0")
CONFIG = """
load_from = 'work_dirs/x/best.pth'
model = dict(
    backbone=dict(type='SAMUS', temporal=dict(type='TRA')),
    postprocessing=[dict(type='LargestComponent', structures=['lv', 'la'])],
    type='PromptableSegmentor')
test_dataloader = dict(dataset=dict(data_root='/data', subset='test', views=('2CH', '4CH')))
"""


def row(number: int, structure: str, status: str = "scored", flags=(), **changes) -> dict:
    scored = status == "scored"
    view = ("2CH", "4CH")[number % 2]
    numbers = dict.fromkeys(METRICS, 0.8 + 0.01 * number if scored else NAN)
    numbers["dice_with_empty_as_0"] = (
        numbers["dice"] if scored else (0.0 if status == "empty" else NAN)
    )
    return {
        "patient": f"patient{number:04d}",
        "view": view,
        "sequence": f"patient{number:04d}_{view}",
        "frame": 0,
        "instant": "ED",
        "quality": "Good",
        "structure": structure,
        "status": status,
        **numbers,
        "flags": list(flags),
    } | changes


def rows() -> list[dict]:
    found = [row(p, name) for p in range(6) for name in ("lv", "myo", "la")]
    found[2] = row(0, "la", "empty", flags=["la:empty"])
    found[3] = row(1, "lv", flags=["lv:components", "lv:holes"])
    found[5] = row(1, "la", "absent")
    return found


def write_run(folder: Path, cases: list[dict] | None = None, name: str | None = None) -> Path:
    cases = rows() if cases is None else cases
    structures = list(dict.fromkeys(case["structure"] for case in cases))
    write_csv(folder, cases)
    summaries = summarise(cases, METRICS, structures, n_resamples=20)
    about = dict(sees="clip", seed=0, train_command="train.py <x>", checkpoint_sha256=None)
    write_json(folder, summaries, name, {"n_resamples": 20, "seed": 0}, about=about)
    return folder


def write_extras(folder: Path) -> None:
    """Pictures, curves, a config, and agreement of ejection fractions."""
    (folder / "cases").mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (40, 90, 3), np.uint8)
    Image.fromarray(picture).save(folder / "cases" / "worst_1.png")
    case = {"kind": "worst", "file": "worst_1.png", "patient": "patient0001", "view": "4CH"}
    case |= {"sequence": "patient0001_4CH", "frame": 0, "instant": "ED", "quality": "Poor"}
    case |= {"mean_dice": 0.5, "dice": {"lv": 0.4, "la": 0.6}}
    (folder / "cases" / "cases.json").write_text(json.dumps([case]))
    scalars = folder / "20250101_000000" / "vis_data" / "scalars.json"
    scalars.parent.mkdir(parents=True)
    lines = [{"loss": 1 / i, "lr": 0.1, "epoch": i, "iter": i, "step": i} for i in (1, 2, 3)]
    lines.append({"camus/dice": 0.8, "camus/lv/dice": 0.9, "step": 3})
    scalars.write_text("\n".join(map(json.dumps, lines)))
    (folder / "x_config.py").write_text(CONFIG)
    interval = {"value": 5.25, "low": 4.0, "high": 6.5}
    names = ("pearson_r", "bias", "sd", "loa_low", "loa_high", "mae")
    agreement = {"num_pairs": 3} | dict.fromkeys(names, interval)
    nothing = {"num_pairs": 0} | dict.fromkeys(names, {"value": None, "low": None, "high": None})
    masks = {"ef_pp": agreement, "edv_ml": agreement, "esv_ml": nothing}
    ef = {"definitions": {"ef": "in percent"}, "step": "per_phase", "patients": {"biplane": 3}}
    ef["patients"] |= {"num_patients": 4, "num_without_ef": 1}
    ef["agreement"] = {"reference_masks": masks, "info": dict.fromkeys(masks, nothing)}
    (folder / "ef.json").write_text(json.dumps(ef))
    (folder / "temporal.json").write_text(json.dumps(temporal()))
    with open(folder / "ef.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("patient", "method", "step", "ef_percent", "reference_ef_percent"))
        for i in range(3):
            writer.writerow((f"p{i}", "biplane", "per_phase", 50 + i, 52 - i))
        writer.writerow(("p3", "biplane", "per_phase", "", 40))


def temporal(**changes) -> dict:
    """What the temporal metric leaves of one attribute in 40 frames of 3 films."""
    area = {"inconsistent_frames": 7, "failed_frames": 2}
    found = {"frames": 40, "sequences": 3, "inconsistent_frames": 8, "inconsistent_sequences": 2}
    found |= {"failed_frames": 2, "error_to_threshold": 0.61, "attributes": {"lv_area_cm2": area}}
    floor = found | {"inconsistent_frames": 0, "inconsistent_sequences": 0}
    floor |= {"attributes": {"lv_area_cm2": dict.fromkeys(area, 0)}}
    interval = {"low": 0.125, "high": 0.25}
    names = ("inconsistent_frames_ratio", "inconsistent_sequences_ratio")
    limit = {"min": 10, "max": 50, "threshold": 0.016}
    limits = {"name": "camus", "attributes": {"lv_area_cm2": limit}, "provenance": "as published"}
    return {
        "definitions": {"s, e": "scaled"},
        "limits": limits,
        "unjudged_sequences": {"of unknown spacing": 1},
        "prediction": found,
        "reference": floor,
        "intervals": {names[0]: interval, names[1]: {"low": None, "high": None}},
    } | changes


class Page(HTMLParser):
    """What a browser would fetch or run, and the words."""

    void = {"meta", "img", "br", "link", "input"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources, self.tags, self.handlers, self.open, self.words = [], set(), [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.void:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "xlink:href"):
                self.sources.append(value)
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(path: Path) -> tuple[str, Page]:
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert not page.open
    return html, page


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[str, Page]:
    folder = write_run(tmp_path_factory.mktemp("run"), name="configs/samus_tra.py")
    write_extras(folder)
    path = write_report(folder)
    assert path == folder / "report.html"
    return read(path)


def test_a_whole_run(whole):
    html, page = whole
    assert "<title>samus_tra " in html
    for words in (
        "6 patients, 6 images",
        "1 of 17 structures were not found",
        "2 of 6 images with a failure",
        "PromptableSegmentor: SAMUS with TRA",
        "LargestComponent (structures=lv/la)",
        "work_dirs/x/best.pth",
        "subset test, views 2CH/4CH",
        "left ventricular cavity: in several pieces",
        "Apical four-chamber (4CH)",
        "5.2 points",
        "Against the reference masks",
        "biplane: 3 patients. 1 have no EF",
        "8 of 40 20.0 12.5 to 25.0 2 0 of 40",
        "2 of 3 66.7 0 of 3",
        "lv area, frames 0.64 cm2 7 17.5 2 0",
        "Limits camus: as published.",
        "1 films were not judged: of unknown spacing.",
        "1 structures are absent from the reference",
        "mean Dice 0.500 (LV 0.400, LA 0.600)",
        "image quality Poor",
        "torch",
    ):
        assert words in page.text, words
    assert page.text.count("EDV, ml") == 1
    assert "ESV, ml" not in page.text
    assert "Info files" not in page.text
    # Dice and HD95 of three structures, two curves, EF.
    assert html.count("<svg") == 3 + 3 + 2 + 1


@pytest.mark.slow
def test_it_fits_a_small_screen(tmp_path, browser):
    """Every table of a report is whole on a screen of 1280 pixels: nothing is scrolled to."""
    path = write_report(write_run(tmp_path))
    beyond = """[...document.querySelectorAll("body *")].filter(
        e => e.getBoundingClientRect().right > document.documentElement.clientWidth
    ).map(e => e.tagName + " " + e.textContent.trim().slice(0, 40))"""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    assert page.evaluate("document.querySelectorAll('tbody tr.mean').length") >= 1
    assert page.evaluate(beyond) == []
    page.close()


def test_nothing_is_fetched_or_run(whole):
    html, page = whole
    assert page.sources
    for source in page.sources:
        assert source.startswith(("#", "data:image/jpeg;base64,")), source[:80]
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert not page.handlers
    assert "@import" not in html
    assert not re.search(r"https?:", html)
    assert all(found.startswith("#") for found in re.findall(r"url\((.*?)\)", html))
    assert "default-src 'none'" in html
    assert {source for source in page.sources if source.startswith("#")} >= {"#results"}
    for anchor in (s for s in page.sources if re.fullmatch(r"#[a-z]+", s)):
        assert f'id="{anchor[1:]}"' in html


HOSTILE = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>$x_{$"


def test_hostile_names_are_words(tmp_path):
    named = {"sequence": HOSTILE, "patient": HOSTILE, "instant": HOSTILE, "quality": HOSTILE}
    cases = [row(p, HOSTILE, flags=[f"{HOSTILE.split()[0]}:holes"], **named) for p in (0, 1)]
    cases += [row(2, "lv")]
    write_run(tmp_path, cases, name=f"{HOSTILE}.py")
    write_extras(tmp_path)
    content = json.loads((tmp_path / "cases/cases.json").read_text())
    keys = ("patient", "view", "sequence", "instant", "quality")
    content[0] |= dict.fromkeys(keys, HOSTILE)
    content[0]["dice"] = {HOSTILE: 0.5}
    content.append(content[0] | {"file": "../../x_config.py"})
    (tmp_path / "cases/cases.json").write_text(json.dumps(content))
    (tmp_path / "x_config.py").write_text(f"load_from = {HOSTILE!r}\n</pre>{HOSTILE}")
    scalars = next(tmp_path.rglob("scalars.json"))
    scalars.write_text(json.dumps({f"loss_{HOSTILE}": 1.0, "loss_b": 1, "iter": 1, "step": 1}))
    results = json.loads((tmp_path / "results.json").read_text())
    results |= {"command": HOSTILE, "date": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    results["definitions"] = {HOSTILE: HOSTILE}
    (tmp_path / "results.json").write_text(json.dumps(results))
    html, page = read(write_report(tmp_path))
    assert not page.tags & {"script"}
    assert not page.handlers
    assert all(source.startswith(("#", "data:image/jpeg")) for source in page.sources)
    assert html.count("<img") == 1
    assert page.text.count("alert(1)") > 10


def test_images_whose_masks_were_given_are_said(tmp_path):
    write_run(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["given_frames"] == 0
    assert "masks given" not in read(write_report(tmp_path))[1].text
    (tmp_path / "results.json").write_text(json.dumps(results | {"given_frames": 7}))
    _, page = read(write_report(tmp_path))
    assert "7 images had their masks given to the model and are in no number." in page.text


def test_the_least_that_there_can_be(tmp_path):
    write_run(tmp_path, [row(0, "lv", hd_mm=NAN, hd95_mm=NAN, assd_mm=NAN)])
    (tmp_path / "results.csv").unlink()
    _, page = read(write_report(tmp_path, tmp_path / "new" / "page.html"))
    assert "There is no results.csv" in page.text
    write_run(tmp_path, [row(0, "lv", hd_mm=NAN, hd95_mm=NAN, assd_mm=NAN)])
    html, page = read(write_report(tmp_path))
    assert "None: every structure was found" in page.text
    assert "unknown spacing" in page.text
    assert "mm</b>" not in html
    assert "From frame to frame" not in html


def test_stills_have_no_counts_from_frame_to_frame(tmp_path):
    write_run(tmp_path)
    nothing = {"frames": 0, "sequences": 0, "inconsistent_frames": None, "attributes": {}}
    content = temporal(prediction=nothing, reference=nothing)
    (tmp_path / "temporal.json").write_text(json.dumps(content))
    _, page = read(write_report(tmp_path))
    assert "From frame to frame 1 films were not judged: of unknown spacing." in page.text
    assert "Temporal consistency" not in page.text


def test_without_distances(tmp_path):
    cases = rows()
    summaries = summarise(cases, ("dice", "iou", "dice_with_empty_as_0"), ("lv", "myo", "la"), 10)
    write_csv(tmp_path, [{k: v for k, v in c.items() if "mm" not in k} for c in cases])
    write_json(tmp_path, summaries, None, {})
    _, page = read(write_report(tmp_path))
    assert "IoU ↑" in page.text
    assert "HD95 ↓" not in page.text


def test_failures_begin_with_the_worst():
    read_rows = [case | {"flags": " ".join(case["flags"])} for case in rows()]
    found = failures(read_rows)
    assert [image["row"]["sequence"] for image in found] == ["patient0000_2CH", "patient0001_4CH"]
    assert found[0]["dice"] == pytest.approx(1.6 / 3)
    # Said once, though it is flagged too.
    assert found[0]["reasons"] == [("la", "not found: the prediction is empty")]
    assert [name for name, _ in found[1]["reasons"]] == ["lv", "lv"]


def test_groups_have_names_for_people(tmp_path):
    write_run(tmp_path)
    labels = [label for label, _ in groups(read_run(tmp_path).results["summaries"])]
    assert labels[:2] == ["All images", "Apical two-chamber (2CH)"]
    assert "End diastole (ED), apical four-chamber (4CH)".casefold() in map(str.casefold, labels)


def test_a_config_is_read_and_not_run(tmp_path):
    write_run(tmp_path)
    trap = tmp_path / "ran"
    text = f"import os\nx = open({str(trap)!r}, 'w')\ny = dict(__import__('os'))\n"
    text += "model = dict(type='A', n=(1, -2))"
    (tmp_path / "config.py").write_text(text)
    assert plain_values(text) == {"model": {"type": "A", "n": [1, -2]}}
    assert ("Model", "A") in facts(read_run(tmp_path))
    assert plain_values("model = dict(") == {}
    assert not trap.exists()


def test_says_what_the_model_sees_and_how_it_was_trained(tmp_path):
    write_run(tmp_path)
    known = {"Sees": "all frames of a clip together", "Seed": "0", "Trained by": "train.py <x>"}
    found = dict(facts(read_run(tmp_path)))
    assert known.items() <= found.items()
    assert "Its SHA-256" not in found
    assert "train.py &lt;x&gt;" in write_report(tmp_path).read_text()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", None, "no results.json here; run echozoo test"),
        ("results.json", "{", "results.json: cannot be read"),
        ("results.json", "[]", "holds a list, wanted a dict"),
        ("results.json", "{}", "no summaries"),
        ("cases/cases.json", "oh", "cases.json: cannot be read"),
        ("cases/worst_1.png", "oh", "worst_1.png: no picture"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, text, message):
    write_run(tmp_path)
    write_extras(tmp_path)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)
