"""Where the tables of a run lie, for the steps that read all shards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tierflow.errors import InputMissingError, TableError
from tierflow.tables import feature_columns

if TYPE_CHECKING:
    from pathlib import Path


def shard_names(summary: Path) -> list[str]:
    """Return the names of all shards from `scan/summary.json`.

    Raises:
        InputMissingError: if the summary isn't there.
        TableError: if it is damaged.
    """
    try:
        return [str(shard["name"]) for shard in json.loads(summary.read_text(encoding="utf-8"))["shards"]]
    except FileNotFoundError as error:
        raise InputMissingError(f"{summary} is missing: run the step `scan`, or `tierflow run` again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TableError(f"{summary} can't be read ({error!r}): delete it and run again") from error


def scan_table(summary: Path, name: str) -> Path:
    """Return the path of a shard's scan table."""
    return summary.parent / "shards" / f"{name}.parquet"


def feature_names(extract: Path) -> list[str]:
    """Return the names of the features in an extract table, without reading its rows.

    Raises:
        InputMissingError: if the table isn't there.
        TableError: if it is damaged.
    """
    try:
        return feature_columns(pq.read_schema(extract))
    except FileNotFoundError as error:
        raise InputMissingError(f"{extract} is missing: run the step `extract`, or `tierflow run` again") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{extract} can't be read as a table ({error}): delete it and run again") from error
