"""Reading a config file, with one line for what is wrong in it."""

from __future__ import annotations

import contextlib
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from echozoo import zoo
from echozoo.engine.config_options import check_top_level
from echozoo.errors import ConfigError
from echozoo.models.weight_files import read_config


def load_config(path: str | Path) -> Config:
    """Load a config file.

    Modules that it names in ``custom_imports`` are looked for in the current folder and beside
    the config as well, so that a part of one's own needs no installation. Both leave ``sys.path``
    then: what libraries try to import later must not be found among somebody's films.

    Args:
        path: A ``.py`` config, or the name of one of the zoo; or published weights, whose config is
            inside: it is JSON, so that none of it runs.

    Returns:
        The config, its bases merged.

    Raises:
        ConfigError: It is absent, is no valid Python, or imports what cannot be imported.
        CheckpointError: Weights carry no config, or are damaged.
    """
    path = Path(path)
    if not path.is_file():
        path = zoo.find_config(path) or path
    if not path.is_file():
        raise ConfigError(f"{path}: no such config{_similar(path)}")
    if path.suffix == ".safetensors":
        content = read_config(path)
        # With a text, or mmengine would read the file as one.
        return Config(content, cfg_text=json.dumps(content), filename=str(path))
    try:
        cfg = Config.fromfile(str(path), import_custom_modules=False)
        if cfg.get("custom_imports"):
            with _importable(Path.cwd(), path.resolve().parent):
                import_modules_from_strings(**cfg.custom_imports)
    except SyntaxError as error:
        raise ConfigError(f"{path}: {_syntax(path, error)}") from error
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: a file in its _base_ is absent: {error}") from error
    except ImportError as error:
        raise ConfigError(
            f"{path}: custom_imports: {_first_cause(error)} "
            f"(looked in {Path.cwd()}, beside the config and in PYTHONPATH)"
        ) from error
    except Exception as error:  # a config is Python: anything may happen in it
        text = " ".join(str(error).split())
        raise ConfigError(f"{path}: {type(error).__name__}: {text}") from error
    check_top_level(cfg, str(path))
    return cfg


@contextlib.contextmanager
def _importable(*folders: Path) -> Iterator[None]:
    """Let modules in some folders be imported in the code below."""
    before = list(sys.path)
    sys.path += [str(folder) for folder in folders if str(folder) not in sys.path]
    try:
        yield
    finally:
        sys.path[:] = before


def _similar(path: Path) -> str:
    """Say which configs there are of a similar name, or where configs are at all."""
    folder = path.parent if any(path.parent.glob("*.py")) else zoo.CONFIGS
    there = {p.stem: p for p in sorted(folder.glob("*.py"))}
    close = difflib.get_close_matches(path.stem, there, n=3)
    if not close:
        return f"; there are {', '.join(there)} in {folder}" if there else ""
    return f"; did you mean {' or '.join(_shown(there[name]) for name in close)}?"


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return error


def _syntax(path: Path, error: SyntaxError) -> str:
    """Say where the error is: mmengine drops the line, and a module may have it."""
    try:
        compile(path.read_text(), str(path), "exec")
    except SyntaxError as own:
        return f"line {own.lineno}: {own.msg}"
    cause = _first_cause(error)
    where = f"{cause.filename}, line {cause.lineno}: " if isinstance(cause, SyntaxError) else ""
    return where + " ".join(str(getattr(cause, "msg", cause)).split())
