"""Which patients train, validate and test: always whole patients, always disjoint.

Schemes:
    files: ``database_split/subgroup_{training,validation,testing}.txt`` in the data folder.
    official: the split published with CAMUS (400/50/50); the lists are in this package.
    fold1 … fold10: the ten folds of the CAMUS authors (400/50/50 each).
    ratio: the patients on disk, shuffled by a seed and cut 7:1:2.
    mini: 200 of the patients on disk, drawn by the same seed, then cut 7:1:2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from echozoo.errors import ConfigError, DataError
from echozoo.notices import notice

SUBSETS = ("train", "val", "test")
FOLDS = tuple(f"fold{k}" for k in range(1, 11))
SCHEMES = ("files", "official", *FOLDS, "ratio", "mini")
MINI_SIZE = 200

_FILE_NAMES = {subset: f"subgroup_{subset}ing.txt" for subset in ("train", "test")}
_FILE_NAMES["val"] = "subgroup_validation.txt"
_NUM_PATIENTS = 500


def split_patients(
    scheme: str, subset: str, patients: Sequence[str], data_root: str | Path, seed: int = 0
) -> list[str]:
    """The patients of one subset that are on disk, sorted.

    Args:
        scheme: One of `SCHEMES`.
        subset: "train", "val" or "test".
        patients: All patients on disk.
        data_root: The data folder, for the scheme "files" and for messages.
        seed: Of the schemes "ratio" and "mini".

    Returns:
        Names such as "patient0001". Patients of a list that are not on disk are left out, which
        is said once with their number.

    Raises:
        ConfigError: The scheme or the subset is unknown.
        DataError: A list file is absent or malformed, a patient is in two of them, or the subset
            is empty.
    """
    if scheme not in SCHEMES or subset not in SUBSETS:
        raise ConfigError(
            f"split={scheme!r}, subset={subset!r}: wanted one of files, official, fold1 to fold10,"
            f" ratio, mini, and one of {', '.join(SUBSETS)}"
        )
    if scheme in ("ratio", "mini"):
        return _cut(scheme, subset, patients, data_root, seed)
    if scheme == "files":
        folder = find_split_folder(data_root)
        listed, origin = read_split_files(folder)[subset], str(folder / _FILE_NAMES[subset])
    else:
        listed, origin = camus_lists(scheme)[subset], f"split {scheme!r}, subset {subset!r}"
    if not listed:
        raise DataError(f"{origin}: no patient listed, wanted at least one")
    return _on_disk(listed, patients, data_root, origin)


@cache
def camus_lists(scheme: str) -> dict[str, tuple[str, ...]]:
    """The published lists of "official" or one of `FOLDS`: subset -> patients, sorted."""
    lines = (Path(__file__).parent / "split_lists" / "camus_folds.txt").read_text().splitlines()
    folds = dict(line.split(": ") for line in lines if not line.startswith("#"))
    tests = [{int(number) for number in folds[fold].split()} for fold in FOLDS]
    k = FOLDS.index("fold5" if scheme == "official" else scheme)
    test, val = tests[k], tests[(k + 1) % len(tests)]
    train = set(range(1, _NUM_PATIENTS + 1)) - test - val
    return {
        subset: tuple(f"patient{number:04d}" for number in sorted(numbers))
        for subset, numbers in zip(SUBSETS, (train, val, test), strict=True)
    }


def find_split_folder(data_root: str | Path) -> Path:
    """The ``database_split`` folder in the data folder; of ``database_nifti``, the one beside it.

    Raises:
        DataError: There is none.
    """
    root = Path(data_root)
    parent = root.resolve().parent if root.resolve().name == "database_nifti" else root
    if (parent / "database_split").is_dir():
        return parent / "database_split"
    raise DataError(
        f"{root / 'database_split'}: no such folder; the split 'files' wants subgroup_training.txt,"
        " subgroup_validation.txt and subgroup_testing.txt there; or choose split='official',"
        " 'fold1' to 'fold10', 'ratio' or 'mini'"
    )


def read_split_files(folder: str | Path) -> dict[str, tuple[str, ...]]:
    """Read the three list files of a folder: subset -> patients, in the order of the file.

    Raises:
        DataError: A file is absent or has a malformed line, or a patient is in two of them.
    """
    folder = Path(folder)
    lists = {subset: _read_list(folder / _FILE_NAMES[subset]) for subset in SUBSETS}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        both = sorted(set(lists[first]) & set(lists[second]))
        if both:
            raise DataError(
                f"{folder / _FILE_NAMES[first]} and {folder / _FILE_NAMES[second]}: {len(both)}"
                f" patients are in both ({_some(both)}); wanted each in one only"
            )
    return lists


def _read_list(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); wanted one patient name a line"
        ) from error
    names: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            continue
        if not re.fullmatch(r"patient\w+", name):
            raise DataError(f"{path}, line {number}: {name!r}, wanted a name such as patient0001")
        if name in names:
            raise DataError(f"{path}, line {number}: {name} is on line {names[name]} already")
        names[name] = number
    return tuple(names)


def _on_disk(
    listed: Sequence[str], patients: Sequence[str], data_root: str | Path, origin: str
) -> list[str]:
    present = sorted(set(listed) & set(patients))
    absent = sorted(set(listed) - set(patients))
    if not present:
        raise DataError(
            f"{origin}: none of its {len(absent)} patients ({_some(absent)}) is in {data_root},"
            f" which holds {len(patients)} ({_some(sorted(patients))})"
        )
    if absent:
        notice(
            f"{origin}: {len(absent)} of {len(listed)} patients are not in {data_root}"
            f" ({_some(absent)}); going on with {len(present)}"
        )
    return present


def _cut(
    scheme: str, subset: str, patients: Sequence[str], data_root: str | Path, seed: int
) -> list[str]:
    # The order is by a hash of seed and name: the same on every machine and numpy version.
    order = sorted(patients, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    if scheme == "mini":
        if len(order) < MINI_SIZE:
            notice(f"{data_root}: split 'mini' takes {MINI_SIZE} patients, here are {len(order)}")
        order = order[:MINI_SIZE]
    if len(order) < len(SUBSETS):
        raise DataError(
            f"{data_root}: {len(order)} patients, split {scheme!r} wants at least {len(SUBSETS)}:"
            " one for each of train, val and test"
        )
    num_val = max(1, round(0.1 * len(order)))
    num_test = max(1, round(0.2 * len(order)))
    num_train = len(order) - num_val - num_test
    ends = {
        "train": order[:num_train],
        "val": order[num_train : num_train + num_val],
        "test": order[num_train + num_val :],
    }
    return sorted(ends[subset])


def _some(names: Sequence[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
