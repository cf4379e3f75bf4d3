"""A watcher runs for weeks: what it holds must not grow with what it has seen."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from tierflow.stream.memory import hold_tables_in_system_memory


@pytest.fixture
def arrow() -> Iterator[pa.MemoryPool]:
    """Give Arrow's own allocator, which is that of the process until the test changes it."""
    before = pa.default_memory_pool()
    own = pa.jemalloc_memory_pool() if "jemalloc" in pa.supported_memory_backends() else pa.mimalloc_memory_pool()
    pa.set_memory_pool(own)
    yield own
    pa.set_memory_pool(before)


def test_tables_come_to_lie_in_the_memory_of_the_system(arrow: pa.MemoryPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    hold_tables_in_system_memory()
    before = arrow.bytes_allocated()
    table = pa.table({"a": pa.array(range(1000))})
    assert pa.default_memory_pool().backend_name == "system"
    assert (table.num_rows, arrow.bytes_allocated()) == (1000, before)


def test_who_chose_an_allocator_keeps_it(arrow: pa.MemoryPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", arrow.backend_name)
    hold_tables_in_system_memory()
    assert pa.default_memory_pool().backend_name == arrow.backend_name
