"""Fixtures of the tests of streams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tierflow.stream.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give an empty ledger."""
    made = Ledger(tmp_path)
    yield made
    made.close()
