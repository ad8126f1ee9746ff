"""Recordings that nobody here wrote: a folder beside the repository, named by one setting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DEADRECKON_DATA", ROOT.parent / "shared" / "data"))


def recording(name: str) -> Path:
    """Path of a recording or DBC; skips the test where the folder is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in {DATA}; set DEADRECKON_DATA to the folder with the recordings")
    return path
