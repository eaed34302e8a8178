from __future__ import annotations

import re

import pytest

from echozoo.datasets.info import Info, read_info
from echozoo.errors import DataError


def test_info_of_2023(tmp_path):
    path = tmp_path / "Info_4CH.cfg"
    path.write_bytes(
        b"\xef\xbb\xbfED: 11\r\nES: 1\r\nNbFrame: 11\r\nSex: M\r\nAge: 65\r\n"
        b"ImageQuality: medium\r\nEF: 9\r\nFrameRate: 56.5\r\nOther: x\r\n"
    )
    assert read_info(path) == Info(10, 0, 11, "M", 65, "Medium", 9, None, None, 56.5)


def test_info_with_gaps_and_faults(tmp_path):
    path = tmp_path / "Info_4CH.cfg"
    path.write_text("\nED:\nAge: nan\nnonsense\n")
    assert read_info(path) == Info()
    for text, reason in (
        ("ED: 0\n", "ED is '0', wanted a whole number from 1 on"),
        ("LVef: high\n", "LVef is 'high', wanted a number"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {reason}$"):
            read_info(path)
    absent = tmp_path / "absent.cfg"
    with pytest.raises(DataError, match=f"^{re.escape(str(absent))}: cannot be read"):
        read_info(absent)


def test_real_info_of_the_older_files(shared):
    path = shared / "data" / "camus_mhd" / "training" / "patient0001" / "Info_4CH.cfg"
    assert read_info(path) == Info(0, 19, 20, "F", 56, "Good", 63.2, 94.0, 34.6, None)
