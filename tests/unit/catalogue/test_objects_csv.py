import csv
import os
import shutil

import pyarrow as pa
import pytest

from tierflow import tables
from tierflow.catalogue.objects_csv import COLUMNS, NOT_MEASURED, write_objects_csv
from tierflow.errors import InputMissingError, TableError
from tierflow.testing.tables import make_run


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def written(output):
    target = output / "objects.csv"
    count = write_objects_csv(output, target)
    rows = read(target)
    assert len(rows) == count
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert [path.name for path in output.iterdir() if path.name.endswith(".part")] == []
    return rows


def test_columns_are_exactly_these():
    expected = "path object_id status reason interestingness tier flags destination sha256 bytes"
    names = "plate well row column site channel z timepoint acquired_at"
    assert " ".join(COLUMNS) == f"{expected} {names}"


def test_a_whole_run(tmp_path):
    output = make_run(tmp_path, objects=50, shard_objects=20, failed_share=0.1, catalogue=True)
    rows = written(output)
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 50
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(failed) == 5
    assert all(row["tier"] == "quarantine" and row["reason"] and row["flags"] for row in failed)
    assert all(row["interestingness"] == "" for row in failed)
    score = {
        row["object_id"]: row for n in range(3) for row in tables.read(output / f"score/0000{n}.parquet").to_pylist()
    }
    for row in rows:
        assert (float(row["interestingness"]) if row["interestingness"] else None) == score[row["object_id"]][
            "interestingness"
        ]
        assert row["flags"] == ";".join(score[row["object_id"]]["flags"])


def test_catalogue_and_raw_tables_give_the_same_bytes(tmp_path):
    output = make_run(tmp_path, objects=50, shard_objects=20, failed_share=0.1, catalogue=True)
    written(output)
    from_catalogue = (output / "objects.csv").read_bytes()
    shutil.rmtree(output / "catalogue")
    written(output)
    assert (output / "objects.csv").read_bytes() == from_catalogue


@pytest.mark.parametrize(
    ("gone", "filled", "empty"),
    [
        (("place", "catalogue"), "interestingness", ("tier", "destination")),
        (("place", "catalogue", "score"), "sha256", ("tier", "destination", "interestingness")),
        (("place", "catalogue", "score", "extract"), "plate", ("status", "tier", "sha256")),
    ],
)
def test_a_run_that_stopped_still_lists_every_object(tmp_path, gone, filled, empty):
    output = make_run(tmp_path, objects=50, shard_objects=20, failed_share=0, catalogue=True)
    for folder in gone:
        shutil.rmtree(output / folder)
    rows = written(output)
    assert len(rows) == 50
    assert all(row[filled] for row in rows)
    assert all(row[name] == "" for row in rows for name in empty)


def test_a_run_that_stopped_in_the_middle_of_a_step(tmp_path):
    output = make_run(tmp_path, objects=60, shard_objects=20, failed_share=0.1, catalogue=True)
    (output / "catalogue" / "00001.parquet").unlink()
    (output / "place" / "00001.parquet").unlink()
    for folder in ("catalogue", "place", "score", "extract"):
        (output / folder / "00002.parquet").unlink()
    rows = {row["object_id"]: row for row in written(output)}
    shards = [tables.read(output / f"scan/shards/0000{n}.parquet")["object_id"].to_pylist() for n in range(3)]
    assert all(rows[i]["tier"] for i in shards[0])
    assert all(rows[i]["tier"] == "" and rows[i]["status"] for i in shards[1])
    assert all(rows[i]["status"] == "" and rows[i]["reason"] == NOT_MEASURED for i in shards[2])


def test_failures_are_told_before_they_are_scored(tmp_path):
    output = make_run(tmp_path, objects=30, failed_share=0.2, placed=False)
    shutil.rmtree(output / "score")
    failed = [row for row in written(output) if row["status"] == "failed"]
    assert len(failed) == 6
    assert {row["flags"] for row in failed} == {"empty_file", "truncated", "unreadable"}
    assert all(row["reason"] for row in failed)


def test_a_stale_catalogue_is_not_believed(tmp_path):
    output = make_run(tmp_path, objects=10, failed_share=0, catalogue=True)
    path = output / "score" / "00000.parquet"
    table = tables.read(path)
    column = table.schema.get_field_index("interestingness")
    tables.write(path, table.set_column(column, table.schema.field(column), [[0.125] * 10]))
    later = (output / "catalogue" / "00000.parquet").stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    assert {row["interestingness"] for row in written(output)} == {"0.125"}


@pytest.mark.parametrize("folder", ["catalogue", "place", "score", "extract"])
def test_a_damaged_table_costs_only_what_it_held(tmp_path, folder):
    output = make_run(tmp_path, objects=10, failed_share=0, catalogue=folder == "catalogue")
    (output / folder / "00000.parquet").write_bytes(b"damaged")
    assert len(written(output)) == 10


def test_a_damaged_scan_is_an_error_and_keeps_the_old_list(tmp_path):
    output = make_run(tmp_path, objects=10, failed_share=0)
    written(output)
    before = (output / "objects.csv").read_bytes()
    (output / "scan" / "shards" / "00000.parquet").write_bytes(b"damaged")
    with pytest.raises(TableError, match=r"00000\.parquet can't be read"):
        write_objects_csv(output, output / "objects.csv")
    assert (output / "objects.csv").read_bytes() == before


def test_nothing_scanned_yet(tmp_path):
    with pytest.raises(InputMissingError, match="holds no scan"):
        write_objects_csv(tmp_path, tmp_path / "objects.csv")


def test_strange_names_can_be_read_back(tmp_path):
    output = make_run(tmp_path, objects=6, failed_share=0, placed=False)
    shutil.rmtree(output / "score")
    shutil.rmtree(output / "extract")
    names = ["a\nb.tif", 'say "hi".tif', "comma,semi;.tif", "größe\\xff.tif", " space .tif", "=1+1.tif"]
    path = output / "scan" / "shards" / "00000.parquet"
    table = tables.read(path)
    column = table.schema.get_field_index("path")
    tables.write(path, table.set_column(column, table.schema.field(column), pa.array([names])[0].values))
    assert sorted(row["path"] for row in written(output)) == sorted(names)
