"""Policies of a stream: what a batch of units gets, what is displaced, and what outlives a restart."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierflow import config_io, tables
from tierflow.errors import ConfigError
from tierflow.policies import choose
from tierflow.policies.resolve import resolve
from tierflow.scoring.build import make_policy
from tierflow.stream.choose import Choice
from tierflow.stream.ledger import Ledger

K = {"A": 2, "B": 1, "C": 0}
COLUMNS = ["object_id", "unit_id", "status", "interestingness", "flags", "bytes", "policy_tier"]


def config(kind, *, window=1000, flag_tiers=None, **parameters):
    policy = {"kind": kind, "parameters": parameters, "flag_tiers": flag_tiers or {}}
    return config_io.validate({"policy": policy, "stream": {"window_planes": window}})


def score(units):
    """Score table of units (name, value) or (name, value, flags) with one object each of the same name."""
    rows = [
        {
            "object_id": unit[0],
            "unit_id": unit[0],
            "status": "failed" if unit[1] is None else "ok",
            "interestingness": unit[1],
            "flags": list(unit[2]) if len(unit) > 2 else [],
            "bytes": 1,
        }
        for unit in units
    ]
    return tables.from_rows(rows, tables.SCORE)


class Stream:
    """The ledger and the catalogue of a stream, as far as choosing needs them."""

    def __init__(self, output, settings_):
        self.output, self.config = output, settings_
        self.ledger = Ledger(output)
        self.choice = Choice(settings_, self.ledger)
        self.rows = {}

    def handle(self, units):
        """Choose for a batch, and record what was chosen."""
        table = score(units)
        policy = self.choice.policy_for(table)
        path = self.output / "policy.json"
        policy.save(path)
        tiers, _ = choose.load(path).choose_table(table)
        self.record(table, tiers)
        return dict(zip((unit[0] for unit in units), tiers, strict=True))

    def record(self, table, tiers):
        for row, tier in zip(table.to_pylist(), tiers, strict=True):
            self.rows[row["object_id"]] = {name: row.get(name) for name in COLUMNS} | {"policy_tier": tier}
        self._write()

    def carry_out(self):
        """Do what is asked for, as the committer does."""
        found = self.choice.demoted()
        for one in found:
            assert self.rows[one.object_id]["policy_tier"] == one.from_tier
            self.rows[one.object_id]["policy_tier"] = one.to_tier
        self._write()
        return found

    def restart(self):
        self.ledger.close()
        self.ledger = Ledger(self.output)
        self.choice = Choice(self.config, self.ledger)

    def tiers(self):
        return {name: row["policy_tier"] for name, row in self.rows.items()}

    def _write(self):
        schema = tables.SCORE.append(tables.PLACE.field("policy_tier"))
        for shard in (0, 1):
            rows = [row for at, row in enumerate(self.rows.values()) if at % 2 == shard]
            tables.write(self.output / f"catalogue/{shard:05d}.parquet", tables.from_rows(rows, schema))
        with self.ledger.transaction() as db:
            for name, row in self.rows.items():
                db.execute(
                    "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, seen_at, changed_at) "
                    "VALUES (?, x'', ?, 'done', 1, 1, 1, 0, 0) ON CONFLICT DO NOTHING",
                    (name.encode(), name),
                )
                db.execute("UPDATE objects SET tier = ? WHERE object_id = ?", (row["policy_tier"], name))


@pytest.fixture
def stream(tmp_path):
    made = []

    def make(*arguments, **parameters):
        made.append(Stream(tmp_path, config(*arguments, **parameters)))
        return made[-1]

    yield make
    for one in made:
        one.ledger.close()


def test_interval_is_the_same_as_in_a_run(stream):
    one = stream("interval")
    assert one.handle([("a", 0.9), ("b", 0.6), ("c", 0.3), ("d", 0.1), ("e", None)]) == {
        "a": "A",
        "b": "B",
        "c": "C",
        "d": "D",
        "e": "quarantine",
    }
    assert one.choice.demoted() == []
    counts = json.loads((one.output / "policy.json").read_text())["counts"]
    assert counts == {"A": 1, "B": 1, "C": 1, "D": 1, "quarantine": 1}


def test_top_k_displaces_the_least_interesting(stream):
    one = stream("top_k", k=K)
    assert one.handle([("a", 0.5), ("b", 0.4)]) == {"a": "A", "b": "A"}
    assert one.carry_out() == []
    assert one.handle([("c", 0.6)]) == {"c": "A"}
    (moved,) = one.carry_out()
    assert moved[:4] == ("b", "b", "A", "B")
    assert moved.why == "top_k: more interesting units have come since, and A is full"
    assert one.handle([("d", 0.1), ("e", 0.55)]) == {"d": "D", "e": "A"}
    assert {(move.object_id, move.from_tier, move.to_tier) for move in one.carry_out()} == {
        ("a", "A", "B"),
        ("b", "B", "D"),
    }
    assert one.tiers() == {"a": "B", "b": "D", "c": "A", "d": "D", "e": "A"}


def test_what_was_not_carried_out_is_asked_for_again_even_after_a_restart(stream):
    one = stream("top_k", k=K)
    one.handle([("a", 0.1), ("b", 0.2)])
    one.handle([("c", 0.3), ("d", 0.4)])
    asked = sorted(one.choice.demoted())
    assert [move[:4] for move in asked] == [("a", "a", "A", "D"), ("b", "b", "A", "B")]
    assert sorted(one.choice.demoted()) == asked
    one.restart()
    assert sorted(one.choice.demoted()) == asked
    one.carry_out()
    assert one.choice.demoted() == []
    one.restart()
    assert one.choice.demoted() == []


def test_who_lies_elsewhere_by_a_persons_decision_is_left_alone(stream):
    one = stream("top_k", k=K)
    one.handle([("a", 0.1), ("b", 0.2)])
    with one.ledger.transaction() as db:
        db.execute("UPDATE objects SET tier = 'C' WHERE object_id = 'a'")
    one.choice.policy_for(score([("c", 0.3), ("d", 0.4)]))
    assert [move.object_id for move in one.choice.demoted()] == ["b"]


def test_flagged_units_take_room_also_after_a_restart(stream):
    one = stream("top_k", k=K, flag_tiers={"saturated": "A"})
    assert one.handle([("a", 0.5), ("b", 0.4), ("x", 0.0, ["saturated"])]) == {"a": "A", "b": "B", "x": "A"}
    one.restart()
    assert one.handle([("c", 0.45), ("d", 0.6)]) == {"c": "D", "d": "A"} or one.tiers()["d"] == "A"
    moved = {(move.object_id, move.to_tier) for move in one.carry_out()}
    assert moved == {("a", "B"), ("b", "D")}
    assert one.tiers() == {"a": "B", "b": "D", "x": "A", "c": "D", "d": "A"}


@settings(deadline=None, max_examples=25)
@given(
    values=st.lists(st.sampled_from([None, 0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=25),
    flagged=st.sets(st.integers(0, 24), max_size=4),
    cuts=st.lists(st.integers(0, 25), max_size=4),
    restarts=st.sets(st.integers(0, 4)),
    k=st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)),
)
def test_top_k_ends_as_a_run_over_all(tmp_path_factory, values, flagged, cuts, restarts, k):
    settings_ = config("top_k", k=dict(zip("ABC", k, strict=True)), flag_tiers={"saturated": "B"})
    one = Stream(tmp_path_factory.mktemp("stream"), settings_)
    units = [(f"u{at:02d}", value, ["saturated"] if at in flagged else []) for at, value in enumerate(values)]
    edges = sorted({0, len(units), *(cut for cut in cuts if cut < len(units))})
    for number, (start, stop) in enumerate(pairwise(edges)):
        one.handle(units[start:stop])
        if number in restarts:
            one.restart()
    one.carry_out()
    assert one.choice.demoted() == []
    table = score(units)
    tiers, _ = resolve(make_policy(settings_), table, settings_).choose_table(table)
    assert one.tiers() == dict(zip((unit[0] for unit in units), tiers, strict=True))
    one.ledger.close()


def test_quantile_looks_at_the_latest_units(stream):
    one = stream("quantile", window=4, shares={"A": 0.25, "D": 0.75})
    assert one.handle([("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4)]) == {"a": "D", "b": "D", "c": "D", "d": "A"}
    # The window is b, c, d, e: one of four.
    assert one.handle([("e", 0.35)]) == {"e": "D"}
    one.restart()
    one.handle([("f", 0.1), ("g", 0.1), ("h", 0.1)])
    # The window is f, g, h, i; d has left it.
    assert one.handle([("i", 0.2)]) == {"i": "A"}
    assert one.choice.demoted() == []


@pytest.mark.parametrize(("kind", "parameters"), [("budget", {"limit_gb": {"A": 1, "B": 1, "C": 1}})])
def test_a_policy_that_must_see_all_is_refused_at_once(tmp_path, kind, parameters):
    ledger = Ledger(tmp_path)
    with pytest.raises(ConfigError, match=r"policy\.kind is budget: a stream can't follow it.*set interval, top_k"):
        Choice(config(kind, **parameters), ledger)
    ledger.close()


def test_wrong_parameters_are_refused_at_once(tmp_path):
    ledger = Ledger(tmp_path)
    with pytest.raises(ConfigError, match="no number of units for C"):
        Choice(config("top_k", k={"A": 1, "B": 1}), ledger)
    ledger.close()


def test_many_units_one_by_one_need_little_memory(stream):
    one = stream("top_k", k={"A": 3, "B": 0, "C": 0})
    values = np.random.default_rng(7).random(25)
    for number, value in enumerate(values.tolist()):
        one.handle([(f"{number:03d}", value)])
        one.carry_out()
    best = {f"{at:03d}" for at in np.argsort(values)[-3:]}
    assert {name for name, tier in one.tiers().items() if tier == "A"} == best
    assert len(one.choice._top_k._objects) == 4
