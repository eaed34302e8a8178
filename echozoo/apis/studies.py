"""Both views of a patient together: ejection fraction by the biplane method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from echozoo.apis.measuring import Measures
from echozoo.evaluation.functional.disks import Disks
from echozoo.evaluation.functional.ejection_fraction import ejection_fraction_of_disks

_STUDY = re.compile(
    r"(?P<patient>.+?)[_ -]?(?P<view>2CH|4CH)(?:[_ -](?P<rest>.*))?$", re.IGNORECASE
)


def biplane(films: Sequence[tuple[Path, str, Measures]]) -> dict[Path, dict]:
    """Ejection fraction from both views of a patient, where a folder has them.

    Films are named as in CAMUS: ``<patient>_2CH…``, ``<patient>_4CH…``. A view is a film whose ED
    and ES were found, or two stills ``…_ED`` and ``…_ES``.

    Args:
        films: The folder for results that a film's folder is in, its name and its measures.

    Returns:
        A summary for each patient with both views (or one view in stills), by the path that it
        is to be written to.
    """
    views: dict[tuple[Path, str], dict[str, dict[str, tuple[Disks, str]]]] = {}
    for folder, name, measures in films:
        found = _STUDY.fullmatch(name)
        if not found or measures.ed_disks is None:
            continue
        rest = (found["rest"] or "").upper()
        instants = views.setdefault((folder, found["patient"]), {}).setdefault(
            found["view"].upper(), {}
        )
        if len(measures.areas) > 1:
            instants.setdefault("ED", (measures.ed_disks, name))
            instants.setdefault("ES", (measures.es_disks, name))
        elif rest in ("ED", "ES"):
            # A still that says what it is wins over what was found in a film.
            instants[rest] = (measures.ed_disks, name)
    studies = {}
    for (folder, patient), by_view in views.items():
        whole = {view: one for view, one in by_view.items() if {"ED", "ES"} <= set(one)}
        stills = any(one["ED"][1] != one["ES"][1] for one in whole.values())
        if len(whole) == 2 or stills:
            studies[folder / f"{patient}_study.json"] = _study(patient, whole)
    return studies


def _study(patient: str, views: dict[str, dict[str, tuple[Disks, str]]]) -> dict:
    pairs = {view: (one["ED"][0], one["ES"][0]) for view, one in views.items()}
    ef = ejection_fraction_of_disks(pairs.get("2CH"), pairs.get("4CH"))
    return {
        "patient": patient,
        "method": ef.method,
        "step": ef.step,
        "edv_ml": ef.edv_ml,
        "esv_ml": ef.esv_ml,
        "ef_percent": ef.ef_percent,
        "sources": {
            view: {instant: name for instant, (_, name) in one.items()}
            for view, one in views.items()
        },
    }
