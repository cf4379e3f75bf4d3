"""What is kept in memory, and how often a file is read."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving_world import make_world

from tierflow.serve import thumbnails
from tierflow.serve.site import Site
from tierflow.serve.thumbnails import Cache, Thumbnails


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def test_what_was_not_used_for_longest_is_forgotten():
    cache = Cache(10)
    cache.put("a", b"aaaa")
    cache.put("b", b"bbbb")
    assert cache.get("a") == b"aaaa"
    cache.put("c", b"cccc")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"aaaa", None, b"cccc")


def test_sizes_are_counted_once():
    cache = Cache(10)
    for _ in range(20):
        cache.put("a", b"aaaa")
    cache.put("b", b"bbbb")
    assert cache.get("a") == b"aaaa"
    cache.put("huge", b"x" * 11)
    assert (cache.get("a"), cache.get("b"), cache.get("huge")) == (None, None, None)
    cache.put("c", b"c" * 10)
    assert cache.get("c") == b"c" * 10


def test_files_are_decoded_a_few_at_a_time_and_once(world, monkeypatch):
    running, most, calls = 0, 0, []
    lock = threading.Lock()
    make = thumbnails.make

    def counted(path, record, config):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            calls.append(path.name)
        try:
            return make(path, record, config)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(thumbnails, "make", counted)
    found = Thumbnails(Site([world.output]))
    names = ["ramp.tif", "planes.tif", "placed.tif", "colour.tif"] * 10
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda name: found.get(world.id(name)), names))
    assert {result.status for result in results} == {200}
    assert most <= thumbnails.DECODERS
    assert len(calls) <= 4 * thumbnails.DECODERS
