"""Offers to workers elsewhere: one of many gets a batch, silence is noticed, what was taken back stays taken back."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tierflow.errors import InputMissingError
from tierflow.stream import offers
from tierflow.stream.outside_pool import OutsidePool
from tierflow.stream.work import work_once

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pool(tmp_path: Path) -> OutsidePool:
    """Give a pool of four that has started."""
    made = OutsidePool(tmp_path, size=4, hang_s=0.3)
    made.start()
    return made


def send(pool: OutsidePool, output: Path, number: int) -> bool:
    """Offer a batch."""
    return pool.send(number, shard=output / f"b{number}/shard.parquet", table=output / f"b{number}/extract.parquet")


def test_every_offer_is_claimed_by_exactly_one(tmp_path: Path) -> None:
    """However many want it at the same time."""
    for number in range(50):
        offers.offer(tmp_path, offers.Offer(number, "s", "t"))
    got: list[int] = []

    def take() -> None:
        while (found := offers.claim(tmp_path)) is not None:
            got.append(found.batch)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(50))


def test_answers_come_back_as_events(tmp_path: Path, pool: OutsidePool) -> None:
    """Paths are relative, because machines see the output in different places."""
    assert send(pool, tmp_path, 1)
    assert send(pool, tmp_path, 2)
    assert pool.idle() == 2
    first = offers.claim(tmp_path)
    assert first == offers.Offer(1, "b1/shard.parquet", "b1/extract.parquet")
    offers.answer(tmp_path, 1, {"done": 1, "seconds": 0.5})
    second = offers.claim(tmp_path)
    assert second is not None
    offers.answer(tmp_path, 2, {"failed": 2, "code": 75, "message": "the share is away"})
    assert [(e.kind, e.batch) for e in pool.events()] == [("done", 1), ("failed", 2)]
    assert pool.events() == []
    assert pool.idle() == 4


def test_no_more_is_offered_than_is_wanted(tmp_path: Path, pool: OutsidePool) -> None:
    """The rest waits in the ledger."""
    assert [send(pool, tmp_path, number) for number in range(5)] == [True] * 4 + [False]


def test_silence_is_noticed_but_not_that_of_an_offer_nobody_took(tmp_path: Path, pool: OutsidePool) -> None:
    """With no worker there is only waiting; a claimed batch that is silent is taken back."""
    send(pool, tmp_path, 1)
    send(pool, tmp_path, 2)
    claimed = offers.claim(tmp_path)
    assert claimed is not None
    pool.events()
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        assert offers.beat(tmp_path, 1)
        assert pool.events() == []
        time.sleep(0.05)
    assert [(number, silent < 0.3) for number, _, silent in pool.busy()] == [(1, True)]
    time.sleep(0.4)
    [event] = pool.events()
    assert (event.kind, event.batch) == ("died", 1)
    assert "silent" in event.detail["message"]
    assert not offers.beat(tmp_path, 1)
    offers.answer(tmp_path, 1, {"done": 1})
    assert pool.events() == []
    assert pool.idle() == 3


def test_clocks_of_file_servers_do_not_matter(tmp_path: Path, pool: OutsidePool) -> None:
    """A beat with a time long ago is a beat."""
    send(pool, tmp_path, 1)
    offers.claim(tmp_path)
    for second in range(8):
        os.utime(tmp_path / offers.CLAIMED / "00000001.json", (second, second))
        assert pool.events() == []
        time.sleep(0.1)


def test_a_new_watcher_takes_back_what_the_last_one_offered(tmp_path: Path, pool: OutsidePool) -> None:
    """Claimed, offered and answered alike: those batches begin anew under other numbers."""
    for number in (1, 2, 3):
        send(pool, tmp_path, number)
    offers.claim(tmp_path)
    offers.answer(tmp_path, 1, {"done": 1})
    offers.claim(tmp_path)
    again = OutsidePool(tmp_path, size=4, hang_s=1)
    again.start()
    assert offers.claim(tmp_path) is None
    assert list(offers.answers(tmp_path)) == []
    with pytest.raises(InputMissingError, match="batch 2 was taken back"):
        work_once(tmp_path, 2)


def test_closing_takes_back_what_is_out(tmp_path: Path, pool: OutsidePool) -> None:
    """Nobody measures for a stream that has ended."""
    send(pool, tmp_path, 1)
    pool.close()
    assert offers.claim(tmp_path) is None
