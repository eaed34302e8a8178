from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from echozoo.apis.writers import write_json


def test_numbers_that_are_none_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": math.nan, "b": [np.float32(1.5), np.int64(2)]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [1.5, 2]}
