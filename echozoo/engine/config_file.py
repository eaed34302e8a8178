"""Reading a config file, with one line for what is wrong in it."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from mmengine.config import Config

from echozoo.engine.config_options import check_top_level
from echozoo.errors import ConfigError

_REPOSITORY = Path(__file__).resolve().parents[2]


def load_config(path: str | Path) -> Config:
    """Load a config file.

    Modules that it names in ``custom_imports`` are looked for in the current folder and beside
    the config as well, so that a part of one's own needs no installation.

    Args:
        path: A ``.py`` config.

    Returns:
        The config, its bases merged.

    Raises:
        ConfigError: It is absent, is no valid Python, or imports what cannot be imported.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such config{_similar(path)}")
    for folder in (str(Path.cwd()), str(path.resolve().parent)):
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        cfg = Config.fromfile(str(path))
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


def _similar(path: Path) -> str:
    """Say which configs there are of a similar name, or where configs are at all."""
    folder = path.parent if any(path.parent.glob("*.py")) else _REPOSITORY / "configs"
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
