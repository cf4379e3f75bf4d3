import csv
import io
import json

import pyarrow.parquet as pq
import pytest

from tierflow.catalogue.commands import (
    Rows,
    export_command,
    facets_command,
    parse_sort,
    search_command,
    write_rows,
)
from tierflow.catalogue.query import Sort
from tierflow.errors import InputMissingError, QueryError
from tierflow.testing.tables import make_run


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), objects=60, shard_objects=25, catalogue=True)


def test_a_table_of_the_best(output):
    found = search_command(output, "not tier:quarantine", target=io.BytesIO(), sort="-if", columns="if,snr", limit=5)
    assert found.columns == ("object_id", "path", "interestingness", "snr")
    values = [row[2] for row in found.rows]
    assert values == sorted(values, reverse=True)
    assert found.note.startswith("5 of 57 objects; next page: --cursor ")


def test_pages_go_on_where_the_note_says(output):
    first = search_command(output, target=io.BytesIO(), sort="-if,path")
    cursor = first.note.rpartition(" ")[2]
    second = search_command(output, target=io.BytesIO(), sort="-if,path", cursor=cursor)
    third = search_command(output, target=io.BytesIO(), sort="-if,path", cursor=second.note.rpartition(" ")[2])
    ids = [row[0] for page in (first, second, third) for row in page.rows]
    assert len(set(ids)) == len(ids) == 60
    assert third.note == "20 of 60 objects"


def test_csv_to_a_stream_holds_all_objects(output):
    stream = io.BytesIO()
    assert search_command(output, "tier:quarantine", target=stream, columns="reason", fmt="csv") is None
    rows = list(csv.reader(io.StringIO(stream.getvalue().decode(), newline="")))
    assert rows[0] == ["object_id", "path", "reason"]
    assert len(rows) == 4


def test_paths_one_per_line(output):
    stream = io.BytesIO()
    search_command(output, "tier:A", target=stream, fmt="paths", limit=2)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.startswith(bytes(output / "tiers" / "A")) for line in lines)


def test_a_cursor_is_for_tables(output):
    with pytest.raises(QueryError, match="--cursor goes with --format table"):
        search_command(output, target=io.BytesIO(), cursor="abc", fmt="csv")


@pytest.mark.parametrize("fmt", ["table", "csv"])
def test_limits_are_positive(output, fmt):
    with pytest.raises(QueryError, match="limit 0"):
        search_command(output, target=io.BytesIO(), limit=0, fmt=fmt)


def test_facets_of_text_are_counts(output):
    found = facets_command(output, "tier")
    assert found.columns == ("tier", "objects")
    assert sum(count for _, count in found.rows) == 60
    assert facets_command(output, "well", limit=3).note == "the first 3 values"


def test_facets_of_numbers_are_statistics(output):
    found = dict(facets_command(output, "if", "tier:A").rows)
    assert found["objects"] > 0
    assert 0.75 <= found["minimum"] <= found["50 %"] <= found["maximum"] <= 1


def test_facets_by_group_and_by_bins(output):
    grouped = facets_command(output, "snr", by="channel")
    assert [row[0] for row in grouped.rows] == ["DAPI", "GFP"]
    assert sum(row[1] for row in grouped.rows) == 57
    assert sum(row[2] for row in facets_command(output, "snr", bins=7).rows) == 57
    with pytest.raises(QueryError, match="exclude each other"):
        facets_command(output, "snr", by="tier", bins=3)


def test_export_takes_the_format_from_the_name(output, tmp_path):
    assert export_command(output, tmp_path / "all.parquet", "status:ok") == 57
    assert pq.read_metadata(tmp_path / "all.parquet").num_rows == 57
    assert export_command(output, tmp_path / "some.JSONL", limit=3) == 3
    assert len((tmp_path / "some.JSONL").read_text().splitlines()) == 3
    assert export_command(output, tmp_path / "list.txt", "tier:A") == len(
        (tmp_path / "list.txt").read_text().splitlines()
    )
    with pytest.raises(QueryError, match=r"can't tell the format of 'all\.xlsx'"):
        export_command(output, tmp_path / "all.xlsx")


def test_wrong_queries_and_places_are_named(output, tmp_path):
    with pytest.raises(QueryError, match="did you mean 'tier'"):
        search_command(output, "teir:A", target=io.BytesIO())
    with pytest.raises(QueryError, match="did you mean 'path'"):
        search_command(output, target=io.BytesIO(), sort="pathh")
    with pytest.raises(InputMissingError, match="no catalogue yet"):
        search_command(tmp_path, target=io.BytesIO())


def test_sort_keys():
    assert parse_sort("-if,path") == (Sort("if", descending=True), Sort("path"))
    assert parse_sort("") == ()


def test_small_tables_as_csv_and_json():
    rows = Rows(("tier", "objects"), (("a,b", 0.1 + 0.2), (None, 2)))
    stream = io.BytesIO()
    write_rows(rows, "csv", stream)
    assert stream.getvalue() == b'tier,objects\n"a,b",0.30000000000000004\n,2\n'
    stream = io.BytesIO()
    write_rows(rows, "json", stream)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"tier": "a,b", "objects": 0.1 + 0.2},
        {"tier": None, "objects": 2},
    ]
