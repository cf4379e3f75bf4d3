"""Fixtures that several test folders share, and the rule that continuous integration skips nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's script has begun the tests in the background: what they start, and interrupt, would ignore that as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_images() -> Path:
    """The real images that lie beside a developer's checkout (`TIERFLOW_SHARED` names another place)."""
    shared = Path(os.environ.get("TIERFLOW_SHARED", ROOT.parent / "shared"))
    if not (shared / "images" / "index.csv").exists():
        pytest.skip(f"real images not found: {shared / 'images'} (set TIERFLOW_SHARED)")
    return shared / "images"


_SERVER = {name: value for name, value in os.environ.items() if name.startswith("TIERFLOW_ES_")}


@pytest.fixture(scope="session")
def real_elasticsearch() -> str | None:
    """Address of a server that tests may write to, None without one."""
    return _SERVER.get("TIERFLOW_ES_URL")


@pytest.fixture(scope="session", autouse=True)
def _no_server_by_accident():
    """Hide the server from all tests: a run that finds its address would publish to it."""
    for name in _SERVER:
        del os.environ[name]
    yield
    os.environ.update(_SERVER)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With TIERFLOW_NO_SKIP set, a skipped test fails: what isn't tested there is tested nowhere."""
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("TIERFLOW_NO_SKIP") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although TIERFLOW_NO_SKIP is set: {report.longrepr}"
