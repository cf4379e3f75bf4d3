"""A shard of a synthetic run, published by the real step, and compared with what a server holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from elasticsearch import Elasticsearch as Client
from elasticsearch import helpers

from tierflow import config_io, tables
from tierflow.catalogue.elastic.documents import document_id, documents
from tierflow.config import Elasticsearch
from tierflow.steps import publish

SHOWN = 10


@dataclass(frozen=True)
class Shard:
    """A shard of a run.

    Attributes:
        output: The run's output folder.
        settings: The server as the run's configuration names it.
        name: Number of the shard.
    """

    output: Path
    settings: Elasticsearch
    name: str = "00000"

    @classmethod
    def make(cls, folder: Path, records: pa.Table, settings: Elasticsearch, *, name: str = "00000") -> Shard:
        """Write the catalogue of a shard and the configuration of its run."""
        made = cls(folder / "output", settings, name)
        made.write(records)
        made.configure(settings)
        return made

    @property
    def catalogue(self) -> Path:
        """Its records."""
        return self.output / "catalogue" / f"{self.name}.parquet"

    @property
    def receipt(self) -> Path:
        """What the step writes when it is done."""
        return self.output / "publish" / f"{self.name}.json"

    @property
    def config(self) -> Path:
        """The run's configuration."""
        return self.output / "config.yaml"

    @property
    def log(self) -> Path:
        """Standard error of the step where it ran as a process."""
        return self.output / "logs" / f"{self.name}.log"

    def write(self, records: pa.Table) -> None:
        """Replace its records."""
        tables.write(self.catalogue, records, **tables.metadata_of(records))

    def configure(self, settings: Elasticsearch) -> Shard:
        """Name another server, or the same otherwise; return the shard with it."""
        config_io.write(self.config, config_io.validate({"catalogue": {"elasticsearch": settings.model_dump()}}))
        return Shard(self.output, settings, self.name)

    def publish(self) -> None:
        """Run the step in this process."""
        publish.run(catalogue=self.catalogue, config=self.config, receipt=self.receipt)

    def start(self, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Run the step as engines do, in a process of its own."""
        ports = {"catalogue": self.catalogue, "config": self.config, "receipt": self.receipt}
        flags = [text for name, path in ports.items() for text in (f"--{name}", str(path))]
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tierflow", "step", "publish", *flags],
                env=os.environ | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def code(self, env: Mapping[str, str] | None = None) -> int:
        """Run the step in a process of its own, and return its exit code."""
        return finish(self.start(env))

    def said(self) -> str:
        """Everything that processes of the step wrote so far."""
        return self.log.read_text()

    def receipt_says(self) -> dict[str, Any]:
        """The receipt."""
        return json.loads(self.receipt.read_text())

    def dead_letters(self) -> list[dict[str, Any]]:
        """What the server refused for good."""
        path = self.output / "dead_letters" / f"{self.name}.parquet"
        return tables.read(path).to_pylist() if path.exists() else []

    def expected(self) -> dict[str, dict[str, Any]]:
        """Every document that should be on the server, by id; dead letters are left out."""
        dead = {letter["object_id"] for letter in self.dead_letters()}
        found = documents(tables.read(self.catalogue))
        return {document_id(doc["run"], doc["object_id"]): doc for doc in found if doc["object_id"] not in dead}

    def differences(self, client: Client) -> list[str]:
        """What is lost, superfluous, doubled or other on the server than in Parquet; the first ten."""
        return differences(self.expected(), client, self.settings.alias)


def finish(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; one that hangs is killed and fails the test."""
    try:
        return process.wait(timeout=240)
    finally:
        process.kill()


def differences(expected: Mapping[str, dict[str, Any]], client: Client, alias: str) -> list[str]:
    """Compare whole documents; see `Shard.differences`."""
    client.indices.refresh(index=alias)
    hits = list(helpers.scan(client, index=alias, size=5000))
    found = {hit["_id"]: {k: v for k, v in hit["_source"].items() if k != "indexed_at"} for hit in hits}
    objects = Counter((document["run"], document["object_id"]) for document in found.values())
    differing = [
        *(f"lost: {key}" for key in expected.keys() - found.keys()),
        *(f"superfluous: {key}" for key in found.keys() - expected.keys()),
        *(f"doubled: {key}" for key, times in objects.items() if times > 1),
        *(f"other: {key}" for key in expected.keys() & found.keys() if expected[key] != found[key]),
    ]
    return [f"{len(differing)} differ", *differing[:SHOWN]] if differing else []


def writes(client: Client, alias: str) -> int:
    """Return how many documents the server has written behind an alias since it started, replaced ones included."""
    whole = client.indices.stats(index=f"{alias}-*", metric="indexing")["_all"]["total"]
    return int(whole["indexing"]["index_total"]) if whole else 0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until something is so."""
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def with_value(records: pa.Table, column: str, value: Any, *, rows: set[int] | None = None) -> pa.Table:
    """Return records with another value in a column, in some rows or in all."""
    at = records.column_names.index(column)
    chosen = pa.array([rows is None or row in rows for row in range(len(records))])
    field = records.schema.field(at)
    changed = pc.if_else(chosen, pa.scalar(value, field.type), records[column])
    return records.set_column(at, field, changed)
