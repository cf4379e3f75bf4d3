"""Tiers on a real S3 server: verified, never overwritten, resumed after a kill, undone byte for byte."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from faulty import store  # noqa: F401 - a fixture

from placing_world import World, tree
from tierflow.errors import ConfigError, TryAgainError, exit_code_of
from tierflow.objectstore import s3_parts
from tierflow.objectstore.connect import connect, place_at
from tierflow.testing.store_tiers import StoreDriverContract, fresh_root
from tierflow.tiers.base import Order
from tierflow.tiers.copy import Copy, copy_any
from tierflow.tiers.move import Move
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify

PLACE = """
import sys, pathlib
from tierflow.objectstore import s3_parts
from tierflow.steps import place
s3_parts.PART_BYTES = 5 << 20
place.run(**{key: pathlib.Path(value) for key, value in (text.split("=", 1) for text in sys.argv[1:])})
"""
NAMES = ("plain.tif", "p/with space.tif", "p/ünï😀 + 100%&?#.tif", "p/new\nline.tif", "-rf", "p/empty.tif")


class InBucket(StoreDriverContract):
    @pytest.fixture
    def root(self, store):  # noqa: F811
        return fresh_root(f"{store[0].root}/tiers")


class TestCopyInBucket(InBucket):
    driver = Copy


class TestMoveInBucket(InBucket):
    driver = Move


def world_of(tmp_path, bucket, **drivers):
    world = World(tmp_path / "w")
    world.drivers |= {"A": "move", "B": "copy", **drivers}
    world.roots |= {name: f"{bucket.root}/tier {name}" for name in "ABC"}
    return world


def parts_sent(proxy):
    return [path for method, path in proxy.seen if method == "PUT" and "partNumber=" in path]


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(s3_parts, "PART_BYTES", 5 << 20)


def test_there_and_back(store, tmp_path, small_parts):  # noqa: F811
    bucket, _ = store
    world = world_of(tmp_path, bucket, C="trash")
    for number, name in enumerate(NAMES):
        world.add(name, random.Random(number).randbytes(1000) if "empty" not in name else b"", tier="ABC"[number % 3])
    large = random.Random(7).randbytes((11 << 20) + 5)
    world.add("large.tif", large, tier="A").chmod(0o640)
    world.add(b"raw \xff.tif", b"raw", tier="A")
    before = tree(world.input)
    world.measure()
    config = world.config.read_text()
    text = config.replace("  A:\n", "  A:\n    storage_class: STANDARD_IA\n    tags: {project: 'p53 (new)'}\n")
    world.config.write_text(text)
    rows = world.place()
    assert {row["placement"] for row in rows.values()} == {"placed"}
    assert {row["problem"] for row in rows.values()} == {None}
    assert rows["large.tif"]["destination"] == f"{bucket.root}/tier A/large.tif"
    assert bucket.contents()["tier A/large.tif"] == large
    assert "tier A/raw \\xff.tif" in bucket.contents()
    assert not (world.input / "large.tif").exists()
    assert (world.input / NAMES[1]).exists()
    tags = bucket.client.get_object_tagging(Bucket=bucket.name, Key="tier A/large.tif")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "tierflow_tier": "A",
        "tierflow_object_id": world.id_of("large.tif"),
        "tierflow_dataset": "in",
        "project": "p53 _new_",
    }
    for full in (True, False):
        report = verify(world.output, hash_files=full)
        assert report.ok, report
        assert not report.foreign
        assert not report.leftovers
    journal = world.journal()
    assert world.place() == rows
    assert world.journal() == journal
    world.rescore({"large.tif": "B", "plain.tif": "D"})
    world.drivers["D"] = "move"
    world.configure()
    again = world.place()
    assert again["large.tif"]["destination"] == f"{bucket.root}/tier B/large.tif"
    assert again["plain.tif"]["destination"] == "tiers/D/plain.tif"
    assert verify(world.output).ok
    assert undo(world.output, dry_run=False).conflicts == []
    assert tree(world.input) == before
    assert bucket.contents() == {}


def test_what_is_not_ours_is_never_overwritten(store, tmp_path, small_parts):  # noqa: F811
    bucket, proxy = store
    world = world_of(tmp_path, bucket)
    world.add("x.tif", b"mine")
    world.add("y.tif", b"y" * (6 << 20))
    world.measure()
    bucket.put("tier A/x.tif", b"someone else's")
    # Another program takes the name in the moment between looking and writing.
    races = {"PUT", "POST"}

    def race(method, path):
        if method in races and "y.tif" in path and "partNumber" not in path and "uploads" not in path:
            races.clear()
            bucket.put("tier A/y.tif", b"also someone else's")

    proxy.before = race
    rows = world.place()
    assert races == set()
    assert bucket.get("tier A/x.tif") == b"someone else's"
    assert bucket.get("tier A/y.tif") == b"also someone else's"
    for name in ("x", "y"):
        second = f"tier A/{name}~{world.id_of(f'{name}.tif')[:8]}.tif"
        assert rows[f"{name}.tif"]["destination"] == f"{bucket.root}/{second}"
    assert verify(world.output).ok
    assert undo(world.output, dry_run=False).conflicts == []
    assert set(bucket.contents()) == {"tier A/x.tif", "tier A/y.tif"}
    assert bucket.uploads() == []


def test_lost_answers_double_nothing(store, tmp_path, small_parts):  # noqa: F811
    bucket, proxy = store
    world = world_of(tmp_path, bucket)
    world.add("x.tif", b"x")
    world.add("y.tif", b"y" * (6 << 20))
    before = tree(world.input)
    world.measure()
    lost = []

    def rule(method, path):
        if (method, path) not in lost and method in ("PUT", "POST") and "?uploads" not in path:
            lost.append((method, path))
            return "lost"
        return None

    proxy.rule = rule
    rows = world.place()
    assert len(lost) >= 4
    assert {row["placement"] for row in rows.values()} == {"placed"}
    assert sorted(bucket.contents()) == ["tier A/x.tif", "tier A/y.tif"]

    def cut(method, path):
        if method == "GET" and "cut" not in lost:
            lost.append("cut")
            return "cut_answer"
        return None

    proxy.rule = cut
    assert undo(world.output, dry_run=False).conflicts == []
    assert "cut" in lost
    assert tree(world.input) == before


def test_an_overloaded_store_is_tried_again_later(store, tmp_path):  # noqa: F811
    bucket, proxy = store
    world = world_of(tmp_path, bucket)
    for number in range(4):
        world.add(f"{number}.tif", b"%d" % number)
    world.measure()
    before = tree(world.input)
    proxy.rule = lambda method, path: "slow_down" if method == "PUT" else None
    with pytest.raises(TryAgainError, match=r"SlowDown.*run again") as caught:
        world.place()
    assert exit_code_of(caught.value) == 75
    assert tree(world.input) == before
    proxy.rule = lambda method, path: None
    assert {row["placement"] for row in world.place().values()} == {"placed"}
    assert len(bucket.contents()) == 4
    proxy.rule = lambda method, path: "slow_down"
    for act in (lambda: undo(world.output, dry_run=False), lambda: verify(world.output), world.place):
        with pytest.raises(TryAgainError):
            act()
    proxy.rule = lambda method, path: None
    assert undo(world.output, dry_run=False).conflicts == []
    assert tree(world.input) == before


def test_a_killed_upload_goes_on_where_it_was(store, tmp_path, small_parts):  # noqa: F811
    bucket, proxy = store
    world = world_of(tmp_path, bucket)
    content = random.Random(3).randbytes(23 << 20)
    source = world.add("large.tif", content)
    world.measure()
    proxy.rule = lambda method, path: "hang" if "partNumber=4" in path else None
    arguments = [f"{key}={value}" for key, value in world.arguments().items()]
    with subprocess.Popen([sys.executable, "-c", PLACE, *arguments]) as process:
        deadline = time.monotonic() + 60
        while not any("partNumber=4" in path for path in parts_sent(proxy)) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert source.read_bytes() == content
    assert bucket.contents() == {}
    assert bucket.uploads() == ["tier A/large.tif"]
    theirs = bucket.client.create_multipart_upload(Bucket=bucket.name, Key="tier A/other.tif")
    assert [finding.object_id for finding in verify(world.output).leftovers] == [world.id_of("large.tif")]
    proxy.rule = lambda method, path: None
    proxy.seen.clear()
    assert world.place()["large.tif"]["placement"] == "placed"
    again = {path[path.index("partNumber=") :][:12] for path in parts_sent(proxy)}
    assert again == {"partNumber=4", "partNumber=5"}
    assert bucket.contents() == {"tier A/large.tif": content}
    assert bucket.uploads() == ["tier A/other.tif"], "only what is ours is ever aborted"
    assert theirs["UploadId"]
    assert verify(world.output).ok
    assert verify(world.output).leftovers == []


def test_a_killed_upload_that_is_not_wanted_any_more_is_aborted(store, tmp_path, small_parts):  # noqa: F811
    bucket, proxy = store
    world = world_of(tmp_path, bucket, D="none")
    world.add("large.tif", random.Random(3).randbytes(11 << 20))
    world.measure()
    proxy.rule = lambda method, path: "hang" if "partNumber=2" in path else None
    arguments = [f"{key}={value}" for key, value in world.arguments().items()]
    with subprocess.Popen([sys.executable, "-c", PLACE, *arguments]) as process:
        deadline = time.monotonic() + 60
        while not any("partNumber=2" in path for path in parts_sent(proxy)) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    proxy.rule = lambda method, path: None
    assert bucket.uploads() == ["tier A/large.tif"]
    world.rescore({"large.tif": "D"})
    assert world.place()["large.tif"]["placement"] == "kept"
    assert bucket.uploads() == []
    assert verify(world.output).leftovers == []


def test_kill_9_at_random_moments(store, tmp_path):  # noqa: F811
    bucket, proxy = store
    world = world_of(tmp_path, bucket)
    for number in range(24):
        world.add(f"p/{number}.tif", random.Random(number).randbytes(3000 + number), tier="AB"[number % 2])
    world.measure()
    before = tree(world.input)
    wanted = {hashlib.sha256(facts[1]).hexdigest() for facts in before.values() if facts[0] == "file"}
    arguments = [f"{key}={value}" for key, value in world.arguments().items()]
    for kill in range(4):
        proxy.seen.clear()
        with subprocess.Popen([sys.executable, "-c", PLACE, *arguments]) as process:
            while process.poll() is None and len(proxy.seen) < 12 + 17 * kill:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        here = [path.read_bytes() for path in world.input.rglob("*.tif")]
        assert {hashlib.sha256(data).hexdigest() for data in (*here, *bucket.contents().values())} == wanted
    assert {row["placement"] for row in world.place().values()} == {"placed"}
    report = verify(world.output)
    assert report.ok, report
    assert report.foreign == []
    assert undo(world.output, dry_run=False).conflicts == []
    assert tree(world.input) == before
    assert bucket.contents() == {}


def test_damage_is_found(store, tmp_path):  # noqa: F811
    bucket, _ = store
    world = world_of(tmp_path, bucket)
    for name in ("changed", "gone", "fine"):
        world.add(f"{name}.tif", b"bytes of " + name.encode())
    world.measure()
    world.place()
    bucket.put("tier A/changed.tif", b"bytes of CHANGED"[:16])
    bucket.client.delete_object(Bucket=bucket.name, Key="tier A/gone.tif")
    bucket.put("tier A/strange.tif", b"?")
    for full in (True, False):
        report = verify(world.output, hash_files=full)
        assert [finding.object_id for finding in report.missing] == [world.id_of("gone.tif")]
        assert [str(finding.path) for finding in report.foreign] == [f"{bucket.root}/tier A/strange.tif"]
        if full:
            assert [finding.object_id for finding in report.changed] == [world.id_of("changed.tif")]
    left = undo(world.output, dry_run=False)
    assert {conflict.object_id for conflict in left.conflicts} == {world.id_of("gone.tif"), world.id_of("changed.tif")}
    assert (world.input / "fine.tif").read_bytes() == b"bytes of fine"
    assert bucket.get("tier A/changed.tif") == b"bytes of CHANGED"


def test_troubles_are_told_for_what_they_are(store, tmp_path, monkeypatch):  # noqa: F811
    bucket, _ = store
    world = world_of(tmp_path, bucket)
    world.add("x.tif", b"x")
    world.measure()
    before = tree(world.input)
    world.roots["A"] = "s3://tierflow-no-such-bucket/a"
    world.configure()
    with pytest.raises(ConfigError, match="no such bucket; create it"):
        world.place()
    world.roots["A"] = f"{bucket.root}/a"
    world.configure()
    for name, value, words in (
        ("AWS_SECRET_ACCESS_KEY", "wrong", "access denied|doesn't know these credentials"),
        ("AWS_ACCESS_KEY_ID", "nobody", "access denied|doesn't know these credentials"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            connect.cache_clear()
            with pytest.raises(ConfigError, match=words) as caught:
                world.place()
            assert exit_code_of(caught.value) == 78
    connect.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        connect.cache_clear()
        with pytest.raises(TryAgainError, match="reached"):
            world.place()
    connect.cache_clear()
    assert tree(world.input) == before
    assert world.place()["x.tif"]["placement"] == "placed"


def test_a_file_that_changes_is_not_placed(store, tmp_path):  # noqa: F811
    bucket, _ = store
    path = tmp_path / "x.tif"
    path.write_bytes(b"new")
    measured = hashlib.sha256(b"old").hexdigest()
    with pytest.raises(Exception, match="changed since it was measured"):
        copy_any(Order("1" * 32, path, place_at(f"{bucket.root}/x.tif"), measured))
    assert bucket.contents() == {}
    assert os.listdir(tmp_path) == ["x.tif"]  # noqa: PTH208
