"""Step `index`: write the catalogue of one shard."""

from __future__ import annotations

import hashlib
import json

from tierflow import config_io, metadata_table, tables
from tierflow.catalogue.provenance import provenance
from tierflow.catalogue.records import join
from tierflow.catalogue.schema import CATALOGUE_VERSION
from tierflow.io.atomic import write_text
from tierflow.steps._ports import In, Out, Param


def run(*, shard: In, extract: In, score: In, place: In, config: Param, catalogue: Out, receipt: Out) -> None:
    """Join one shard's tables into one record per object.

    The same tables and configuration always give the same bytes. The data set's name and the input folder stamped on
    the shard are stamped on the catalogue as well.

    Args:
        shard: The shard's objects, as `scan` wrote them.
        extract: Its measured planes.
        score: Its interestingness and flags.
        place: Where its files went.
        config: Configuration file.
        catalogue: Table of records to write.
        receipt: JSON to write: number of rows and SHA-256 of the table's bytes.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged, or lacks objects of the shard.
        ConfigError: if a feature has the name of a catalogue column, or the table of what is known about the objects
            is wrong or matches none of them.
    """
    settings = config_io.load(config)
    objects = tables.read(shard)
    stamp = tables.metadata_of(objects)
    dataset = stamp.get("dataset", settings.dataset_name)
    sources = {"measured_at": tables.read(extract), "scored_at": tables.read(score)}
    times = {name: tables.metadata_of(table).get("at") for name, table in sources.items()}
    records = join(
        shard=objects,
        extract=sources["measured_at"],
        score=sources["scored_at"],
        place=tables.read(place),
        provenance=provenance(settings, dataset=dataset, times=times),
        metadata=metadata_table.for_shard(shard, settings),
        histogram=settings.catalogue.histogram,
    )
    source = stamp.get("input", settings.input or "")
    tables.write(catalogue, records, input=source, dataset=dataset, catalogue_version=CATALOGUE_VERSION)
    digest = hashlib.sha256(catalogue.read_bytes()).hexdigest()
    write_text(receipt, json.dumps({"rows": records.num_rows, "digest": digest}) + "\n")
