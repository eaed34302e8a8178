#!/usr/bin/env python3
"""`echozoo parts` of this checkout, installed or not: --help shows what it does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from echozoo.cli import run  # noqa: E402

if __name__ == "__main__":
    run("parts")
