"""Reading an object of a store: once, whole, and never a part for the whole."""

from __future__ import annotations

import hashlib

import pytest

from tierflow.errors import EmptyFileError, MissingFileError, TryAgainError
from tierflow.io import remote
from tierflow.io.remote import discard, input_root, input_text, key_below, load_remote
from tierflow.objectstore import connect
from tierflow.objectstore.base import Head
from tierflow.objectstore.connect import StorePath

DATA = bytes(range(256)) * 8000
SIZE = len(DATA)
PLACE = StorePath("s3://bucket", "P1/Ä plate/B03.tif")


class FakeStore:
    """One object; each read gives the next of `plays`: bytes that come before the error, and the error or None."""

    def __init__(self, plays, size=SIZE):
        self.plays, self.size, self.reads, self.heads = list(plays), size, 0, 0

    def chunks(self, key, *, size):
        data, error = self.plays[self.reads]
        self.reads += 1
        for start in range(0, len(data), size):
            yield data[start : start + size]
        if error is not None:
            raise error

    def head(self, key):
        self.heads += 1
        return None if self.size is None else Head(key, self.size, 0)


@pytest.fixture
def play(monkeypatch):
    monkeypatch.setattr(remote, "PAUSE_S", 0)

    def make(*plays, **about):
        store = FakeStore(plays, **about)
        monkeypatch.setattr(connect, "connect", lambda root: store)
        return store

    return make


def read(tmp_path, **options):
    return load_remote(PLACE, scratch=tmp_path, **{"expected": len(DATA), **options})


def test_one_request_gives_bytes_and_hash(play, tmp_path):
    store = play((DATA, None))
    loaded = read(tmp_path)
    assert loaded.data == DATA
    assert loaded.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (store.reads, store.heads) == (1, 0)
    assert loaded.path.name == "B03.tif"


def test_a_cut_connection_begins_anew(play, tmp_path):
    cut = TryAgainError("cut")
    store = play((DATA[:1000], cut), (b"", cut), (DATA, None))
    assert read(tmp_path).data == DATA
    assert store.reads == 3


def test_a_store_that_stays_away_is_told(play, tmp_path):
    store = play(*[(b"", TryAgainError("away"))] * remote.TRIES)
    with pytest.raises(TryAgainError, match="away"):
        read(tmp_path)
    assert store.reads == remote.TRIES


def test_a_truncated_body_is_never_taken_for_the_whole(play, tmp_path):
    store = play((DATA[:-1], None), (DATA, None))
    assert read(tmp_path).data == DATA
    assert (store.reads, store.heads) == (2, 1)
    play(*[(DATA[:-1], None)] * remote.TRIES)
    with pytest.raises(TryAgainError, match=r"2,047,999 bytes came, the store says 2,048,000"):
        read(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_new_version_of_another_size_is_read(play, tmp_path):
    store = play((DATA[:500], None), size=500)
    assert read(tmp_path).size == 500
    assert (store.reads, store.heads) == (1, 1)


@pytest.mark.parametrize(
    ("plays", "about", "error"),
    [
        ([(b"", FileNotFoundError("gone"))], {}, MissingFileError),
        ([(b"", None)], {"size": 0}, EmptyFileError),
        ([(DATA[:10], None)], {"size": None}, MissingFileError),
    ],
)
def test_bad_objects_are_errors_of_their_own(play, tmp_path, plays, about, error):
    play(*plays, **about)
    with pytest.raises(error):
        read(tmp_path)


def test_a_large_object_is_a_file_until_it_is_measured(play, tmp_path):
    cut = TryAgainError("cut")
    play((DATA[: len(DATA) // 2] * 3, cut), (DATA, None))
    loaded = read(tmp_path, hold_mb=1)
    assert loaded.data is None
    assert loaded.path.read_bytes() == DATA
    assert loaded.sha256 == hashlib.sha256(DATA).hexdigest()
    discard(loaded, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_user_is_never_discarded(tmp_path):
    from tierflow.io.readers import load

    path = tmp_path / "image.tif"
    path.write_bytes(b"0123456789" * 200_000)
    discard(load(path, hold_mb=1), tmp_path / "scratch")
    assert path.exists()


def test_roots_are_compared_without_a_last_slash(tmp_path):
    assert input_text(input_root("s3://bucket/P1/")) == "s3://bucket/P1"
    assert input_text(input_root(f"{tmp_path}/")) == str(tmp_path)
    assert str(key_below(StorePath("s3://bucket", ""), "a b.tif")) == "s3://bucket/a b.tif"
