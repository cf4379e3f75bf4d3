"""Offers to workers elsewhere: one of many gets a batch, silence is noticed, what was taken back stays taken back."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tierflow.cli import run_cli
from tierflow.errors import ConfigError, InputMissingError
from tierflow.stream import offers, outside_pool, snakemake_queue
from tierflow.stream.getting_on import Progress
from tierflow.stream.outside_pool import OutsidePool
from tierflow.stream.snakemake_queue import END, Feed
from tierflow.stream.work import work, work_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANG_S = 0.3


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[OutsidePool]:
    """Give a pool of four that has started."""
    made = OutsidePool(tmp_path, size=4, hang_s=HANG_S)
    made.start()
    yield made
    made.close()


def send(pool: OutsidePool, output: Path, number: int) -> bool:
    """Offer a batch."""
    return pool.send(number, shard=output / f"b{number}/shard.parquet", table=output / f"b{number}/extract.parquet")


def taken(output: Path) -> offers.Offer:
    """Claim what must be there."""
    found = offers.claim(output)
    assert found is not None
    return found


def until(pool: OutsidePool, *, patience_s: float = 10.0) -> Any:
    """Return the next event."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := pool.events():
            [event] = found
            return event
        time.sleep(0.02)
    raise AssertionError("nothing happened")


def test_every_offer_is_claimed_by_exactly_one(tmp_path: Path) -> None:
    """However many want it at the same time."""
    for number in range(50):
        offers.offer(tmp_path, offers.Offer(number, "s", "t"))
    got: list[int] = []

    def take() -> None:
        while (found := offers.claim(tmp_path)) is not None:
            got.append(found.number)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(50))


def test_answers_come_back_as_events(tmp_path: Path, pool: OutsidePool) -> None:
    """Paths are relative, because machines see the output in different places."""
    for batch in (1, 2, 3):
        assert send(pool, tmp_path, batch)
    assert pool.idle() == 1
    first, second, third = taken(tmp_path), taken(tmp_path), taken(tmp_path)
    assert (first.shard, first.table) == ("b1/shard.parquet", "b1/extract.parquet")
    offers.answer(tmp_path, first.number, {"kind": "done", "seconds": 0.5})
    offers.answer(tmp_path, second.number, {"kind": "failed", "code": 75, "message": "the share is away"})
    offers.answer(tmp_path, third.number, {"kind": "died", "message": "ended by SIGKILL"})
    assert [(e.kind, e.batch) for e in pool.events()] == [("done", 1), ("failed", 2), ("died", 3)]
    assert pool.events() == []
    assert pool.idle() == 4


def test_an_answer_outlives_a_disk_that_goes_away_while_others_are_listened_to(
    tmp_path: Path, pool: OutsidePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken from the disk already, where nobody will find it again."""
    send(pool, tmp_path, 1)
    send(pool, tmp_path, 2)
    first = taken(tmp_path)
    offers.answer(tmp_path, first.number, {"kind": "done", "seconds": 0.5})

    def stale(_output: Path, _number: int) -> int:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(offers, "beaten_at", stale)
        with pytest.raises(OSError, match="Stale"):
            pool.events()
    assert [(event.kind, event.batch) for event in pool.events()] == [("done", 1)]
    assert pool.events() == []


def test_no_more_is_offered_than_is_wanted(tmp_path: Path, pool: OutsidePool) -> None:
    """The rest waits in the ledger."""
    assert [send(pool, tmp_path, number) for number in range(5)] == [True] * 4 + [False]


def test_silence_is_noticed_but_not_that_of_an_offer_nobody_took(tmp_path: Path, pool: OutsidePool) -> None:
    """With no worker there is only waiting; a claimed batch that is silent is taken back."""
    send(pool, tmp_path, 1)
    send(pool, tmp_path, 2)
    claimed = taken(tmp_path)
    end = time.monotonic() + 2 * HANG_S
    while time.monotonic() < end:
        assert offers.beat(tmp_path, claimed.number)
        assert pool.events() == []
        time.sleep(0.02)
    assert [number for number, _, _ in pool.busy()] == [1]
    event = until(pool)
    assert (event.kind, event.batch) == ("died", 1)
    assert "silent" in event.detail["message"]
    assert not offers.beat(tmp_path, claimed.number)
    assert pool.idle() == 3


def test_a_late_answer_is_none_to_the_next_offer_of_the_same_batch(tmp_path: Path, pool: OutsidePool) -> None:
    """Its table isn't there, or is being written by somebody else."""
    send(pool, tmp_path, 1)
    late = taken(tmp_path)
    assert until(pool).kind == "died"
    send(pool, tmp_path, 1)
    offers.answer(tmp_path, late.number, {"kind": "done", "seconds": 1})
    assert pool.events() == []
    assert taken(tmp_path).number != late.number
    assert pool.idle() == 3


def test_who_measures_himself_may_be_silent_for_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large plane takes its time; a program that only tends others has no excuse."""
    monkeypatch.setattr(outside_pool, "SILENT_S", 0.2)
    pool = OutsidePool(tmp_path, size=2, hang_s=60)
    pool.start()
    send(pool, tmp_path, 1)
    send(pool, tmp_path, 2)
    assert offers.begin(tmp_path, taken(tmp_path).number) is not None
    taken(tmp_path)
    assert until(pool).batch == 2
    assert [number for number, _, _ in pool.busy()] == [1]


def test_after_a_pause_of_its_own_the_watching_process_waits_anew(tmp_path: Path, pool: OutsidePool) -> None:
    """Workers may have stood still with it, as when the file server was away."""
    send(pool, tmp_path, 1)
    taken(tmp_path)
    pool.events()
    pool._looked_at -= 2 * outside_pool._OWN_PAUSE_S
    time.sleep(2 * HANG_S)
    assert pool.events() == []
    assert until(pool).kind == "died"


def test_that_nobody_works_is_said_once(
    tmp_path: Path, pool: OutsidePool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever sets it up may forget the other half."""
    monkeypatch.setattr(outside_pool, "_REMIND_S", 0.1)
    send(pool, tmp_path, 1)
    for _ in range(4):
        assert pool.events() == []
        time.sleep(0.1)
    assert len(caplog.messages) == 1
    assert f"tierflow work {tmp_path}" in caplog.text


def test_clocks_of_file_servers_do_not_matter(tmp_path: Path, pool: OutsidePool) -> None:
    """A beat with a time long ago is a beat."""
    send(pool, tmp_path, 1)
    name = f"{taken(tmp_path).number:014d}.json"
    for second in range(8):
        os.utime(tmp_path / offers.CLAIMED / name, (second, second))
        assert pool.events() == []
        time.sleep(0.1)


def test_a_new_watcher_takes_back_what_the_last_one_offered(tmp_path: Path, pool: OutsidePool) -> None:
    """Claimed, offered and answered alike: those batches begin anew under other numbers."""
    for number in (1, 2, 3):
        send(pool, tmp_path, number)
    offers.answer(tmp_path, taken(tmp_path).number, {"kind": "done"})
    second = taken(tmp_path)
    again = OutsidePool(tmp_path, size=4, hang_s=1)
    again.start()
    assert offers.claim(tmp_path) is None
    assert list(offers.answers(tmp_path)) == []
    assert not work_once(tmp_path, second.number)


def test_closing_takes_back_what_is_out(tmp_path: Path, pool: OutsidePool) -> None:
    """Nobody measures for a stream that has ended."""
    send(pool, tmp_path, 1)
    pool.close()
    assert offers.claim(tmp_path) is None
    assert offers.watched_at(tmp_path) is None


def test_without_a_stream_work_ends_or_waits(tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(InputMissingError, match="--wait-for-stream"):
        work(tmp_path, size=1, stop=threading.Event())
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert work(tmp_path, size=1, wait=True, stop=stop) == 0


def test_where_nothing_is_offered_work_ends_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As its configuration says; who asks for that waits until it says otherwise."""
    (tmp_path / "config.yaml").write_text("stream: {batches: {where: here}}")
    for arguments in ([], ["--idle-exit-s", "60"]):
        assert run_cli(["work", str(tmp_path), "--workers", "1", *arguments]) == 78
    with pytest.raises(ConfigError, match=r"offers nothing to measure.*--set stream\.batches\.where=outside"):
        work(tmp_path, size=1, stop=threading.Event())
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert work(tmp_path, size=1, wait=True, stop=stop) == 0
    assert [text.endswith("waiting for that") for text in caplog.messages] == [True]


def test_progress_is_planes_or_bytes(tmp_path: Path) -> None:
    """That time passes is none."""
    progress = Progress()
    progress.moved()
    assert not progress.moved()
    progress.count()
    assert progress.moved()
    assert not progress.moved()
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    (tmp_path / "large").read_bytes()
    assert progress.moved()


class TestFeed:
    """The queue of Snakemake's `from_queue`."""

    def test_holds_what_was_claimed_and_ends_after_so_many(self, tmp_path: Path, pool: OutsidePool) -> None:
        for batch in (1, 2, 3):
            send(pool, tmp_path, batch)
        feed = Feed(str, most=2, output=tmp_path)
        numbers = [int(feed.get(timeout=10)) for _ in range(2)]
        assert numbers == sorted(numbers)
        for number in numbers:
            assert offers.begin(tmp_path, number) is not None
            offers.answer(tmp_path, number, {"kind": "done", "seconds": 1})
        assert feed.get(timeout=10) is END
        assert taken(tmp_path).number not in numbers

    def test_claims_nothing_before_it_is_asked(self, tmp_path: Path, pool: OutsidePool) -> None:
        """Jobs of a cluster read the Snakefile too."""
        send(pool, tmp_path, 1)
        Feed(str, most=2, output=tmp_path)
        time.sleep(0.2)
        assert offers.claim(tmp_path) is not None

    def test_ends_when_nobody_watches(self, tmp_path: Path, pool: OutsidePool) -> None:
        feed = Feed(str, most=2, output=tmp_path)
        threading.Timer(0.2, pool.close).start()
        assert feed.get(timeout=10) is END

    def test_ends_when_the_watching_process_is_silent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It was killed, and left the sign that somebody watches."""
        monkeypatch.setattr(snakemake_queue, "SILENT_S", 0.3)
        offers.watch(tmp_path)
        assert Feed(str, most=2, output=tmp_path).get(timeout=10) is END

    def test_what_waits_for_its_turn_is_alive_and_what_has_begun_speaks_for_itself(
        self, tmp_path: Path, pool: OutsidePool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise a job that was killed would look alive for ever."""
        monkeypatch.setattr(snakemake_queue, "_BEAT_S", 0.05)
        send(pool, tmp_path, 1)
        number = int(Feed(str, most=2, output=tmp_path).get(timeout=10))
        end = time.monotonic() + 3 * HANG_S
        while time.monotonic() < end:
            assert pool.events() == []
            time.sleep(0.02)
        offers.begin(tmp_path, number)
        assert until(pool).kind == "died"

    def test_what_never_begins_is_let_go(
        self, tmp_path: Path, pool: OutsidePool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Snakemake can't start programs, for one."""
        monkeypatch.setattr(snakemake_queue, "_BEAT_S", 0.05)
        monkeypatch.setattr(snakemake_queue, "BEGIN_S", 0.3)
        send(pool, tmp_path, 1)
        Feed(str, most=2, output=tmp_path).get(timeout=10)
        assert until(pool).kind == "died"
