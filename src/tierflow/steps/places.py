"""Where each step's tables lie in the output folder: one definition for every engine.

The Snakemake rules spell the same paths out, for people to read; a test compares them with these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.steps import STEPS, declared_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTINGS_FOLDER = ".tierflow/settings"
"""Holds a file per step, which changes when its results are out of date for another reason than its tables."""

_CONFIG = "config.yaml"
_SUMMARY = "scan/summary.json"
_SHARD = "scan/shards/{shard}.parquet"

PLACES: Mapping[str, Mapping[str, str]] = {
    "scan": {"summary": _SUMMARY, "config": _CONFIG},
    "extract": {"shard": _SHARD, "config": _CONFIG, "table": "extract/{shard}.parquet"},
    "baseline": {
        "summary": _SUMMARY,
        "extracts": "extract",
        "config": _CONFIG,
        "baseline": "baseline.parquet",
        "duplicates": "duplicates.parquet",
        "history": "history.parquet",
    },
    "score": {
        "shard": _SHARD,
        "extract": "extract/{shard}.parquet",
        "baseline": "baseline.parquet",
        "duplicates": "duplicates.parquet",
        "history": "history.parquet",
        "config": _CONFIG,
        "table": "score/{shard}.parquet",
    },
    "policy": {"summary": _SUMMARY, "scores": "score", "config": _CONFIG, "policy": "policy.json"},
    "place": {
        "shard": _SHARD,
        "score": "score/{shard}.parquet",
        "policy": "policy.json",
        "config": _CONFIG,
        "table": "place/{shard}.parquet",
    },
    "index": {
        "shard": _SHARD,
        "extract": "extract/{shard}.parquet",
        "score": "score/{shard}.parquet",
        "place": "place/{shard}.parquet",
        "config": _CONFIG,
        "catalogue": "catalogue/{shard}.parquet",
        "receipt": "index/{shard}.json",
    },
    "publish": {"catalogue": "catalogue/{shard}.parquet", "config": _CONFIG, "receipt": "publish/{shard}.json"},
    "report": {
        "summary": _SUMMARY,
        "policy": "policy.json",
        "baseline": "baseline.parquet",
        "catalogue": "catalogue",
        "config": _CONFIG,
        "html": "report.html",
        "objects": "objects.csv",
    },
}

# A new scan that found nothing new is no reason to start again: what changed shows in the tables.
ANCIENT: frozenset[tuple[str, str]] = frozenset({("baseline", "summary"), ("policy", "summary")})


def arguments(step: str, output: Path, *, shard: str | None) -> dict[str, Path]:
    """Return the arguments of a step's function.

    Args:
        step: Name of the step.
        output: Output folder.
        shard: Name of the shard; None for a step that sees the whole data set.
    """
    return {port: output / place.format(shard=shard) for port, place in PLACES[step].items()}


def log_file(step: str, output: Path, *, shard: str | None) -> Path:
    """Return the log of a step: the same file as under Snakemake."""
    return output / "logs" / (f"{step}.log" if shard is None else f"{step}/{shard}.log")


def results(step: str, output: Path, *, shard: str | None) -> list[Path]:
    """Return the files that a step writes."""
    paths = arguments(step, output, shard=shard)
    return [paths[port] for port in STEPS[step].ports("output")]


def sources(step: str, output: Path, *, shard: str | None) -> list[Path]:
    """Return the files whose change makes a step's results out of date.

    Args:
        step: Name of the step.
        output: Output folder.
        shard: Name of the shard; None for a step that sees the whole data set.
    """
    paths = arguments(step, output, shard=shard)
    found = [output / SETTINGS_FOLDER / step]
    for port, kind in declared_ports(step).items():
        if kind == "input" and (step, port) not in ANCIENT:
            found.append(paths[port])
        elif kind == "params" and port != "config":
            found += [paths[port] / f"{name}.parquet" for name in shards_of(output)]
    return found


def shards_of(output: Path) -> list[str]:
    """Return the names of a run's shards, in order.

    Raises:
        InputMissingError: if the run wasn't scanned.
        TableError: if the scan's summary is damaged.
    """
    from tierflow.scoring.folder import shard_names

    return shard_names(output / _SUMMARY)
