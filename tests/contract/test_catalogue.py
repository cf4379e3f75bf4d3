"""The embedded catalogue meets the contract of catalogues."""

from __future__ import annotations

from tierflow import tables
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.schema import CATALOGUE_VERSION
from tierflow.testing.catalogue import CatalogueContract


def fill(records, output, shards):
    step = -(-records.num_rows // shards)
    for shard in range(shards):
        part = records.slice(shard * step, step)
        path = output / "catalogue" / f"{shard:05d}.parquet"
        tables.write(path, part, input="/input", dataset="planted", catalogue_version=CATALOGUE_VERSION)
    return ParquetCatalogue(output)


class TestParquetCatalogue(CatalogueContract):
    @classmethod
    def make(cls, records, folder):
        return fill(records, folder / "run", shards=1)


class TestParquetCatalogueOfManyShards(CatalogueContract):
    """Shards whose columns differ, in a folder whose name means something to a search engine."""

    @classmethod
    def make(cls, records, folder):
        output = folder / "plate=7 [x] *"
        catalogue = fill(records, output, shards=5)
        first = output / "catalogue" / "00000.parquet"
        # The first shard lacks the feature without values, as after an extractor was added.
        table = tables.read(first).drop_columns(["ImageQuality_MeanIntensity"])
        tables.write(first, table, input="/input", dataset="planted", catalogue_version=CATALOGUE_VERSION)
        return catalogue
