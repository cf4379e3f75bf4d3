"""Metrics: what is counted, and that every line is what Prometheus reads."""

from __future__ import annotations

import json
import math
import os
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tierflow.commands.serve import metrics as metrics_command
from tierflow.errors import ConfigError, InputMissingError
from tierflow.metrics import Receipt, RunState, ShardState, exposition
from tierflow.receipts import run_state

_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(
    rf"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{(?P<labels>{_LABEL}(?:,{_LABEL})*)\}})? "
    r"(?P<value>[+-]?(?:[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|Inf)|NaN)"
)
_HELP = re.compile(r"# HELP (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*) (?P<text>(?:[^\\\n]|\\[\\n])+)")
_TYPE = re.compile(r"# TYPE (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*) (?P<type>counter|gauge|histogram|summary|untyped)")
_UNESCAPE = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def read(text: str) -> dict[tuple[str, frozenset], float]:
    """Read the exposition format more strictly than Prometheus does.

    Every family is one block: HELP, TYPE, then all of its samples; each name and each series occurs once; labels are
    escaped; the last line ends.
    """
    if not text:
        return {}
    assert text.endswith("\n")
    found: dict[tuple[str, frozenset], float] = {}
    closed: set[str] = set()
    lines = iter(text[:-1].split("\n"))
    current, samples = None, 1
    for line in lines:
        if line.startswith("#"):
            assert samples, f"{current} has no sample"
            start, kind = _HELP.fullmatch(line), _TYPE.fullmatch(next(lines))
            assert start, line
            assert kind, line
            assert start["name"] == kind["name"]
            assert start["name"] not in closed, f"{start['name']} comes twice"
            assert not (start["name"].endswith("_total") and kind["type"] == "gauge"), "a gauge named as a counter"
            current, samples = start["name"], 0
            closed.add(current)
            continue
        sample = _SAMPLE.fullmatch(line)
        assert sample, f"no sample: {line!r}"
        assert sample["name"] == current, f"{sample['name']} isn't in its block"
        pairs = re.findall(r'([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)"', sample["labels"] or "")
        labels = [(key, re.sub(r"\\.", lambda m: _UNESCAPE[m[0]], value)) for key, value in pairs]
        assert len(dict(labels)) == len(labels), f"a label comes twice: {line}"
        series = (current, frozenset(labels))
        assert series not in found, f"a series comes twice: {line}"
        found[series] = float(sample["value"])
        samples += 1
    assert samples
    return found


def value(text: str, name: str, **labels: str) -> float:
    return read(text)[(f"tierflow_indexer_{name}", frozenset(labels.items()))]


def shard(**values) -> ShardState:
    return ShardState(**{"records": 10, "changed_at": 1000.0, **values})


def test_the_reader_is_strict():
    good = '# HELP a b\n# TYPE a gauge\na{x="1"} 2\n'
    assert read(good) == {("a", frozenset({("x", "1")})): 2.0}
    for bad in (
        good[:-1],
        good + 'a{x="1"} 3\n',
        good + good,
        good + 'b{x="1"} 3\n',
        good.replace("2\n", "two\n"),
        good.replace('"1"', '"a\nb"'),
        good.replace('"1"', '"a"b"'),
        good.replace('"1"', '"\\x"'),
        good.replace("# TYPE a gauge\n", ""),
        good.replace("gauge", "speed"),
        good.replace("} 2", "}  2"),
        good.replace("HELP a b", "HELP a b\\x"),
        good.replace(" a ", " a_total ").replace("a{", "a_total{"),
        "# HELP a b\n# TYPE a gauge\n",
        "\n",
    ):
        with pytest.raises(AssertionError):
            read(bad)


def test_what_is_counted():
    counts = {"accepted": 7, "unchanged": 2, "deleted": 1, "retries": 3, "conflicts": 4, "bytes": 500, "seconds": 1.5}
    state = RunState(
        run="plate",
        publishes=True,
        shards=[
            shard(receipt=Receipt(1100.0, counts), dead_letters=1),
            shard(receipt=Receipt(1200.0, {"accepted": 10, "waited_s": 0.25})),
            shard(records=5, receipt=Receipt(900.0, {"accepted": 5})),
            shard(records=3, changed_at=950.0),
        ],
        unreadable=2,
    )
    text = exposition([state], now=2000.0)
    expected = {
        "records": 28,
        "publishes": 1,
        "unreadable": 2,
        "rejected": 1,
        "retries": 3,
        "conflicts": 4,
        "sent_bytes": 500,
        "duration_seconds": 1.5,
        "waited_seconds": 0.25,
        "lag_records": 8,
        "lag_seconds": 1050,
        "last_success_timestamp_seconds": 1200,
    }
    assert {name: value(text, name, run="plate") for name in expected} == expected
    outcomes = {o: value(text, "documents", run="plate", outcome=o) for o in ("accepted", "unchanged", "deleted")}
    assert outcomes == {"accepted": 22, "unchanged": 2, "deleted": 1}
    assert value(text, "shards", run="plate", state="published") == 2
    assert value(text, "shards", run="plate", state="waiting") == 2


def test_nothing_waits_when_all_is_sent():
    text = exposition([RunState(run="a", publishes=True, shards=[shard(receipt=Receipt(1000.0))])], now=5000.0)
    assert value(text, "lag_records", run="a") == 0
    assert value(text, "lag_seconds", run="a") == 0


def test_a_run_that_was_never_published():
    text = exposition([RunState(run="a", publishes=True, shards=[shard()])], now=900.0)
    assert value(text, "last_success_timestamp_seconds", run="a") == 0
    assert value(text, "lag_seconds", run="a") == 0, "a clock that is behind gives no negative age"
    assert value(text, "lag_records", run="a") == 10


def test_a_run_without_server_lags_behind_nothing():
    found = read(exposition([RunState(run="a", publishes=False, shards=[shard()])], now=2000.0))
    assert {name for name, _ in found} == {f"tierflow_indexer_{n}" for n in ("records", "publishes", "unreadable")}


def test_copies_of_a_run_are_one_series():
    states = [RunState(run="a", publishes=True, shards=[shard(receipt=Receipt(t))]) for t in (1500.0, 1600.0)]
    text = exposition([*states, RunState(run="b", publishes=False)], now=2000.0)
    assert value(text, "records", run="a") == 20
    assert value(text, "last_success_timestamp_seconds", run="a") == 1600


def test_no_runs():
    assert exposition([], now=0.0) == ""


@given(
    runs=st.lists(st.text(max_size=20), max_size=5),
    number=st.floats(min_value=0, max_value=1e300, allow_nan=False),
    records=st.integers(0, 2**60),
)
def test_any_name_and_number_is_readable(runs, number, records):
    receipt = Receipt(number, {"seconds": number, "bytes": records})
    states = [RunState(run=run, publishes=True, shards=[shard(receipt=receipt)]) for run in runs]
    found = read(exposition(states, now=number))
    assert {dict(labels)["run"] for _, labels in found} == set(runs)
    for run in set(runs):
        key = ("tierflow_indexer_duration_seconds", frozenset({("run", run)}))
        assert math.isclose(found[key], number * runs.count(run))


def test_a_name_that_is_not_unicode():
    text = exposition([RunState(run="caf\udce9", publishes=False)], now=0.0)
    assert value(text, "records", run="caf\\udce9") == 0


@pytest.fixture
def output(tmp_path):
    """Three shards: one published, one changed since, one never; a table of an old scan beside them."""
    folder = tmp_path / "results"
    for part in ("catalogue", "publish", "dead_letters", "scan/shards"):
        (folder / part).mkdir(parents=True)
    config = {"catalogue": {"run": "plate-1", "elasticsearch": {"url": "http://127.0.0.1:9200"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for number, rows in enumerate((4, 5, 6, 100)):
        name = f"{number:05d}.parquet"
        write_rows(folder / "catalogue" / name, rows, at=1000 + number)
        if rows < 100:
            write_rows(folder / "scan" / "shards" / name, rows, at=900)
    write_receipt(folder, 0, at=1500, accepted=3, unchanged=1, retries=2)
    write_receipt(folder, 1, at=1000, accepted=5)
    write_receipt(folder, 3, at=1500, accepted=100)
    write_rows(folder / "dead_letters" / "00000.parquet", 1, at=1500)
    return folder


def write_rows(path, rows, *, at):
    pq.write_table(pa.table({"a": list(range(rows))}), path)
    os.utime(path, (at, at))


def write_receipt(folder, number, *, at, **content):
    path = folder / "publish" / f"{number:05d}.json"
    path.write_text(json.dumps({**content, "started_at": "2026-11-21T08:15:30.123Z", "target": None, "done": True}))
    os.utime(path, (at, at))


def test_a_run_is_read_off_its_output(output):
    state = run_state(output)
    assert (state.run, state.publishes, state.unreadable) == ("plate-1", True, 0)
    assert [shard.records for shard in state.shards] == [4, 5, 6]
    assert [shard.is_waiting for shard in state.shards] == [False, True, True]
    assert [shard.dead_letters for shard in state.shards] == [1, 0, 0]
    assert state.shards[0].receipt == Receipt(1500.0, {"accepted": 3, "unchanged": 1, "retries": 2})


def test_what_cannot_be_read_is_counted_and_hides_nothing(output):
    (output / "publish" / "00000.json").write_text("{half")
    (output / "publish" / "00001.json").write_text("[]")
    (output / "dead_letters" / "00000.parquet").write_text("no table")
    (output / "catalogue" / "00002.parquet").write_text("no table")
    state = run_state(output)
    assert state.unreadable == 4
    assert [(shard.records, shard.receipt) for shard in state.shards] == [(4, None), (5, None)]


def test_a_run_without_a_server(output):
    (output / "config.yaml").write_text("{}")
    assert run_state(output).publishes, "it was published before"
    for receipt in (output / "publish").iterdir():
        receipt.unlink()
    assert not run_state(output).publishes


def test_the_command_prints_or_writes_the_same(output, tmp_path, capsys):
    target = tmp_path / "collector" / "tierflow.prom"
    metrics_command([output], out=target)
    assert capsys.readouterr().out == ""
    metrics_command([output])
    printed, written = read(capsys.readouterr().out), read(target.read_text())
    age = ("tierflow_indexer_lag_seconds", frozenset({("run", "plate-1")}))
    assert printed.pop(age) >= written.pop(age) > 0
    assert printed == written
    assert [path.name for path in target.parent.iterdir()] == ["tierflow.prom"]


def test_a_file_that_the_collector_would_not_read(output, tmp_path):
    with pytest.raises(ConfigError, match=r"\.prom"):
        metrics_command([output], out=tmp_path / "tierflow.txt")


def test_a_folder_that_holds_no_run(tmp_path):
    with pytest.raises(InputMissingError):
        metrics_command([tmp_path])
