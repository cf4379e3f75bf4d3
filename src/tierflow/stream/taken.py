"""Files that left the input because a tier took them, although their record isn't written yet: they aren't lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.scan.shards import shard_name
from tierflow.tiers.whereabouts import current_path

if TYPE_CHECKING:
    from pathlib import Path


def was_taken(output: Path, object_id: str, shard: int | None) -> bool:
    """Tell whether the journal of its shard knows where an object is that isn't in the input any more.

    Args:
        output: Output folder.
        object_id: The object.
        shard: Its home shard; None for one that was never in a batch, which no tier can have.
    """
    return shard is not None and current_path(output, shard_name(shard), object_id) is not None
