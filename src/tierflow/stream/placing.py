"""Place the objects of a stream with the journal and the tiers of the run, wherever the tables about them lie."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from tierflow.steps.place import place_objects
from tierflow.tiers.journal import Memory, open_journal, peek_journal
from tierflow.tiers.wants import wanted_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from tierflow.config import Config
    from tierflow.policies.choose import Resolved
    from tierflow.tiers.wants import Wanted

KEPT_JOURNALS = 4
"""Journals whose content stays in memory."""


class Placing:
    """Places objects of the shards of an output.

    Args:
        output: Output folder.
        config: Its configuration.
    """

    def __init__(self, output: Path, config: Config) -> None:
        self._output, self._config = output, config
        self._memories: OrderedDict[str, Memory] = OrderedDict()

    def wanted(self, scan: pa.Table, score: pa.Table, policy: Resolved) -> Wanted:
        """Return what is wanted for the objects of a batch; arguments and errors as of `wanted_of`."""
        return wanted_of(scan, score, policy, settings=self._config, output=self._output, name="the batch")

    def place(self, shard: str, wanted: Wanted) -> pa.Table:
        """Bring objects to their tiers.

        Args:
            shard: Name of their home shard, whose journal knows all about them: an object of a stream never leaves it.
            wanted: What is wanted for them.

        Returns:
            A table of the schema `tables.PLACE`, in the order of `wanted`.

        Raises:
            TryAgainError: if a tier is full or away, or another process holds the journal.
            ConfigError: if an object store refuses.
        """
        ids = [want.object_id for want in wanted.wants]
        with open_journal(self._output, shard, cut=None, ids=ids, memory=self._memory(shard)) as journal:
            return place_objects(journal, wanted)

    def known(self, shard: str, sha256: Mapping[str, str | None]) -> set[str]:
        """Return those objects whose measured bytes the journal of their shard has placed, or begun to place.

        Args:
            shard: Name of the shard.
            sha256: Hash of the bytes that were measured, by object; None where they couldn't be read.
        """
        records = peek_journal(self._output, shard, cut=None, ids=()).records
        found = set()
        for name, measured in sha256.items():
            record = records.get(name)
            entries = () if record is None else (record.placed, record.pending)
            if any(entry is not None and measured in (None, entry.sha256) for entry in entries):
                found.add(name)
        return found

    def _memory(self, shard: str) -> Memory:
        self._memories.setdefault(shard, Memory())
        self._memories.move_to_end(shard)
        while len(self._memories) > KEPT_JOURNALS:
            self._memories.popitem(last=False)
        return self._memories[shard]
