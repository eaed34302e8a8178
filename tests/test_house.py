"""The house stands on its floors: nothing imports upwards, and no two files import each other."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the ground up; what shares a floor does not import each other.
FLOORS = (
    ("command_line", "errors", "lazy", "notices", "options")
    + ("structures", "upstream", "weights", "whole_files", "zoo"),
    ("compilers", "hub", "published_files", "registry", "run_folder"),
    ("films",),
    ("datasets", "phantom"),
    ("postprocessing",),
    ("evaluation",),
    ("models",),
    ("visualization",),
    ("engine",),
    ("studies",),
    ("apis", "tables"),
    ("export",),
    ("serve",),
    ("cli",),
    ("__main__",),
)
LEVEL = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted((ROOT / "echozoo").rglob("*.py"))
# What only the readers and writers of films may touch.
FORMATS = {"SimpleITK", "pydicom", "av"}


@cache
def imported(file: Path) -> frozenset[str]:
    """The modules that a file names in an import, of TYPE_CHECKING and of functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from echozoo.films import io` names a module, `from echozoo.films.io import x` not.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


def room_of(module: str) -> str | None:
    """The file or folder right below the package that a module is in."""
    parts = module.split(".")
    return parts[1] if parts[0] == "echozoo" and len(parts) > 1 else None


def test_every_room_has_a_floor():
    rooms = {room_of(module) for module in MODULES} - {None}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("room", LEVEL)
def test_nothing_imports_upwards(room):
    found = [
        f"{module} imports {name}"
        for module, file in MODULES.items()
        if room_of(module) == room
        for name in sorted(imported(file) & set(MODULES))
        if (other := room_of(name)) not in (None, room) and LEVEL[other] >= LEVEL[room]
    ]
    assert found == []


def test_no_circles():
    """Depth first: a file that is reached from itself."""
    arrows = {module: imported(file) & set(MODULES) for module, file in MODULES.items()}
    done: set[str] = set()

    def follow(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(arrows[module]):
                # A package's face is imported with each of its files; it is no part of a circle.
                if name != module and MODULES[name].name != "__init__.py":
                    follow(name, (*path, module))
            done.add(module)

    for module in MODULES:
        follow(module, ())


def test_formats_are_read_in_films_alone():
    users = {
        module: sorted(FORMATS & {name.split(".")[0] for name in imported(file)})
        for module, file in MODULES.items()
    }
    outside = {module for module, found in users.items() if found and room_of(module) != "films"}
    assert outside <= {"echozoo.apis.writers"}, "it writes the overlay films"


def test_no_video_is_opened_past_films():
    """OpenCV reads what the readers refuse, and without its time: nobody else opens a video."""
    tools = (ROOT / "tools").glob("*.py")
    others = [file for file in FILES if room_of(module_of(file)) != "films"]
    assert [file.name for file in (*others, *tools) if "VideoCapture" in file.read_text()] == []


def test_measures_know_no_torch():
    folder = ROOT / "echozoo/evaluation/functional"
    known = {name.split(".")[0] for file in folder.glob("*.py") for name in imported(file)}
    assert not known & {"torch", "mmengine", "mmseg", "mmcv"}


def test_the_package_does_not_import_the_tools():
    assert not any(name.split(".")[0] == "tools" for file in FILES for name in imported(file))


def test_nothing_is_newer_than_the_oldest_python():
    """Names that came with later versions; `requires-python` of pyproject.toml says which."""
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
    options = (f"-t={oldest}-", "--violations", "--eval-annotations", "--no-tips")
    folders = ("echozoo", "tools", "configs", "tests")
    done = subprocess.run(
        [Path(sys.executable).with_name("vermin"), *options, *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_page_about_the_house_shows_its_floors():
    page = (ROOT / "docs/how_it_works.md").read_text()
    drawing = page.split("```house\n")[1].split("```")[0].strip().splitlines()
    shown = [re.split(r"\s{2,}", line)[0].split(", ") for line in reversed(drawing)]
    assert [sorted(rooms) for rooms in shown] == [sorted(rooms) for rooms in FLOORS]
    for name in re.findall(r"`([a-z_/]+(?:\.py|/))`", page):
        places = [ROOT / name, ROOT / "echozoo" / name]
        assert any(p.exists() for p in places) or list((ROOT / "echozoo").rglob(name)), name
