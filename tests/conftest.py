"""Fixtures that several test folders share, and the rule that continuous integration skips nothing."""

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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With TIERFLOW_NO_SKIP set, a skipped test fails: what isn't tested there is tested nowhere."""
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("TIERFLOW_NO_SKIP") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although TIERFLOW_NO_SKIP is set: {report.longrepr}"
