"""An output on a real S3 server: what engines put there is what they would put into a folder, also after a kill."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from stored import NOWHERE, PLATE, WHOLE, bucket, do  # noqa: F401 - a fixture

from comparing import same_tables
from tierflow import tables
from tierflow.commands import job
from tierflow.errors import ConfigError, TryAgainError
from tierflow.objectstore.connect import place_at
from tierflow.objectstore.staging import Staging
from tierflow.tiers.base import Stamp
from tierflow.tiers.entries import Entry
from tierflow.tiers.journal import AFTER_SYNC, open_journal


def test_jobs_on_a_store_give_the_results_of_jobs_in_a_folder(bucket, tmp_path, capsys):  # noqa: F811
    near, far = tmp_path / "near", bucket.url("runs/P1")
    values = tmp_path / "values"
    for output in (near, far):
        job.scan(str(PLATE), output=str(output), set=NOWHERE, values=values)
        do(output, *WHOLE)
    bucket.get_folder("runs/P1", tmp_path / "got")
    assert len(same_tables(near, tmp_path / "got")) > 12
    assert (tmp_path / "got" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "got" / "objects.csv").read_bytes() == (near / "objects.csv").read_bytes()
    assert json.loads((tmp_path / "got" / "logs" / "extract" / "00000.log").read_text())["step"] == "extract"
    assert not [key for key in bucket.listed() if key.endswith((".part", ".lock")) or "progress" in key]
    written = {key: bucket.client.head_object(Bucket=bucket.name, Key=key)["LastModified"] for key in bucket.listed()}
    capsys.readouterr()
    job.scan(str(PLATE), output=far, set=NOWHERE)
    do(far, *WHOLE)
    said = capsys.readouterr().err
    assert said.count(" 0 done, ") == said.count("were up to date") == len(WHOLE)
    assert written == {
        key: bucket.client.head_object(Bucket=bucket.name, Key=key)["LastModified"] for key in bucket.listed()
    }
    job.summary(far)
    assert "report" in capsys.readouterr().out


def test_what_is_up_to_date_is_told_by_content(bucket, tmp_path, capsys):  # noqa: F811
    far = bucket.url("P1")
    job.scan(str(PLATE), output=far, set=NOWHERE)
    do(far, *WHOLE)
    other = tmp_path / "other"
    table = pq.read_table(_got(bucket, "P1/score/00001.parquet", tmp_path / "score.parquet"))
    tables.write(other, table, at="2026-01-01T00:00:00.000Z")
    bucket.put("P1/score/00001.parquet", other.read_bytes())
    capsys.readouterr()
    do(far, "extract", "score", "place,index")
    said = capsys.readouterr().err
    assert "extract: 0 done, 4 were" in said
    assert "score: 1 done, 3 were" in said
    assert "place,index: 2 done, 6 were" in said
    job.configure(far, set=["score.function=constant"])
    capsys.readouterr()
    do(far, "extract", "score")
    said = capsys.readouterr().err
    assert "extract: 0 done, 4 were" in said
    assert "score: 4 done, 0 were" in said


def _got(bucket, key, path):  # noqa: F811
    path.write_bytes(bucket.get(key))
    return path


# Kills itself before, or after, the nth put or removal on the store.
_KILLED = """
import os, signal, sys
from tierflow.commands import job
from tierflow.objectstore.s3 import S3Store

count, at, when = 0, int(sys.argv[1]), sys.argv[2]

def counted(real):
    def call(*args, **kwargs):
        global count
        count += 1
        if count == at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

S3Store.put, S3Store.delete = counted(S3Store.put), counted(S3Store.delete)
job.run(sys.argv[3], steps=sys.argv[4])
"""


KILLS = [
    ("extract", 2, "before"),
    ("extract", 5, "after"),
    ("place,index", 1, "after"),
    ("place,index", 3, "before"),
    ("place,index", 6, "after"),
]


def test_a_job_killed_at_any_put_is_gone_on_with(bucket, tmp_path):  # noqa: F811
    roots = [tmp_path / name for name in "AB"]
    copied = [f"tiers.{root.name}.{text}" for root in roots for text in ("driver=copy", f"root={root}")]
    near, far = tmp_path / "near", bucket.url("P1")
    job.scan(str(PLATE), output=str(near), set=[*NOWHERE, *copied])
    do(near, *WHOLE)
    wanted = [_files(root) for root in roots]
    for root in roots:
        root.rename(tmp_path / f"near-{root.name}")
    job.scan(str(PLATE), output=far, set=[*NOWHERE, *copied])
    for steps, at, when in KILLS:
        if steps == "place,index":
            do(far, *WHOLE[:4])
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(at), when, far, steps], capture_output=True, text=True, check=False
        )
        assert done.returncode == -9, done.stderr
    do(far, *WHOLE)
    bucket.get_folder("P1", tmp_path / "got")
    same_tables(near, tmp_path / "got")
    assert [_files(root) for root in roots] == wanted
    assert sum(map(len, wanted)) > 1
    journals = bucket.listed("P1/journal/")
    assert len(journals) == len({key.rpartition("/")[0] for key in journals}), "a former journal was left"


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_lines_are_on_the_store_before_an_act_and_two_writers_are_told(bucket, tmp_path):  # noqa: F811
    place = place_at(bucket.url("P1"))
    staged = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        staged.append(Staging(place, tmp_path / name))
        staged[-1].begin()
        AFTER_SYNC[tmp_path / name] = staged[-1].put_journal
    line = Entry(
        id="a" * 32, n=0, act="place", state="intent", source="/x", destination="/y", stamp=Stamp(0, 0, 1, 2, 3)
    )
    try:
        with open_journal(tmp_path / "one", "00000") as journal:
            for number in (1, 2):
                journal.write([line], sync=True)
                [key] = bucket.listed("P1/journal/")
                assert key == f"P1/journal/00000/{number:08d}.jsonl"
                assert bucket.get(key) == (tmp_path / "one" / "journal" / "00000.jsonl").read_bytes()
            journal.append(b"", sync=True)
            assert bucket.listed("P1/journal/") == [key]
        with open_journal(tmp_path / "two", "00000") as journal:
            journal.write([line], sync=True)
            with pytest.raises(TryAgainError, match="another job places shard 00000"):
                journal.write([line], sync=True)
    finally:
        for name in ("one", "two"):
            del AFTER_SYNC[tmp_path / name]


def test_tiers_in_a_pod_are_refused(bucket):  # noqa: F811
    with pytest.raises(ConfigError, match=r"tiers\.A\.root is None.*--set tiers\.A\.root=s3://"):
        job.scan(str(PLATE), output=bucket.url("P1"), set=[*NOWHERE, "tiers.A.driver=copy"])
    assert not [key for key in bucket.listed() if key.endswith(".parquet")]
