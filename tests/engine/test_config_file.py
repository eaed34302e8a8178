"""Reading a config lets in what its custom_imports name, and nothing else, and not for long."""

from __future__ import annotations

import importlib
import sys

import pytest

from echozoo.engine.config_file import load_config
from echozoo.errors import ConfigError
from echozoo.zoo import CONFIGS

MODEL = "model = dict(type='X')\n"


@pytest.fixture
def films(tmp_path, monkeypatch):
    """A folder of films that the user has gone to; it holds a module that a library asks for."""
    folder = tmp_path / "films"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "asked_for.py").write_text("raise SystemExit('code from a folder of films')")
    return folder


def test_a_plain_config_lets_no_folder_in(films, tmp_path):
    before = list(sys.path)
    (tmp_path / "plain.py").write_text(MODEL)
    load_config(tmp_path / "plain.py")
    assert sys.path == before
    with pytest.raises(ImportError):
        importlib.import_module("asked_for")


def test_a_config_of_the_zoo_goes_by_its_name(films):
    assert load_config("samus_tra").filename == str(CONFIGS / "samus_tra.py")
    (films / "unet").write_text(f"{MODEL}")
    for name in ("unet", "samus_trap", "tables/tra_2"):  # a file of the user's, and no names
        with pytest.raises(ConfigError):
            load_config(name)


@pytest.mark.parametrize("place", ["beside", "films"])
def test_custom_imports_are_found_and_the_folders_leave(films, tmp_path, place):
    name = f"own_part_{place}"
    folder = films if place == "films" else tmp_path
    (folder / f"{name}.py").write_text(f"import sys\nsys.{name} = 1\n")
    (tmp_path / "own.py").write_text(f"{MODEL}custom_imports = dict(imports=['{name}'])")
    before = list(sys.path)
    load_config(tmp_path / "own.py")
    assert sys.path == before
    assert vars(sys).pop(name) == 1
    with pytest.raises(ImportError):
        importlib.import_module("asked_for")


def test_the_folders_leave_after_an_error(films, tmp_path):
    (tmp_path / "own.py").write_text(f"{MODEL}custom_imports = dict(imports=['not_there'])")
    before = list(sys.path)
    with pytest.raises(ConfigError, match="own.py: custom_imports: No module named 'not_there'"):
        load_config(tmp_path / "own.py")
    assert sys.path == before
