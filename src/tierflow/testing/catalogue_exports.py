"""The part of the contract of catalogues that is about exports: what is written can be read back as it was."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tierflow import tables
from tierflow.catalogue.export import export
from tierflow.catalogue.located import located
from tierflow.catalogue.query import Exists, Query, Sort
from tierflow.errors import QueryError
from tierflow.testing.catalogue_model import Row, ordered

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.catalogue.base import Catalogue


class CatalogueExports:
    """What every backend's exports hold. `CatalogueContract` brings the fixtures and inherits these tests."""

    def test_export_parquet_is_everything(self, catalogue: Catalogue, records: list[Row], tmp_path: Path) -> None:
        """All columns, all rows in order, with units and meanings."""
        target = tmp_path / "out" / "all.parquet"
        assert export(catalogue, Query(sort=(Sort("path"),), limit=None), "parquet", target) == len(records)
        table = pq.read_table(target)
        assert table.to_pylist() == ordered(records, (Sort("path"),), catalogue.fields())
        assert catalogue_unit(table.schema, "bytes") == "byte"
        assert tables.feature_columns(table.schema) == ["snr", "mid_band_share", "ImageQuality_MeanIntensity"]
        assert [p.name for p in target.parent.iterdir()] == ["all.parquet"]

    def test_export_csv_survives(self, catalogue: Catalogue, records: list[Row]) -> None:
        """Every name and number can be read back as it was."""
        stream = io.BytesIO()
        query = Query(sort=(Sort("path"),), limit=None, columns=("path_bytes", "snr", "flags", "bytes"))
        assert export(catalogue, query, "csv", stream) == len(records)
        rows = list(csv.reader(io.StringIO(stream.getvalue().decode(), newline="")))
        assert rows[0] == ["object_id", "path", "path_bytes", "snr", "flags", "bytes"]
        for row, record in zip(rows[1:], ordered(records, (Sort("path"),), catalogue.fields()), strict=True):
            assert row[1] == record["path"]
            assert bytes.fromhex(row[2]) == record["path_bytes"]
            assert (float(row[3]) if row[3] else None) == record["snr"]
            assert row[4] == ";".join(record["flags"] or [])
            assert int(row[5]) == record["bytes"]

    def test_export_json_survives(self, catalogue: Catalogue, records: list[Row]) -> None:
        """An object per line, with the same values; opaque columns only on request."""
        stream = io.BytesIO()
        export(catalogue, Query(sort=(Sort("path"),), limit=None), "json", stream)
        lines = stream.getvalue().decode().splitlines()
        expected = ordered(records, (Sort("path"),), catalogue.fields())
        hidden = {"path_bytes", "flag_details"}
        assert [json.loads(line) for line in lines] == [
            {key: value for key, value in row.items() if key not in hidden} for row in expected
        ]

    def test_export_takes_the_limit(self, catalogue: Catalogue, records: list[Row]) -> None:
        """The first so many in the order asked for."""
        stream = io.BytesIO()
        query = Query(Exists("interestingness"), sort=(Sort("interestingness", descending=True),), limit=3)
        assert export(catalogue, query, "csv", stream) == 3
        rows = list(csv.DictReader(io.StringIO(stream.getvalue().decode(), newline="")))
        best = sorted((row["interestingness"] or 0 for row in records), reverse=True)[:3]
        assert [float(row["interestingness"]) for row in rows] == best

    def test_paths_are_the_true_bytes(self, catalogue: Catalogue, records: list[Row]) -> None:
        """Source for what stayed, destination for what was placed; bytes that aren't UTF-8 as on the disk."""
        stream = io.BytesIO()
        export(catalogue, Query(sort=(Sort("path"),), limit=None), "paths0", stream)
        found = stream.getvalue().split(b"\0")[:-1]
        for path, record in zip(found, ordered(records, (Sort("path"),), catalogue.fields()), strict=True):
            if record["destination"] is None:
                assert path == b"/input/" + record["path_bytes"]
            else:
                assert path.endswith(b"/tiers/x/" + record["path_bytes"])

    def test_located_files_are_the_paths(self, catalogue: Catalogue) -> None:
        """The folders of a run lead to the same places, beside the record they belong to."""
        query = Query(sort=(Sort("path"),), limit=None)
        found = list(located(catalogue, query))
        assert [os.fsencode(str(each.path)) for each in found] == list(catalogue.paths(query))
        assert {each.folders.source for each in found} == {"/input"}
        assert [each.record["path_bytes"] for each in found if each.record["destination"] is None] == [
            os.fsencode(str(each.path)).removeprefix(b"/input/") for each in found if each.record["destination"] is None
        ]

    def test_unknown_format(self, catalogue: Catalogue) -> None:
        """Formats are named in the message."""
        with pytest.raises(QueryError, match="expected one of parquet, csv"):
            export(catalogue, Query(), "xlsx", io.BytesIO())  # type: ignore[arg-type]


def catalogue_unit(schema: pa.Schema, column: str) -> str:
    """Return the unit in a column's metadata."""
    return (schema.field(column).metadata or {}).get(b"unit", b"").decode()
