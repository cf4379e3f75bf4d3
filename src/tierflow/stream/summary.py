"""`scan/summary.json` of a stream: written for every new shard, else now and then, because other commands read it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from tierflow import tables
from tierflow.scan.summary import Part, part_of_table, save, together
from tierflow.stream.fold import mapped, table_paths

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from tierflow.config import Config

PACE_S = 10.0
"""A summary that only counts more objects than before is written at most so often."""

_COLUMNS = ("bytes", "unit_id", "plate", "well", "channel", "layout")


class Summary:
    """Keeps the summary in step with the shard tables; its methods may be called from any thread.

    Args:
        config: Configuration of the stream.
        output: Output folder.
    """

    def __init__(self, config: Config, output: Path) -> None:
        self._config, self._output = config, output
        self._parts: dict[int, Part] = {}
        self._changed: set[str] | None = None
        self._saved_at = -PACE_S
        self._lock = threading.Lock()

    def changed(self, shard: str) -> None:
        """Say that a shard table was written; the summary follows at once if the shard is new, or if it is time.

        Raises:
            TryAgainError: if the disk is full or away; a later call tries again.
        """
        with self._lock, mapped(self._output):
            self._load()
            assert self._changed is not None
            self._changed.add(shard)
            if int(shard) not in self._parts or time.monotonic() - self._saved_at >= PACE_S:
                self._save()

    def tidy(self, *, now: bool = False) -> None:
        """Write what changed, if it is time.

        Args:
            now: Don't wait for that.

        Raises:
            TryAgainError: if the disk is full or away.
        """
        with self._lock, mapped(self._output):
            self._load()
            if self._changed and (now or time.monotonic() - self._saved_at >= PACE_S):
                self._save()

    def _load(self) -> None:
        """At the first call every shard counts as changed, and is read when the summary is written."""
        if self._changed is None:
            folder = self._output / "scan" / "shards"
            self._changed = {path.stem for path in folder.glob("[0-9]*.parquet")}
            self._parts = {int(name): _NOTHING for name in self._changed}

    def _save(self) -> None:
        assert self._changed is not None
        for shard in sorted(self._changed):
            table = tables.read(table_paths(self._output, shard)["scan"], _COLUMNS)
            self._parts[int(shard)] = part_of_table(table)
        content = together(self._parts, source=str(self._config.input or ""), dataset=self._config.dataset_name)
        save(self._output / "scan" / "summary.json", content | _report(self._parts))
        self._changed.clear()
        self._saved_at = time.monotonic()


_NOTHING = part_of_table(tables.SCAN.empty_table())


def _report(parts: dict[int, Part]) -> dict[str, Any]:
    """Return what a scan tells besides counts; a stream leaves out what isn't an image without a list of it."""
    layouts: Counter[str] = sum((part.layouts for part in parts.values()), _NOTHING.layouts.copy())
    return {
        "skipped": {},
        "skipped_extensions": {},
        "examples": {},
        "layouts": [
            {"name": name, "objects": n, "confidence": None}
            for name, n in sorted(layouts.items(), key=lambda item: (-item[1], item[0]))
        ],
        "unparsed": 0,
        "unparsed_examples": [],
        "headers_read": 0,
        "vanished": 0,
        "relocated": 0,
        "unseen": 0,
        "warnings": [],
    }
