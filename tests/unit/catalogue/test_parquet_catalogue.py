import io
import shutil

import pytest

from tierflow import tables
from tierflow.catalogue.parquet import ParquetCatalogue, current_path
from tierflow.catalogue.query import Eq, Query
from tierflow.errors import InputMissingError, TableError, TryAgainError
from tierflow.testing.tables import index_run, make_run


@pytest.fixture
def output(tmp_path):
    return make_run(tmp_path, objects=30, shard_objects=10, catalogue=True)


def snapshot(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def test_no_catalogue_yet_names_the_command(tmp_path):
    with pytest.raises(InputMissingError, match=r"holds no catalogue yet: .*tierflow run INPUT --output"):
        ParquetCatalogue(tmp_path).count()
    with pytest.raises(InputMissingError, match="is no folder"):
        ParquetCatalogue(tmp_path / "nowhere").count()


def test_a_run_that_still_writes_is_seen_as_far_as_it_is_whole(output):
    parked = output.parent / "parked.parquet"
    shutil.move(output / "catalogue" / "00002.parquet", parked)
    catalogue = ParquetCatalogue(output)
    assert catalogue.count() == 20
    unfinished = output / "catalogue" / ".00002.parquet.0a1b2c3d.part"
    unfinished.write_bytes(parked.read_bytes()[:1000])
    (output / "catalogue" / ".00003.parquet").write_bytes(b"")
    assert catalogue.count() == 20
    shutil.move(parked, output / "catalogue" / "00002.parquet")
    assert catalogue.count() == 30


def test_a_replaced_table_is_read_anew(output):
    catalogue = ParquetCatalogue(output)
    before = catalogue.count(Eq("tier", "A"))
    path = output / "place" / "00000.parquet"
    table = tables.read(path)
    others = catalogue.count(Eq("tier", "A")) - tables.read(path)["tier"].to_pylist().count("A")
    assert before > others
    tables.write(path, table.set_column(1, table.schema.field("tier"), [["Z"] * table.num_rows]))
    index_run(output)
    assert catalogue.count(Eq("tier", "A")) == others
    assert catalogue.count(Eq("tier", "Z")) == 10


def test_tables_of_an_earlier_scan_are_left_out(output):
    (output / "scan" / "shards" / "00002.parquet").unlink()
    assert ParquetCatalogue(output).count() == 20
    shutil.rmtree(output / "scan")
    assert ParquetCatalogue(output).count() == 30


@pytest.mark.parametrize("damage", [b"", b"hello world, this is no table", None])
def test_a_damaged_table_is_named(output, damage):
    path = output / "catalogue" / "00001.parquet"
    path.write_bytes(path.read_bytes()[:2000] if damage is None else damage)
    with pytest.raises(TableError, match=r"00001\.parquet.*delete that file and run `tierflow run` again"):
        ParquetCatalogue(output).count()


def test_another_version_is_refused(output):
    path = output / "catalogue" / "00001.parquet"
    tables.write(path, tables.read(path), catalogue_version="0")
    with pytest.raises(TableError, match=r"00001\.parquet has catalogue version 0, expected 2"):
        ParquetCatalogue(output).count()


def test_a_table_that_vanishes_while_reading_means_try_again(output, monkeypatch):
    catalogue = ParquetCatalogue(output)
    catalogue.count()
    seen = catalogue._engine.snapshot()
    monkeypatch.setattr(catalogue._engine, "snapshot", lambda: seen)
    (output / "catalogue" / "00001.parquet").unlink()
    with pytest.raises(TryAgainError, match="try again"):
        catalogue.facets("tier")
    with pytest.raises(TryAgainError, match="try again"):
        catalogue.export(Query(limit=None), "csv", io.BytesIO())


def test_nothing_is_written_to_the_output(output, tmp_path, monkeypatch):
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = snapshot(output)
    catalogue = ParquetCatalogue(output)
    catalogue.search(Query())
    catalogue.facets("flags")
    catalogue.histogram("snr")
    for fmt in ("csv", "json", "parquet", "paths"):
        catalogue.export(Query(limit=None), fmt, io.BytesIO())
    assert snapshot(output) == before
    assert list(elsewhere.iterdir()) == []


def test_folders_named_like_columns_or_patterns_change_nothing(output, tmp_path):
    odd = tmp_path / "tier=Q" / "run [1] *?'x"
    shutil.copytree(output, odd)
    catalogue = ParquetCatalogue(odd)
    assert catalogue.count() == 30
    assert catalogue.count(Eq("tier", "Q")) == 0
    [first] = catalogue.search(Query(limit=1)).rows
    assert catalogue.get(first["object_id"])["path"] == first["path"]
    target = odd / "it's.csv"
    assert catalogue.export(Query(limit=None), "csv", target) == 30
    assert target.read_text().startswith("object_id,path,")


def test_a_failed_export_leaves_no_file(output, tmp_path):
    catalogue = ParquetCatalogue(output)
    path = output / "catalogue" / "00001.parquet"
    content = bytearray(path.read_bytes())
    # Page data only: the footer still promises a table.
    content[4 : len(content) // 3] = b"\xa5" * (len(content) // 3 - 4)
    path.write_bytes(bytes(content))
    target = tmp_path / "export" / "all.csv"
    with pytest.raises(TableError, match="damaged"):
        catalogue.export(Query(limit=None), "csv", target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        (None, b"/data/in/caf\xe9.tif"),
        ("/tiers/A/caf\\xe9.tif", b"/tiers/A/caf\xe9.tif"),
        ("tiers/A/caf\\xe9.tif", b"/out/tiers/A/caf\xe9.tif"),
        ("/tiers/A/renamed.tif", b"/tiers/A/renamed.tif"),
    ],
)
def test_current_path(tmp_path, destination, expected):
    found = current_path(
        path="caf\\xe9.tif",
        path_bytes=b"caf\xe9.tif",
        destination=destination,
        source="/data/in/",
        output=tmp_path.__class__("/out"),
    )
    assert found == expected
