"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_images() -> Path:
    """The real images that lie beside a developer's checkout (`TIERFLOW_SHARED` names another place)."""
    shared = Path(os.environ.get("TIERFLOW_SHARED", ROOT.parent / "shared"))
    if not (shared / "images" / "index.csv").exists():
        pytest.skip(f"real images not found: {shared / 'images'} (set TIERFLOW_SHARED)")
    return shared / "images"
