"""A micro-batch is placed, searchable, in the tables of the run and done in the ledger; or none of these."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest

from stream_world import StreamWorld
from tierflow import corrections, tables
from tierflow.corrections import Decision
from tierflow.errors import InputMissingError, TryAgainError
from tierflow.stream import fold
from tierflow.stream.fold import TABLES, table_paths
from tierflow.tiers.verify import verify


@pytest.fixture
def world(tmp_path: Path) -> StreamWorld:
    """Give an empty stream."""
    return StreamWorld(tmp_path)


def test_batches_grow_one_shard_whose_tables_agree_row_for_row(world: StreamWorld) -> None:
    """Rows stand in the order of the paths in every table, whatever the order of arrival."""
    for name in ("b.tif", "a.tif", "c/x.tif"):
        world.write(name)
        world.commit(name)
    order = world.table("scan")["object_id"]
    assert world.table("scan")["path"] == ["a.tif", "b.tif", "c/x.tif"]
    assert [world.table(name)["object_id"] for name in TABLES] == [order] * len(TABLES)
    assert set(world.states().values()) == {"done"}
    stamps = [tables.metadata_of(tables.read(table_paths(world.output, "00000")[name])) for name in TABLES]
    assert stamps[1] == {"schema_version": "1", "input": str(world.input), "dataset": "in"}
    assert stamps[2]["at"] == "2026-11-21T08:15:30.123Z"
    receipt = json.loads((world.output / "index/00000.json").read_text())
    assert receipt["rows"] == 3
    assert not list((world.output / ".tierflow/stream/batches").iterdir())


def test_the_ledger_knows_what_was_measured_and_who_listens_is_told(world: StreamWorld) -> None:
    """Size and time handled are those of the scan row; news say tier, score and reason."""
    path = world.write("a.tif")
    world.commit("a.tif")
    info = path.stat()
    [row] = world.ledger.query("SELECT handled_size, handled_mtime_ns, tier, interestingness FROM objects")
    assert row[:2] == (info.st_size, info.st_mtime_ns)
    assert row[2] == world.table("catalogue")["tier"][0]
    [(_, _, kind, number, detail)] = world.ledger.news(after=0)
    assert (kind, number, detail["path"], detail["tier"]) == ("done", 1, "a.tif", row[2])
    assert detail["interestingness"] == pytest.approx(row[3])
    assert detail["latency_s"] > 0
    assert world.committer.ledger.query("SELECT stage FROM batches") == [("done",)]


def test_an_unreadable_file_is_in_the_catalogue_as_quarantined(world: StreamWorld) -> None:
    """One bad object doesn't hinder the others."""
    (world.input / "bad.tif").write_bytes(b"II*\0no image")
    world.write("good.tif")
    world.commit("bad.tif", "good.tif")
    assert world.states() == {"bad.tif": "quarantined", "good.tif": "done"}
    assert world.table("place")["tier"][0] == "quarantine"
    [(reason,)] = world.ledger.query("SELECT reason FROM objects WHERE state = 'quarantined'")
    assert reason == world.table("score")["reason"][0]


def test_pixels_that_came_before_are_flagged_and_blank_ones_never(world: StreamWorld) -> None:
    """The first to arrive is the original, across batches too; it may come later in the order of paths."""
    world.write("z.tif", seed=1)
    world.commit("z.tif")
    world.write("a.tif", seed=1)
    world.write("m.tif", blank=True)
    world.write("n.tif", blank=True)
    world.commit("a.tif", "m.tif", "n.tif")
    found = dict(zip(world.table("score")["object_id"], world.table("score")["flags"], strict=True))
    flags = {
        path: found[name] for path, name in zip(*(world.table("scan")[c] for c in ("path", "object_id")), strict=True)
    }
    assert {path: "duplicate" in names for path, names in flags.items()} == {
        "a.tif": True,
        "m.tif": False,
        "n.tif": False,
        "z.tif": False,
    }


def test_a_new_version_replaces_rows_and_gives_up_the_pixels_it_no_longer_shows(world: StreamWorld) -> None:
    """Of a file that was written again there is one row, the new one, in its home shard."""
    world.write("a.tif", seed=1)
    world.commit("a.tif")
    before = world.table("extract")["sha256"]
    world.write("a.tif", seed=2)
    world.commit("a.tif")
    world.write("b.tif", seed=1)
    world.commit("b.tif")
    assert world.table("scan")["path"] == ["a.tif", "b.tif"]
    assert world.table("extract")["sha256"][0] != before[0]
    assert world.table("score")["sha256"] == world.table("extract")["sha256"]
    assert not any("duplicate" in flags for flags in world.table("score")["flags"])


def test_a_file_that_changed_since_it_was_measured_waits_again_with_its_unit(world: StreamWorld) -> None:
    """Nothing of the unit is recorded or placed; other units of the batch are."""
    for name in ("a1.tif", "a2.tif", "b.tif"):
        world.write(name)
    batch = world.measured("a1.tif", "a2.tif", "b.tif", units={"a1.tif": "A", "a2.tif": "A"})
    world.write("a2.tif", seed=99)
    world.committer.commit(batch)
    assert world.states() == {"a1.tif": "waiting", "a2.tif": "waiting", "b.tif": "done"}
    assert world.table("catalogue")["path"] == ["b.tif"]
    assert [row.closed for row in world.ledger.rows("state = 'waiting'")] == [False, False]
    info = (world.input / "a2.tif").stat()
    assert world.ledger.query("SELECT size, mtime_ns, handled_size FROM objects WHERE path = ?", (b"a2.tif",)) == [
        (info.st_size, info.st_mtime_ns, None)
    ]
    assert not (world.output / "tiers").exists() or len(list((world.output / "tiers").rglob("*.tif"))) == 1


def test_a_file_that_changed_before_it_could_be_placed_waits_again(world: StreamWorld, monkeypatch) -> None:
    """The driver refuses what isn't what was measured; that is never recorded."""
    world.write("a.tif")
    batch = world.measured("a.tif")
    place = world.committer.placing.place

    def late(shard, wanted):
        world.write("a.tif", seed=5)
        return place(shard, wanted)

    monkeypatch.setattr(world.committer.placing, "place", late)
    world.committer.commit(batch)
    assert world.states() == {"a.tif": "waiting"}
    assert not (world.output / "catalogue").exists()


def test_a_file_that_vanished_is_lost_source(world: StreamWorld) -> None:
    """And told."""
    world.write("a.tif")
    world.write("b.tif")
    batch = world.measured("a.tif", "b.tif")
    (world.input / "a.tif").unlink()
    world.committer.commit(batch)
    assert world.states() == {"a.tif": "lost_source", "b.tif": "done"}
    assert "lost_source" in [kind for _, _, kind, _, _ in world.ledger.news(after=0)]


def test_a_file_on_a_disk_inside_the_input_waits_until_that_is_mounted(world: StreamWorld) -> None:
    """What vanishes elsewhere meanwhile is lost as ever."""
    for name in ("m/a.tif", "b.tif"):
        world.write(name)
    batch = world.measured("m/a.tif", "b.tif")
    world.ledger.note(inner_mounts=["m"])
    for name in ("m/a.tif", "b.tif"):
        (world.input / name).unlink()
    world.committer.commit(batch)
    assert world.states() == {"m/a.tif": "waiting", "b.tif": "lost_source"}
    [(reason,)] = world.ledger.query("SELECT reason FROM objects WHERE path = ?", (b"m/a.tif",))
    assert reason == "the disk it lies on isn't mounted"


def test_nothing_is_lost_when_the_whole_input_went_away(world: StreamWorld) -> None:
    """An unmounted share looks like an empty folder; the batch waits for it."""
    world.write("a.tif")
    world.commit("a.tif")
    world.write("b.tif")
    batch = world.measured("b.tif")
    aside = world.base / "aside"
    world.input.rename(aside)
    world.input.mkdir()
    with pytest.raises(TryAgainError, match="went away"):
        world.committer.commit(batch)
    assert world.states()["b.tif"] == "running"
    world.input.rmdir()
    aside.rename(world.input)
    world.committer.commit(batch)
    assert world.states()["b.tif"] == "done"


@pytest.mark.parametrize("same_bytes", [False, True])
def test_a_share_that_goes_away_while_files_are_placed_is_waited_for(
    world: StreamWorld, monkeypatch, same_bytes
) -> None:
    """Neither a record nor the journal says of a file that it is gone, or is still what it was."""
    world.write("a.tif", seed=1)
    world.commit("a.tif")
    path = world.write("a.tif", seed=1 if same_bytes else 2)
    os.utime(path, ns=(1, 1))
    batch = world.measured("a.tif")
    place = world.committer.placing.place
    aside = world.base / "aside"

    def unmounted(shard, wanted):
        world.input.rename(aside)
        world.input.mkdir()
        return place(shard, wanted)

    monkeypatch.setattr(world.committer.placing, "place", unmounted)
    with pytest.raises(TryAgainError, match="went away"):
        world.committer.commit(batch)
    monkeypatch.undo()
    world.input.rmdir()
    aside.rename(world.input)
    world.committer.commit(batch)
    assert world.states() == {"a.tif": "done"}
    assert world.table("catalogue")["problem"] == [None]
    assert verify(world.output).ok


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_no_tier_is_changed_while_the_share_is_away(world: StreamWorld, monkeypatch, when) -> None:
    """The record goes on to say where the file is."""

    def other_device(*_args, **_kwargs):
        raise OSError(errno.EXDEV, "other device")

    monkeypatch.setattr(os, "link", other_device)
    world.write("a.tif")
    world.commit("a.tif")
    before = world.table("catalogue")
    aside = world.base / "aside"
    place = world.committer.placing.place

    def unmount():
        world.input.rename(aside)
        world.input.mkdir()

    def unmounted(shard, wanted):
        unmount()
        return place(shard, wanted)

    if when == "before":
        unmount()
    else:
        monkeypatch.setattr(world.committer.placing, "place", unmounted)
    with pytest.raises(TryAgainError, match="went away"):
        world.committer.replace_tier([1], "B", "better ones came")
    assert world.table("catalogue") == before
    monkeypatch.setattr(world.committer.placing, "place", place)
    world.input.rmdir()
    aside.rename(world.input)
    world.committer.replace_tier([1], "B", "better ones came")
    assert (world.table("catalogue")["tier"], world.table("catalogue")["problem"]) == (["B"], [None])
    assert verify(world.output).ok


def test_an_incomplete_object_says_so_also_after_it_is_scored_again(world: StreamWorld) -> None:
    """The flag stands in the extract table, which every scoring reads."""
    world.write("a.tif")
    batch = world.measured("a.tif")
    with world.ledger.transaction() as db:
        db.execute("UPDATE objects SET incomplete = 1, reason = '2 of 3 files of the site came'")
    world.committer.commit(batch)
    assert "incomplete" in world.table("catalogue")["flags"][0]
    assert world.table("extract")["flag"] == ["incomplete"]
    [detail] = [d for d in world.table("score")["flag_details"][0] if d["flag"] == "incomplete"]
    assert detail["text"] == "2 of 3 files of the site came"
    assert world.states() == {"a.tif": "done"}


def test_a_full_disk_is_tried_again_and_leaves_nothing_half(world: StreamWorld, monkeypatch) -> None:
    """The same call works when there is room, whichever table was being written."""
    world.write("a.tif")
    world.commit("a.tif")
    world.write("b.tif")
    batch = world.measured("b.tif")
    real = tables.write
    for name in ("catalogue", "scan", "extract", "score", "place"):
        path = table_paths(world.output, "00000")[name]

        def full(target, table, path=path, **stamps):
            if target == path:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(target, table, **stamps)

        with monkeypatch.context() as patch:
            patch.setattr(fold.tables, "write", full)
            with pytest.raises(TryAgainError, match="make room"):
                world.committer.commit(batch)
        assert world.states()["b.tif"] == "running"
    world.committer.commit(batch)
    assert world.table("catalogue")["path"] == ["a.tif", "b.tif"]
    assert world.states()["b.tif"] == "done"


def test_a_batch_that_was_never_measured_is_refused_and_one_that_is_done_is_left(world: StreamWorld) -> None:
    """The first has to be measured again; a second commit changes nothing."""
    world.write("a.tif")
    batch = world.measured("a.tif")
    table_paths(batch.folder, batch.shard)["extract"].unlink()
    with pytest.raises(InputMissingError):
        world.committer.commit(batch)
    world.write("b.tif")
    other = world.measured("b.tif")
    world.committer.commit(other)
    last = world.ledger.news(after=0)[-1][0]
    world.committer.commit(other)
    assert world.ledger.news(after=0)[-1][0] == last


def test_objects_are_brought_to_another_tier(world: StreamWorld) -> None:
    """File, place table, catalogue and ledger agree; repeating it changes nothing."""
    world.write("a.tif")
    world.write("b.tif")
    world.commit("a.tif", "b.tif")
    for _ in range(2):
        world.committer.replace_tier([1], "B", "better ones came")
    tiers = dict(zip(world.table("catalogue")["path"], world.table("catalogue")["tier"], strict=True))
    assert tiers["a.tif"] == "B"
    assert world.table("place")["tier"] == world.table("catalogue")["tier"]
    assert world.table("place")["why"][0] == "better ones came"
    assert (world.output / "tiers/B/a.tif").samefile(world.input / "a.tif")
    assert len(list((world.output / "tiers").rglob("a.tif"))) == 1
    assert world.ledger.query("SELECT tier FROM objects WHERE id = 1") == [("B",)]
    assert world.table("scan")["object_id"] == world.table("place")["object_id"]


def test_top_k_moves_what_was_displaced(tmp_path: Path) -> None:
    """At the end the best tier holds the K best, whatever the order of arrival."""
    world = StreamWorld(
        tmp_path, {"policy": {"kind": "top_k", "parameters": {"k": {"A": 2}}}, "tiers": {"A": {}, "B": {}}}
    )
    names = [f"{n}.tif" for n in range(6)]
    for number, name in enumerate(names):
        world.write(name, seed=number)
        world.commit(name)
    found = world.table("catalogue")
    best = sorted(
        zip(found["interestingness"], found["unit_id"], found["tier"], strict=True), key=lambda r: (-r[0], r[1])
    )
    assert [tier for _, _, tier in best].count("A") == 2
    assert min(r[0] for r in best if r[2] == "A") >= max(r[0] for r in best if r[2] == "B")
    assert sorted(p.name for p in (world.output / "tiers/A").iterdir()) == sorted(
        p for p, t in zip(found["path"], found["tier"], strict=True) if t == "A"
    )


def test_the_summary_follows_every_new_shard(world: StreamWorld) -> None:
    """It names all shards at once, and all objects when told that it is time."""
    for number in range(3):
        world.write(f"{number}.tif")
        world.commit(f"{number}.tif", shard=number % 2)
    world.committer.summary.tidy(now=True)
    found = json.loads((world.output / "scan/summary.json").read_text())
    assert [(shard["name"], shard["objects"]) for shard in found["shards"]] == [("00000", 2), ("00001", 1)]
    assert (found["objects"], found["units"], found["plates"]) == (3, 3, 1)


def test_a_persons_decision_is_carried_out_at_once_and_withdrawn(world: StreamWorld) -> None:
    """Tables, ledger and files follow the decision; without it the policy's own choice holds again."""
    for name in ("a.tif", "b.tif"):
        world.write(name)
        world.commit(name)
    (world.input / "bad.tif").write_bytes(b"II*\0no image")
    world.commit("bad.tif")
    before = dict(zip(world.table("place")["object_id"], world.table("place")["tier"], strict=True))
    names = list(before)
    other = next(tier for tier in ("A", "D") if tier not in before.values())
    decision = Decision(
        tier=other,
        by="anna",
        at="2026-11-21T08:15:30.123Z",
        reason="rare",
        query="q",
        units=tuple(names),
        objects=tuple(names),
    )
    corrections.append(world.output, decision)
    assert world.committer.decide_again(names) == 3
    assert set(world.table("catalogue")["tier"]) == {other}
    assert set(world.table("catalogue")["corrected_by"]) == {"anna"}
    assert world.table("place")["policy_tier"] == [before[name] for name in world.table("place")["object_id"]]
    assert set(world.states().values()) == {"done"}
    for name in ("a.tif", "b.tif", "bad.tif"):
        assert (world.output / "tiers" / other / name).read_bytes() == (world.input / name).read_bytes()
    corrections.append(world.output, dataclasses.replace(decision, tier=None))
    assert world.committer.decide_again(names) == 3
    assert dict(zip(world.table("catalogue")["object_id"], world.table("catalogue")["tier"], strict=True)) == before
    assert set(world.table("catalogue")["corrected_by"]) == {None}
    assert sorted(world.states().values()) == ["done", "done", "quarantined"]
