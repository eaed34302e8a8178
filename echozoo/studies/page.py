"""A page over all films of a run: pictures, curves, numbers, flags; one file, nothing loaded."""

from __future__ import annotations

import base64
import contextlib
import csv
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from echozoo.studies.exams import FilmResult
from echozoo.studies.tables import write_text

PAGE_FILE, THUMBNAIL_FILE = "index.html", "thumbnail.jpg"
_CURVE = (150, 44)  # pixels

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem; color: #1c1c1e; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0;
  border-bottom: 1px solid #ddd }
th { cursor: pointer; white-space: nowrap; user-select: none }
th[aria-sort=ascending]::after { content: " ↑" } th[aria-sort=descending]::after { content: " ↓" }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td.why { color: #a33; max-width: 22rem } td.notes { color: #666; font-size: 12px; max-width: 24rem }
img { width: 120px; display: block } polyline { fill: none; stroke: #d55e00; stroke-width: 1.5 }
circle { fill: #1c1c1e } .bar { color: #666 }
@media (prefers-color-scheme: dark) {
  body { background: #121214; color: #ebebeb } th, td { border-color: #333 }
  td.why { color: #f88 } td.notes, .bar { color: #aaa } circle { fill: #ebebeb } }
"""
_SCRIPT = """
for (const th of document.querySelectorAll("th")) th.onclick = () => {
  const table = th.closest("table"), column = th.cellIndex;
  const down = th.getAttribute("aria-sort") === "ascending";
  for (const other of th.parentNode.children) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const x = key(a), y = key(b);
    if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
    const order = x !== "" && !isNaN(x) && !isNaN(y) ? x - y
      : x.localeCompare(y, undefined, {numeric: true});
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows);
};
"""


def write_page(
    out: Path,
    films: Sequence[FilmResult],
    studies: Mapping[str, Mapping[str, Any]],
    left_out: Sequence[tuple[str, str]],
    failed: Sequence[tuple[str, str]],
) -> None:
    """Write ``index.html``; takes what `echozoo.studies.tables.write_tables` does.

    Raises:
        StorageError: It cannot be written.
    """
    counts = f"{len(films)} done, {len(left_out)} left out, {len(failed)} failed"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width"><title>echozoo: films</title>',
        f"<style>{_STYLE}</style><h1>{len(films) + len(left_out) + len(failed)} files</h1>",
        f"<p class=bar>{counts}. Frames count from 0. Research software: not for diagnosis. Click"
        " on a heading to sort.</p>",
        _table(
            "Exams",
            ("exam", "patient", "EF %", "method", "EDV ml", "ESV ml", "certainty", "why not", "of"),
            (_exam_cells(*item) for item in studies.items()),
        ),
        _table(
            "Films",
            (
                *("", "film", "view", "EF %", "EDV ml", "ESV ml", "certainty", "frames", "flagged"),
                *("LV area", "why not", "notes"),
            ),
            (_film_cells(out, film) for film in films),
        ),
        _table("Left out", ("file", "reason"), (map(_text, one) for one in left_out)),
        _table("Failed", ("file", "reason"), (map(_text, one) for one in failed)),
        f"<script>{_SCRIPT}</script></html>\n",
    ]
    write_text(out / PAGE_FILE, "\n".join(parts))


def _table(title: str, headings: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    if not body:
        return ""
    head = "".join(f"<th>{escape(one)}</th>" for one in headings)
    return f"<h2>{title}</h2><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _exam_cells(place: str, study: Mapping[str, Any]) -> Iterable[str]:
    yield _text(place)
    yield _text(study["patient"])
    yield _number(study["ef_percent"])
    yield _text(study["method"])
    yield _number(study["edv_ml"])
    yield _number(study["esv_ml"])
    yield _number(study["certainty"], 2)
    yield _text(study["withheld"], "why")
    sources = (name for one in study.get("sources", {}).values() for name in one.values())
    yield _text(", ".join(dict.fromkeys(sources)))


def _film_cells(out: Path, film: FilmResult) -> Iterable[str]:
    summary = film.summary
    yield f"<td>{_picture(out / film.place / THUMBNAIL_FILE)}</td>"
    yield _text(film.name)
    yield _text(summary["view"])
    yield _number(summary["ef_percent"])
    yield _number(summary["edv_ml"])
    yield _number(summary["esv_ml"])
    yield _number(summary["certainty"], 2)
    yield _number(summary["frames"])
    yield _number(len(summary["flagged_frames"]))
    yield f"<td>{_curve(out / film.place / 'frames.csv')}</td>"
    yield _text(summary["withheld"], "why")
    yield _text("; ".join(summary["notes"]), "notes")


def _text(value: Any, kind: str = "") -> str:
    shown = escape(str(value or "").encode("utf-8", "backslashreplace").decode())
    return f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>"


def _number(value: float | None, places: int = 0) -> str:
    if value is None:
        return "<td class=n></td>"
    return f'<td class=n data-key="{value:.6g}">{value:.{places}f}</td>'


def _picture(path: Path) -> str:
    with contextlib.suppress(OSError):
        data = base64.b64encode(path.read_bytes()).decode()
        return f'<img alt="" loading=lazy src="data:image/jpeg;base64,{data}">'
    return ""


def _curve(path: Path) -> str:
    """The area of the left ventricle over the frames, with points at ED and ES, as SVG."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        column = next(name for name in rows[0] if name.startswith("lv_area_"))
        areas = [float(row[column] or 0) for row in rows]
        if len(areas) > 1 and max(areas) > 0:
            return _svg(areas, [i for i, row in enumerate(rows) if row["instant"]])
    return ""


def _svg(areas: Sequence[float], marks: Sequence[int]) -> str:
    width, height = _CURVE
    step, top = (width - 6) / (len(areas) - 1), max(areas)
    points = [(3 + i * step, height - 3 - (height - 6) * a / top) for i, a in enumerate(areas)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{points[i][0]:.1f}" cy="{points[i][1]:.1f}" r="2.5"/>' for i in marks
    )
    return f'<svg width="{width}" height="{height}"><polyline points="{line}"/>{dots}</svg>'
