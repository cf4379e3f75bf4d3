"""What a job does with its output before and after each step, where the output is a folder: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class InPlace:
    """The hooks of a job whose output is a folder: nothing to fetch, nothing to put."""

    def before(self, steps: Sequence[str], shard: str | None) -> None:
        """Make ready for steps of a shard, or of the whole data set."""

    def after(self, step: str, shard: str | None) -> None:
        """Keep what a step has written."""

    def show(self) -> None:
        """Make visible which results there are."""
