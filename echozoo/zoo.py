"""The zoo's configs by name: ``samus_tra`` is ``configs/samus_tra.py``, of a checkout or installed.

In a checkout they are a folder beside the package; a wheel brings them inside of it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
CONFIGS = next(filter(Path.is_dir, (_PACKAGE / "configs", _PACKAGE.parent / "configs")), _PACKAGE)
TABLES = CONFIGS / "tables"


def find_config(name: str | Path, folder: Path = CONFIGS) -> Path | None:
    """Return the config of a name, None where the zoo has none of that name.

    Args:
        name: Such as "samus_tra". A path of the user's, with a suffix or a folder in it, is none.
        folder: `CONFIGS`, or `TABLES` for definitions of tables.
    """
    path = folder / f"{name}.py"
    return path if Path(name).name == str(name) and path.is_file() else None


def shown(path: Path) -> str:
    """Name a config or a table for others: by its name where only this machine has its folder.

    Args:
        path: One of the zoo's, or of the user's; relative ones stay as they are.
    """
    return path.stem if path.is_absolute() and path.parent in (CONFIGS, TABLES) else str(path)
