"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa


def fsync_dir(folder: Path) -> None:
    """Make a rename in `folder` durable; file systems that can't sync a folder are left alone."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary sibling to write to, then sync it (if `durable`) and rename it to `path`.

    The sibling's name starts with a dot and ends with `.part`, so that no later run takes it for a result. It is
    removed when the body raises; a killed process leaves it behind harmlessly.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
        temporary.replace(path)
        if durable:
            fsync_dir(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to `path` whole or not at all."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def write_parquet(path: Path, table: pa.Table, *, durable: bool = True, **options: Any) -> None:
    """Write a Parquet file whole or not at all (zstd unless `options` say otherwise)."""
    with replacing(path, durable=durable) as temporary:
        pq.write_table(table, temporary, **{"compression": "zstd", **options})
