"""Step `publish`: send one shard's catalogue to the server, where one is configured."""

from __future__ import annotations

from tierflow.catalogue.elastic.publish import publish
from tierflow.steps._ports import In, Out, Param


def run(*, catalogue: In, config: Param, receipt: Out) -> None:
    """Bring the server's documents of one shard up to date; what it has already isn't sent again.

    Args:
        catalogue: Records of the shard, `catalogue/<shard>.parquet` of the output.
        config: Configuration file.
        receipt: JSON to write when every record was accepted, or is a dead letter with the server's reason.

    Raises:
        InputMissingError: if the table isn't there.
        TryAgainError: if the server is away, overloaded, full or doesn't take writes for now.
        ConfigError: if address, credentials, certificate or the index are wrong.
    """
    publish(catalogue, config=config, receipt=receipt)
