from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echozoo.evaluation.functional.disks import disks
from echozoo.evaluation.functional.ejection_fraction import ejection_fraction
from echozoo.studies.exams import FilmResult, find_exams, measure_exam

SPACING = (0.5, 0.5)


def mask(scale: float, width: float = 22) -> np.ndarray:
    rows, columns = np.indices((240, 160))
    return ((rows - 120) / 80 / scale) ** 2 + ((columns - 80) / width / scale / 2) ** 2 < 1


def film(place: str, view: str | None, scales=(1.0, 0.8), width: float = 22, **about) -> FilmResult:
    """A film's summary, of an ellipse of two sizes."""
    sections = {
        name: disks(mask(scale, width), SPACING)
        for name, scale in zip(("ED", "ES"), scales, strict=True)
    }
    summary = {
        "view": view,
        "frames": 20,
        "certainty": 0.9,
        "still": None,
        "withheld": None,
        "ef_percent": 50.0,
        "spacing_mm": SPACING,
        "disks": {
            name: {"length": one.length_mm, "diameters": one.diameters_mm.tolist()}
            for name, one in sections.items()
        },
    }
    return FilmResult(Path(place), summary | about)


def test_biplane_is_that_of_the_masks() -> None:
    (exam,) = find_exams([film("p/a_2CH", "2CH"), film("p/a_4CH", "4CH", (1, 0.7), 26)])
    found = measure_exam(exam)
    pairs = [(mask(1), mask(0.8)), (mask(1, 26), mask(0.7, 26))]
    wanted = ejection_fraction(*pairs, (SPACING, SPACING))
    assert (found["method"], exam.patient, exam.paired) == ("biplane", "a", "names")
    for key in ("edv_ml", "esv_ml", "ef_percent"):
        assert found[key] == pytest.approx(getattr(wanted, key))
    assert found["sources"]["2CH"] == {"ED": "a_2CH", "ES": "a_2CH"}


def test_by_patient_and_study_then_by_folder() -> None:
    dicom = dict(patient="7", study="1.2")
    films = [
        film("x/IM1", "2CH", **dicom),
        film("y/IM2", "4CH", **dicom),
        film("y/IM3", "4CH", patient="7", study="1.3"),
        film("z/one", "2CH"),
        film("z/other", "4CH"),
        film("z/third", None, ef_percent=None, withheld="the view is not known"),
    ]
    exams = find_exams(films)
    assert [len(exam.films) for exam in exams] == [2, 1, 3]
    methods = [measure_exam(exam)["method"] for exam in exams]
    assert methods == ["biplane", "single-plane 4CH", "biplane"]
    assert [exam.paired for exam in exams] == [*["PatientID and StudyInstanceUID"] * 2, "folder"]
    assert exams[0].folder == Path()


def test_the_most_certain_film_of_a_view_is_taken_and_the_others_are_named() -> None:
    films = [
        film("p/a", "4CH", (1, 0.9), certainty=0.5),
        film("p/b", "4CH", (1, 0.8), certainty=0.8),
        film("p/c", "4CH", (1, 0.5), certainty=0.9, ef_percent=None, withheld="impossible"),
    ]
    (exam,) = find_exams(films)
    found = measure_exam(exam)
    assert found["sources"] == {"4CH": {"ED": "b", "ES": "b"}}
    assert (found["not_chosen"], found["method"]) == (["a"], "single-plane 4CH")
    assert found["certainty"] == 0.8
    assert found["ef_percent"] == pytest.approx(100 * (1 - 0.8**3), abs=1)


def test_stills_say_their_instants() -> None:
    films = [
        film(f"p/a_{view}_{name}", view, (scale, scale), frames=1, ef_percent=None, still=name)
        for view in ("2CH", "4CH")
        for name, scale in (("ED", 1.0), ("ES", 0.8))
    ]
    (exam,) = find_exams(films)
    found = measure_exam(exam)
    assert found["method"] == "biplane"
    assert found["sources"]["2CH"] == {"ED": "a_2CH_ED", "ES": "a_2CH_ES"}


def test_nothing_impossible_and_no_ml_without_mm() -> None:
    impossible = film("p/a_4CH", "4CH", (0.8, 1.0))
    found = measure_exam(find_exams([impossible])[0])
    assert found["ef_percent"] is None
    assert "impossible" in found["withheld"]
    pixels = [film("p/a_2CH", "2CH", spacing_mm=None), film("p/a_4CH", "4CH", spacing_mm=None)]
    found = measure_exam(find_exams(pixels)[0])
    assert (found["edv_ml"], found["method"]) == (None, "single-plane 2CH")
    assert len(found["not_chosen"]) == 1
    nothing = film("p/a_4CH", None, ef_percent=None, withheld="the view is not known")
    assert measure_exam(find_exams([nothing])[0])["withheld"] == "the view is not known"
