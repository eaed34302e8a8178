"""What a run leaves beside its films: exams, tables over all, a page to look at."""

from __future__ import annotations

import json
from pathlib import Path

from echozoo.apis import writers
from echozoo.apis.as_camus import write_as_camus
from echozoo.apis.outcomes import Inference
from echozoo.apis.sources import SUMMARY_FILE
from echozoo.errors import DataError, one_line
from echozoo.films.dicom_objects import write_report
from echozoo.studies.exams import Exam, FilmResult, find_exams, measure_exam
from echozoo.studies.page import write_page
from echozoo.studies.tables import write_tables


def write_overview(
    done: Inference, out: Path, dicom_sr: bool = False, as_camus: bool = False
) -> None:
    """Write a JSON for each exam with an ejection fraction, the tables and the page.

    All is taken from the films' ``summary.json``, so that it does not matter which run made them.

    Args:
        done: What became of the films; gets ``studies``, and a failure where a file cannot be
            written.
        out: The folder.
        as_camus: Whether exams are written in CAMUS's layout too.
        dicom_sr: Whether exams of DICOM files get a DICOM report too.
    """
    films = [
        FilmResult(
            one.folder.relative_to(out), json.loads((one.folder / SUMMARY_FILE).read_bytes())
        )
        for one in done.results
    ]
    studies: dict[str, dict] = {}
    try:
        exams = find_exams(films)
        for exam in exams:
            place = _place(exam, studies)
            studies[place] = measure_exam(exam)
            if studies[place]["ef_percent"] is not None:
                path = out / f"{place}_study.json"
                writers.write_json(path, studies[place])
                done.studies[path] = studies[place]
                if dicom_sr:
                    _write_report(path.with_suffix(".sr.dcm"), exam, studies[place])
        left_out = [*done.no_films, *done.left_out.files]
        write_tables(out, films, studies, left_out, done.failures)
        if as_camus:
            write_as_camus(out, exams)
        write_page(out, films, studies, left_out, done.failures)
    except DataError as error:
        done.failures.append((out.name, one_line(error)))


def _write_report(path: Path, exam: Exam, study: dict) -> None:
    """A DICOM report of an exam, where all films that were measured are DICOM files."""
    by_name = {film.place.name: film.summary for film in exam.films}
    chosen = {name for one in study["sources"].values() for name in one.values()}
    films = [by_name[name] for name in sorted(chosen)]
    if all(film["study"] for film in films):
        numbers = {key[:-3].upper(): study[key] for key in ("edv_ml", "esv_ml") if study[key]}
        numbers["EF"] = study["ef_percent"]
        model = Path(films[0]["model"]).stem
        files = [Path(film["file"]) for film in films]
        write_report(path, files, numbers, study["method"], model, films[0]["echozoo"])


def _place(exam: Exam, taken: dict[str, dict]) -> str:
    """The place of an exam's file, without its end; numbered where a patient has several."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in exam.patient)
    name, number = (exam.folder / safe).as_posix(), 2
    while name in taken:
        name, number = (exam.folder / f"{safe}_{number}").as_posix(), number + 1
    return name
