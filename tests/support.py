"""What several test modules need and no fixture can give."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Real inputs that may not be shipped: set VOCABKIT_DATA, or put them in ../shared/data.
DATA = Path(os.environ.get("VOCABKIT_DATA", ROOT.parent / "shared" / "data"))


def data_file(name: str) -> Path:
    """Return a file of real data that the repository may not hold; skip the test without it."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here; set VOCABKIT_DATA to the folder that holds it")
    return path
