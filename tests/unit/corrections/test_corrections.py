"""What people decided: how it is kept, what it is about, and what it gives way to."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os

import pyarrow as pa
import pytest

from placing_world import SCORES, World
from tierflow import corrections, tables
from tierflow.config import Config
from tierflow.corrections import Decision
from tierflow.errors import ConfigError, TableError, TryAgainError
from tierflow.render.snakemake import Workflow
from tierflow.tiers.plan import plan
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify


def decision(tier="A", *, objects=("o1",), units=None, others=(), reason="a rare cell", at="2026-11-21T08:15:30.123Z"):
    return Decision(
        tier=tier,
        by="Ada",
        at=at,
        reason=reason,
        query="well:B03",
        units=tuple(units or objects),
        objects=tuple(objects),
        others=tuple(others),
    )


def scores(*rows):
    """Rows of (object, unit, interestingness)."""
    names = ["object_id", "unit_id", "status", "interestingness"]
    columns = [
        [row[0] for row in rows],
        [row[1] for row in rows],
        ["failed" if row[2] is None else "ok" for row in rows],
        pa.array([row[2] for row in rows], pa.float64()),
    ]
    return pa.table(columns, names=names)


def tiers(decisions, score):
    return [found and found.tier for found in corrections.deciding(decisions, score)]


def test_decisions_are_kept_in_order_and_read_as_they_were(tmp_path):
    first, second = decision("A", reason="größe\n→ ☃"), decision(None, objects=("o1", "o2"), others=("o3",))
    assert (corrections.read(tmp_path), corrections.digest(tmp_path)) == ([], "")
    corrections.append(tmp_path, first)
    before = corrections.digest(tmp_path)
    corrections.append(tmp_path, second)
    assert corrections.read(tmp_path) == [first, second]
    assert before != corrections.digest(tmp_path) != ""
    assert len((tmp_path / "corrections.jsonl").read_bytes().splitlines()) == 2


def test_a_torn_last_line_is_as_if_never_written(tmp_path):
    path = tmp_path / "corrections.jsonl"
    corrections.append(tmp_path, decision("A"))
    corrections.append(tmp_path, decision("B"))
    whole = path.read_bytes()
    first_line = whole.index(b"\n") + 1
    for end in range(first_line, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert [d.tier for d in corrections.read(tmp_path)] == ["A"]
    corrections.append(tmp_path, decision("C"))
    assert [d.tier for d in corrections.read(tmp_path)] == ["A", "C"]
    assert len(path.read_bytes().splitlines()) == 2


def test_a_last_line_without_its_end_counts(tmp_path):
    path = tmp_path / "corrections.jsonl"
    corrections.append(tmp_path, decision("A"))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [d.tier for d in corrections.read(tmp_path)] == ["A"]
    corrections.append(tmp_path, decision("B"))
    assert [d.tier for d in corrections.read(tmp_path)] == ["A", "B"]


@pytest.mark.parametrize("line", [b"{}", b"nonsense", b"[1]", b'{"tier": "A"}', b"\xff\xfe"])
def test_damage_before_the_end_is_never_passed_over(tmp_path, line):
    path = tmp_path / "corrections.jsonl"
    corrections.append(tmp_path, decision("A"))
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(TableError, match=r"corrections\.jsonl, line 1 can't be read"):
        corrections.read(tmp_path)


def append_many(folder, who):
    for number in range(20):
        corrections.append(folder, decision("A", objects=[f"{who}-{number}"] * 200))


def test_processes_that_decide_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=append_many, args=(tmp_path, who)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = [d.objects[0] for d in corrections.read(tmp_path)]
    assert sorted(found) == sorted(f"{who}-{number}" for who in range(3) for number in range(20))


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    corrections.append(tmp_path, decision("A"))
    before = (tmp_path / "corrections.jsonl").read_bytes()
    write = os.write

    def full(handle, data):
        write(handle, bytes(data[:10]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TryAgainError, match="nothing was decided; make room"):
        corrections.append(tmp_path, decision("B"))
    assert (tmp_path / "corrections.jsonl").read_bytes() == before


def test_the_latest_decision_on_a_unit_wins_whatever_the_clock_says():
    score = scores(("o1", "u1", 0.9), ("o2", "u1", 0.9), ("o3", "u2", 0.1))
    old = decision("D", objects=["o1"], units=["u1"], others=["o2"], at="2027-01-01T00:00:00.000Z")
    new = decision("B", objects=["o2"], units=["u1"], others=["o1"], at="2026-01-01T00:00:00.000Z")
    assert tiers([], score) == [None, None, None]
    assert tiers([old], score) == ["D", "D", None]
    assert tiers([old, new], score) == ["B", "B", None]
    assert tiers([old, new, decision(None, objects=["o1"], units=["u1"])], score) == [None, None, None]


def test_decisions_survive_another_kind_of_unit():
    site = decision("A", objects=["o1"], units=["site 1"], others=["o2"])
    assert tiers([site], scores(("o1", "o1", 0.1), ("o2", "o2", 0.1), ("o3", "o3", 0.1))) == ["A", "A", None]
    file = decision("A", objects=["o1"], units=["o1"])
    assert tiers([file], scores(("o1", "site 1", 0.1), ("o2", "site 1", 0.1), ("o3", "x", 0.1))) == ["A", "A", None]


def test_a_new_object_of_a_decided_unit_goes_with_it():
    assert (
        tiers([decision("A", objects=["o1"], units=["u1"])], scores(("o1", "u1", 0.1), ("o9", "u1", 0.1))) == ["A"] * 2
    )


def test_a_failed_object_leaves_quarantine_only_by_name():
    score = scores(("o1", "u1", 0.1), ("bad", "u1", None))
    assert tiers([decision("A", objects=["o1"], units=["u1"], others=["bad"])], score) == ["A", None]
    assert tiers([decision("A", objects=["bad"], units=["u1"], others=["o1"])], score) == ["A", "A"]


def test_a_choice_is_of_whole_units():
    catalogue = pa.table(
        {
            "object_id": ["a1", "a2", "a3", "b1", "c1"],
            "unit_id": ["a", "a", "a", "b", "c"],
            "status": ["ok", "ok", "failed", "ok", "failed"],
            "tier": ["D", "D", "quarantine", "B", "quarantine"],
        }
    )
    choice = corrections.choose_units(["a2", "c1"], catalogue, failed_tier="quarantine")
    assert (choice.units, choice.objects, choice.others) == (("a", "c"), ("a2", "c1"), ("a1", "a3"))
    assert (dict(choice.tiers), choice.staying) == ({"D": 2, "quarantine": 1}, 1)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.drivers = {"A": "link", "B": "copy", "C": "move", "D": "trash", "quarantine": "none"}
    for tier in SCORES:
        world.add(f"{tier}.tif", tier.encode(), tier=tier)
    world.measure()
    return world


def ids(world):
    return {path: row["object_id"] for path, row in world.place().items()}


def placed(world):
    """Place, and return all columns of the table by path."""
    paths = {row["object_id"]: path for path, row in world.place().items()}
    return {paths[row["object_id"]]: row for row in tables.read(world.output / "place" / "00000.parquet").to_pylist()}


def test_place_follows_people_from_every_tier_and_back(world):
    known = ids(world)
    before = {path: (row["tier"], row["destination"]) for path, row in world.place().items()}
    for source in SCORES:
        for target in SCORES:
            corrections.append(world.output, decision(target, objects=[known[f"{source}.tif"]], reason="I looked."))
            row = placed(world)[f"{source}.tif"]
            assert (row["tier"], row["policy_tier"]) == (target, source)
            assert (row["corrected_by"], row["correction"]) == ("Ada", "I looked.")
            assert row["corrected_at"] == "2026-11-21T08:15:30.123Z"
            assert row["why"] == f"Ada decided on 2026-11-21: I looked (the policy alone says {source})"
            assert verify(world.output).ok
        corrections.append(world.output, decision(None, objects=[known[f"{source}.tif"]]))
        row = placed(world)[f"{source}.tif"]
        assert (row["tier"], row["corrected_by"], row["correction"]) == (source, None, None)
    assert {path: (row["tier"], row["destination"]) for path, row in world.place().items()} == before
    assert verify(world.output).ok
    undo(world.output, dry_run=False)
    for tier in SCORES:
        assert world.source(f"{tier}.tif").read_bytes() == tier.encode()


def test_a_plan_knows_of_decisions(world):
    known = ids(world)
    corrections.append(world.output, decision("A", objects=[known["D.tif"]]))
    [act] = plan(world.output, config=world.output / "config.yaml").acts
    assert (act.object_id, act.tier) == (known["D.tif"], "A")


def test_a_tier_that_is_gone_stops_the_step_and_says_what_to_do(world):
    known = ids(world)
    corrections.append(world.output, decision("Z", objects=[known["D.tif"]]))
    with pytest.raises(ConfigError, match=r"Ada decided on 2026-11-21 .* tier 'Z'.*add the tier, decide anew"):
        world.place()


def test_place_is_out_of_date_after_a_decision_and_nothing_else_is(tmp_path):
    workflow = Workflow(config=Config(input=str(tmp_path)), output=tmp_path)
    steps = ("extract", "score", "policy", "place", "index", "report")
    before = {step: workflow.settings(step) for step in steps}
    corrections.append(tmp_path, decision())
    assert [step for step in steps if workflow.settings(step) != before[step]] == ["place"]


def test_lines_are_plain_json(tmp_path):
    corrections.append(tmp_path, decision("A", objects=["o1"], units=["u1"], others=["o2"]))
    assert json.loads((tmp_path / "corrections.jsonl").read_text()) == {
        "tier": "A",
        "by": "Ada",
        "at": "2026-11-21T08:15:30.123Z",
        "reason": "a rare cell",
        "query": "well:B03",
        "units": ["u1"],
        "objects": ["o1"],
        "others": ["o2"],
    }
