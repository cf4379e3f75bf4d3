"""The table of what is known about the objects: what is read, what is refused, and how it meets the objects."""

from __future__ import annotations

import datetime
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tierflow import metadata_table, tables
from tierflow.config import Config, Metadata
from tierflow.errors import ConfigError, InputMissingError
from tierflow.render.snakemake import Workflow
from tierflow.steps import index
from tierflow.testing.tables import make_run

FIELDS = {
    "compound": {"type": "text"},
    "dose": {"type": "number", "unit": "uM", "about": "concentration"},
    "passage": {"type": "integer"},
    "control": {"type": "boolean"},
    "seeded": {"type": "date"},
}
HEADER = "plate,well,compound,dose,passage,control,seeded"


def declare(*key, fields=FIELDS, table=None):
    return Metadata.model_validate({"key": key or ("plate", "well"), "fields": fields, "table": table})


def load(tmp_path, *lines, declared=None, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding, newline="")
    return metadata_table.load(path, declared or declare())


def test_every_type_is_read_as_declared(tmp_path):
    table = load(tmp_path, HEADER, "P1,b3,DMSO,0.5,12,yes,2026-11-21", "P1,B4,, ,,,")
    assert table.to_pylist() == [
        {
            "plate": "P1",
            "well": "B03",
            "metadata.compound": "DMSO",
            "metadata.dose": 0.5,
            "metadata.passage": 12,
            "metadata.control": "true",
            "metadata.seeded": "2026-11-21",
        },
        {
            "plate": "P1",
            "well": "B04",
            "metadata.compound": None,
            "metadata.dose": None,
            "metadata.passage": None,
            "metadata.control": None,
            "metadata.seeded": None,
        },
    ]
    dose = table.schema.field("metadata.dose")
    assert dose.metadata == {b"about": b"concentration", b"unit": b"uM"}


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_delimiters_quotes_and_what_spreadsheets_add(tmp_path, sign):
    declared = declare("well", fields={"compound": {}})
    lines = [f"well{sign}compound{sign}", f'A1{sign}"x{sign} ""y""\nz"{sign}', f"{sign}{sign}", "", f"A2{sign} DMSO "]
    table = load(tmp_path, *lines, declared=declared, encoding="utf-8-sig")
    assert table.to_pydict() == {"well": ["A01", "A02"], "metadata.compound": [f'x{sign} "y"\nz', "DMSO"]}


def test_parquet_says_the_same_as_csv(tmp_path):
    path = tmp_path / "table.parquet"
    columns = {
        "plate": ["P1", "P1", None],
        "well": pa.array(["b3", "B4", None]).dictionary_encode(),
        "compound": ["DMSO", "", None],
        "dose": [0.5, float("nan"), None],
        "passage": [12.0, None, None],
        "control": [True, None, None],
        "seeded": [datetime.date(2026, 11, 21), None, None],
    }
    pq.write_table(pa.table(columns), path)
    expected = load(tmp_path, HEADER, "P1,b3,DMSO,0.5,12,yes,2026-11-21", "P1,B4,,,,,")
    assert metadata_table.load(path, declare()) == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["plate,compound", "P1,x"], r"the key's column 'well' is missing, found plate, compound"),
        ([HEADER.replace(",dose", ""), ""], r"the declared field 'dose' has no column"),
        ([HEADER + ",colour", ""], r"the column 'colour' isn't declared: say its type under `fields`"),
        ([HEADER + ",dose", ""], r"the column 'dose' occurs twice"),
        (["plate,,well", ""], r"column 2 has no name"),
        ([HEADER, "P1,A1,,,,,", "P1,A2,,1 uM,,,"], r"row 3: dose is '1 uM': expected a number such as 0\.5"),
        ([HEADER, "", "P1,A2,,nan,,,"], r"row 3: dose is 'nan'"),
        ([HEADER, "P1,A2,,inf,,,"], r"row 2: dose is 'inf'"),
        ([HEADER, "P1,A2,,,1.5,,"], r"row 2: passage is '1\.5': expected a whole number"),
        ([HEADER, "P1,A2,,,99999999999999999999,,"], r"row 2: passage is '9+'"),
        ([HEADER, "P1,A2,,,,maybe,"], r"row 2: control is 'maybe': expected true or false"),
        ([HEADER, "P1,A2,,,,,21.11.2026"], r"row 2: seeded is '21\.11\.2026': expected a date"),
        ([HEADER, "P1,A2,,,,,2026-02-30"], r"row 2: seeded is '2026-02-30'"),
        ([HEADER, "P1,A1,,,,,", "P1,a01,,,,,"], r"rows 2 and 3 have the same key \(plate P1, well A01\)"),
        ([HEADER, "P1,A1,,,,,", "P1,,x,,,,"], r"row 3: the key's column 'well' is empty"),
        ([HEADER, "P1,Z99,,,,,"], r"row 2: 'Z99' is no well"),
        ([HEADER, "P1,A1,a,b,c,d,e,f"], r"row 2 has 8 cells, but the header has 7"),
        (["", HEADER], r"begins with an empty line"),
        ([], r"begins with an empty line"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, lines, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, *lines)
    assert str(tmp_path / "table.csv") in str(caught.value)


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(InputMissingError, match=r"missing: check the path"):
        metadata_table.load(tmp_path / "no.csv", declare())
    with pytest.raises(ConfigError, match="can't be read as a table"):
        load(tmp_path, HEADER, "P1,A1,größe,,,,", encoding="latin-1")
    (tmp_path / "bad.parquet").write_bytes(b"hello")
    with pytest.raises(ConfigError, match="can't be read as a table"):
        metadata_table.load(tmp_path / "bad.parquet", declare())


def scan(**columns):
    rows = len(next(iter(columns.values())))
    missing = {field.name: pa.nulls(rows, field.type) for field in tables.SCAN}
    return pa.table({**missing, **columns}, schema=tables.SCAN)


def test_join_gives_a_row_per_object_in_order(tmp_path):
    declared = declare(fields={"compound": {}, "dose": {"type": "number"}})
    table = load(tmp_path, "dose,well,compound,plate", "1,B3,x,P1", "2,b04,y,P1", "3,B03,z,P2", declared=declared)
    objects = scan(plate=["P2", "P1", "P1", "P3", None, "P1"], well=["B03", "B04", "B03", "B03", "B03", None])
    joined = metadata_table.join(objects, table, declared)
    assert joined.to_pydict() == {
        "metadata.compound": ["z", "y", "x", None, None, None],
        "metadata.dose": [3, 2, 1, None, None, None],
    }


@pytest.mark.parametrize("written", ["B03", "B3", "b3", " b03 "])
def test_wells_are_known_however_they_are_written(tmp_path, written):
    declared = declare("well", fields={"compound": {}})
    table = load(tmp_path, "well,compound", f"{written},x", declared=declared)
    assert metadata_table.join(scan(well=["B03"]), table, declared)["metadata.compound"].to_pylist() == ["x"]


@pytest.fixture
def run(tmp_path):
    """A run of two shards whose second plate only has other wells, and how to index it with a table."""
    output = make_run(tmp_path, objects=40, shard_objects=20)
    wells = [tables.read(output / "scan" / "shards" / f"0000{i}.parquet")["well"].to_pylist() for i in (0, 1)]

    def indexed(shard, *lines):
        path = tmp_path / "known.csv"
        path.write_text("\n".join(["well,compound", *lines]) + "\n")
        tree = {"key": ["well"], "fields": {"compound": {}}, "table": str(path)}
        config = Config.model_validate({"input": str(tmp_path / "input"), "dataset": "synthetic", "metadata": tree})
        (output / "config.yaml").write_text(config.model_dump_json())
        name = f"0000{shard}"
        index.run(
            shard=output / "scan" / "shards" / f"{name}.parquet",
            extract=output / "extract" / f"{name}.parquet",
            score=output / "score" / f"{name}.parquet",
            place=output / "place" / f"{name}.parquet",
            config=output / "config.yaml",
            catalogue=output / "catalogue" / f"{name}.parquet",
            receipt=output / "index" / f"{name}.json",
        )
        return tables.read(output / "catalogue" / f"{name}.parquet")

    return wells, indexed


def test_the_catalogue_holds_the_fields(run):
    wells, indexed = run
    records = indexed(0, *(f"{well},c{well}" for well in dict.fromkeys(wells[0])))
    assert records["metadata.compound"].to_pylist() == [f"c{well}" for well in wells[0]]


def test_partly_matching_is_told_in_the_log(run, caplog):
    wells, indexed = run
    known = wells[0].count(wells[0][0])
    with caplog.at_level(logging.WARNING):
        records = indexed(0, f"{wells[0][0]},x")
    assert records["metadata.compound"].to_pylist().count("x") == known
    assert f"knows {known} of the 20 objects of shard 00000" in caplog.text


def test_a_shard_without_a_match_is_fine_where_another_has_one(run):
    wells, indexed = run
    only_there = next(well for well in wells[1] if well not in wells[0])
    assert indexed(0, f"{only_there},x")["metadata.compound"].null_count == 20


def test_a_key_that_matches_nothing_shows_both_sides(run):
    wells, indexed = run
    with pytest.raises(ConfigError, match=rf"matches no object by its key \(well\).*'{wells[0][0]}'.*'H12', 'H11'"):
        indexed(0, "H12,x", "H11,y")


def test_index_is_out_of_date_when_the_table_changes(tmp_path):
    path = tmp_path / "known.csv"
    path.write_text("well,compound\nA1,x\n")
    config = Config.model_validate(
        {"input": str(tmp_path), "metadata": {"key": ["well"], "fields": {"compound": {}}, "table": str(path)}}
    )
    workflow = Workflow(config=config, output=tmp_path)
    before = {step: workflow.settings(step) for step in ("score", "place", "index")}
    path.write_text("well,compound\nA1,y\n")
    assert [step for step in before if workflow.settings(step) != before[step]] == ["index"]
