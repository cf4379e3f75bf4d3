"""Score a micro-batch as the step `score` does, from tables in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tierflow import tables
from tierflow.clock import utc_now
from tierflow.scoring import score as compute
from tierflow.scoring.build import make_function
from tierflow.scoring.planes import require_features

if TYPE_CHECKING:
    import pyarrow as pa

    from tierflow.config import Config


class Baselines(Protocol):
    """What new planes are compared with; `tierflow.stream.window.Window`."""

    def add(self, scan_table: pa.Table, extract_table: pa.Table) -> None:
        """Take a batch in."""

    def baseline(self) -> pa.Table:
        """Return a table of the schema `tables.BASELINE`."""

    def history(self) -> pa.Table:
        """Return what the planes of the batch that was taken in last found in earlier ones."""


class Scoring:
    """Scores batches one after another.

    Args:
        config: Configuration of the stream.
        window: What planes are compared with.

    Raises:
        ConfigError: if the interestingness function or its parameters are wrong.
    """

    def __init__(self, config: Config, window: Baselines) -> None:
        self._config, self._window = config, window
        self._function = make_function(config)
        self._features = compute.needed_features(self._function, config)
        self._stamp = {"function": self._function.name, "settings": config.digest(["score", "baseline"])}

    def remember(self, scan: pa.Table, extract: pa.Table) -> None:
        """Take a batch into the window that a killed process has scored."""
        self._window.add(scan, extract)

    def score(self, scan: pa.Table, extract: pa.Table, duplicates: pa.Table) -> pa.Table:
        """Return the score table of a batch, which is part of the window from now on.

        Args:
            scan: Its scan table.
            extract: Its extract table.
            duplicates: Pixels that it shares with others.

        Returns:
            A table of the schema `tables.SCORE`, in the order of `scan`, with the stamps of a score table.

        Raises:
            ConfigError: if a feature that is needed wasn't measured.
        """
        where = f"score.function {self._function.name} and score.flags"
        require_features(self._features, tables.feature_columns(extract.schema), where=where)
        self._window.add(scan, extract)
        scored = compute.score_shard(
            objects=scan,
            planes=extract,
            baseline=self._window.baseline(),
            duplicates=duplicates,
            history=self._window.history(),
            function=self._function,
            config=self._config,
        )
        return tables.stamped(scored, **self._stamp, at=utc_now())
