"""What `pip install` of this folder brings: all that is needed, and a model that works anywhere."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="no tomllib before Python 3.11")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Packages that are imported under another name than they are installed by.
INSTALLED_BY = {
    "PIL": "pillow", "cv2": "opencv-python", "mmcv": "onedl-mmcv", "mmengine": "onedl-mmengine",
    "mmseg": "onedl-mmsegmentation", "segment_anything": "segment-anything", "gdcm": "python-gdcm",
    "starlette": "fastapi", "pydantic": "fastapi", "markupsafe": "jinja2",
}  # fmt: skip
SCRIPT = """
import numpy as np, echozoo
from echozoo.apis import EchoInferencer
from echozoo.engine.scales import load_scaled
from echozoo.tables.definition import read_definition
from echozoo.zoo import TABLES, find_config
film = np.random.default_rng(0).integers(0, 255, (2, 64, 64), np.uint8)
found = EchoInferencer("efficient_unet", device="cpu", progress=False)(film)
print(echozoo.__file__, found.results[0].labels.read().shape)
table = read_definition(find_config("tra_2", TABLES))
print(load_scaled("samus_tra", "tiny").filename, len(table.rows))
"""


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[; ]", line)[0].lower() for line in requirements}


def test_requirements_are_those_of_the_package_and_of_the_tests():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert set(PROJECT["dependencies"]) <= set(lines)


def test_what_passed_last_is_what_is_required():
    """What is required is in constraints.txt, in a version that is allowed."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines if "==" in line)
    needed = [*PROJECT["dependencies"]]
    for extra in ("dicom", "dicom-objects", "video", "export", "hmc_qu", "serve", "docs", "test"):
        needed += PROJECT["optional-dependencies"][extra]
    for line in needed:
        wanted = Requirement(line)
        if wanted.marker is None:
            assert wanted.specifier.contains(pinned[wanted.name.lower()]), line


def test_all_means_all():
    extras = PROJECT["optional-dependencies"]
    (line,) = extras["all"]
    assert Requirement(line).extras == set(extras) - {"all", "docs"}


def test_all_that_is_imported_is_required():
    extras = PROJECT["optional-dependencies"].values()
    known = names(PROJECT["dependencies"]).union(*map(names, extras))
    imported = set()
    for file in (ROOT / "echozoo").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    imported -= {*sys.stdlib_module_names, "echozoo"}
    assert {INSTALLED_BY.get(name, name).lower() for name in imported} - known == set()


def files_of(folder: Path) -> set[str]:
    """Names of all files below a folder, but for what Python has compiled."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if "__pycache__" not in path.parts}


@pytest.mark.slow
def test_a_wheel_holds_all_that_films_need(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = tmp_path / "source"  # a build leaves things behind
    shutil.copytree(ROOT / "echozoo", source / "echozoo")
    shutil.copytree(ROOT / "configs", source / "configs")
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, source)
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run([*pip, *wheel], check=True)
    (file,) = tmp_path.glob("*.whl")
    place = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(place), str(file)], check=True)
    assert files_of(place / "echozoo") == files_of(ROOT / "echozoo") | {
        f"configs/{name}" for name in files_of(ROOT / "configs")
    }
    environment = {**os.environ, "PYTHONPATH": str(place)}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    inferred, config = run.stdout.splitlines()[-2:]
    assert inferred == f"{place / 'echozoo/__init__.py'} (2, 64, 64)"
    assert config == f"{place / 'echozoo/configs/samus_tra.py'} 5"
    script = (place / "bin/echozoo").read_text()
    assert "from echozoo.cli import main" in script
