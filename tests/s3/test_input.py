"""An input on a real S3 server: the same tables as from a folder, and every trouble told for what it is."""

from __future__ import annotations

import shutil

import pyarrow.parquet as pq
import pytest
from stored import NOWHERE, PLATE, WHOLE, bucket, do, wire  # noqa: F401 - fixtures

from comparing import TIMES, same_tables
from tierflow import tables
from tierflow.cli import main
from tierflow.commands import job
from tierflow.errors import ConfigError, InputMissingError, TryAgainError
from tierflow.objectstore.connect import connect

ODD = "Ä plate/deep folder/B03 + 100% #1?_w1.tif"
# What differs between the same run from two places: when things happened, and where the input was.
PLACE_AND_TIME = TIMES | {"mtime_ns"}


@pytest.fixture
def plate(tmp_path):
    folder = tmp_path / "plate"
    shutil.copytree(PLATE, folder)
    first = next(folder.rglob("*.tif"))
    for name in (ODD, "thumbs/B03_s1_thumb.tif", ".hidden/x.tif", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(first, folder / name)
    (folder / "empty.tif").touch()
    return folder


def test_the_same_plate_gives_the_same_tables(bucket, plate, tmp_path):  # noqa: F811
    bucket.put_folder(plate, "plates/plate")
    bucket.put("plates/plate/folder mark/", b"")
    near, far = tmp_path / "near", tmp_path / "far"
    job.scan(str(plate), output=str(near), set=NOWHERE)
    job.scan(bucket.url("plates/plate/"), output=str(far), set=NOWHERE)
    for output in (near, far):
        do(output, *WHOLE)
    assert len(same_tables(near, far, but=PLACE_AND_TIME)) > 12
    shards = [pq.read_table(path) for path in sorted((far / "scan" / "shards").glob("*.parquet"))]
    assert ODD in {path for shard in shards for path in shard["path"].to_pylist()}
    assert {tables.metadata_of(shard)["input"] for shard in shards} == {bucket.url("plates/plate")}
    assert "s3://" in (far / "report.html").read_text()


def test_a_scan_lists_and_extract_gets_each_object_once(wire, bucket, plate, tmp_path):  # noqa: F811
    bucket.put_folder(plate, "P")
    output = str(tmp_path / "out")
    job.scan(bucket.url("P"), output=output, set=NOWHERE)
    assert {request.split("?")[0] for request in wire.requests} == {f"GET /{bucket.name}"}
    assert all("list-type=2" in request for request in wire.requests)
    assert len(wire.requests) <= 4
    wire.requests.clear()
    do(output, "extract")
    objects = [request for request in wire.requests if "list-type" not in request]
    assert len(objects) == len(set(objects)) == 21
    assert all(request.startswith("GET ") for request in objects)


def test_cut_connections_and_truncated_bodies_are_read_again(wire, bucket, plate, tmp_path):  # noqa: F811
    bucket.put_folder(plate, "plate")
    job.scan(bucket.url("plate"), output=str(tmp_path / "cut"), set=NOWHERE)
    wire.cuts, wire.after = 3, 20_000
    do(tmp_path / "cut", "extract")
    assert wire.cuts == 0
    job.scan(str(plate), output=str(tmp_path / "near"), set=NOWHERE)
    do(tmp_path / "near", "extract")
    for path in (tmp_path / "near" / "extract").glob("*.parquet"):
        assert tables.read(path).equals(tables.read(tmp_path / "cut" / "extract" / path.name))


def test_new_versions_are_noticed_and_vanished_objects_are_rows(bucket, plate, tmp_path):  # noqa: F811
    bucket.put_folder(plate, "P")
    output = tmp_path / "out"
    job.scan(bucket.url("P"), output=str(output), set=NOWHERE)
    do(output, "extract")
    before = {path.name: path.stat().st_mtime_ns for path in (output / "scan" / "shards").glob("*.parquet")}
    job.scan(bucket.url("P"), output=str(output), set=NOWHERE)
    assert before == {path.name: path.stat().st_mtime_ns for path in (output / "scan" / "shards").glob("*.parquet")}
    data = bytearray(bucket.get(f"P/{ODD}"))
    data[-1] ^= 1
    bucket.put(f"P/{ODD}", bytes(data))
    job.scan(bucket.url("P"), output=str(output), set=NOWHERE)
    after = {path.name: path.stat().st_mtime_ns for path in (output / "scan" / "shards").glob("*.parquet")}
    [changed] = [name for name in before if before[name] != after[name]]
    bucket.delete(f"P/{ODD}")
    do(output, "extract")
    rows = tables.read(output / "extract" / changed).to_pylist()
    ids = {
        row["object_id"] for row in tables.read(output / "scan" / "shards" / changed).to_pylist() if row["path"] == ODD
    }
    [missing] = [row for row in rows if row["flag"] == "missing"]
    assert {missing["object_id"]} == ids
    assert missing["reason"].startswith(f"{bucket.url('P')}/{ODD} isn't there any more")


def test_troubles_of_the_store_are_told_apart(bucket, plate, tmp_path, monkeypatch):  # noqa: F811
    bucket.put_folder(plate, "P")
    out = {"output": str(tmp_path / "out"), "set": NOWHERE}
    with pytest.raises(ConfigError, match="bucket"):
        job.scan("s3://h6-no-such-bucket/P", **out)
    with pytest.raises(InputMissingError, match="no image files in s3://"):
        job.scan(bucket.url("Q"), **out)
    [key] = bucket.listed(f"P/{ODD}")
    with pytest.raises(ConfigError, match="is one object"):
        job.scan(bucket.url(key), **out)
    job.scan(bucket.url("P"), **out)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        connect.cache_clear()
        with pytest.raises(ConfigError):
            do(tmp_path / "out", "extract")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        connect.cache_clear()
        with pytest.raises(TryAgainError):
            do(tmp_path / "out", "extract")
    connect.cache_clear()
    do(tmp_path / "out", "extract")


@pytest.mark.parametrize("driver", ["link", "move", "trash"])
def test_tiers_that_would_touch_the_store_are_refused_before_any_work(bucket, tmp_path, driver):  # noqa: F811
    bucket.put("P/a.tif", b"x")
    with pytest.raises(ConfigError, match=rf"tiers\.B\.driver is '{driver}'.*--set tiers\.B\.driver=none"):
        job.scan(bucket.url("P"), output=str(tmp_path / "out"), set=[*NOWHERE, f"tiers.B.driver={driver}"])
    assert not (tmp_path / "out" / "scan" / "summary.json").exists()


def test_copies_from_the_store_are_the_measured_bytes(bucket, plate, tmp_path):  # noqa: F811
    bucket.put_folder(plate, "P")
    output = tmp_path / "out"
    copied = [f"tiers.{name}.driver=copy" for name in "ABCD"] + ["quarantine.driver=copy"]
    job.scan(bucket.url("P"), output=str(output), set=[*NOWHERE, *copied])
    do(output, *WHOLE)
    placed = [row for path in (output / "place").glob("*.parquet") for row in tables.read(path).to_pylist()]
    assert {row["placement"] for row in placed} == {"placed"}, [row["problem"] for row in placed]
    paths = {
        row["object_id"]: row["path"]
        for shard in (output / "scan" / "shards").glob("*.parquet")
        for row in tables.read(shard).to_pylist()
    }
    for row in placed:
        assert (output / row["destination"]).read_bytes() == (plate / paths[row["object_id"]]).read_bytes()
    assert sorted(bucket.listed("P/")) == sorted(
        f"P/{path.relative_to(plate).as_posix()}" for path in plate.rglob("*") if path.is_file()
    )


def test_a_whole_run_by_the_command_line(bucket, plate, tmp_path, capsys):  # noqa: F811
    bucket.put_folder(plate, "P")
    sets = [text for setting in NOWHERE for text in ("--set", setting)]
    sets += ["--set", "scan.shard_objects=1000"]
    output = tmp_path / "out"
    with pytest.raises(SystemExit) as refused:
        main(["run", bucket.url("P"), "--output", bucket.url("out"), *sets])
    assert refused.value.code == 78
    assert "tierflow job" in capsys.readouterr().err
    with pytest.raises(SystemExit) as done:
        main(["run", bucket.url("P"), "--output", str(output), "--cores", "2", *sets])
    assert done.value.code in (0, None)
    assert len(list((output / "catalogue").glob("*.parquet"))) == 1
