"""The same plate gives the same scan, whether it lies in a folder or on an object store."""

from __future__ import annotations

import pytest

from tierflow.config import Scan
from tierflow.errors import ConfigError
from tierflow.io import remote_walk
from tierflow.io.remote_walk import select, walk_remote
from tierflow.io.walk import OWN_FOLDER, UNSAFE_KEY, Found, walk
from tierflow.objectstore import connect
from tierflow.objectstore.base import Head
from tierflow.objectstore.connect import StorePath

NAMES = [
    "A/B03_s1_w1.tif",
    "A/B03_s1_w1_thumb.tif",
    "A/.hidden.tif",
    "A/notes.txt",
    "A/strange.xyz",
    "A/raw.czi",
    "Ä name with spaces/plus+und%25 #1?.tif",
    "Ä name with spaces/deep/er/x.TIFF",
    ".secret/y.tif",
    "@eaDir/z.tif",
    "group.zarr/0/0/0",
    "group.zarr/.zattrs",
    "former/.tierflow/lock",
    "former/tiers/A/copy.tif",
    "former/deep/copy.tif",
    "top.png",
    "empty.tif",
]
RULES = [
    Scan(),
    Scan(include=["*.tif", "*.xyz"]),
    Scan(exclude=["Ä*", "A/B03*"]),
    Scan(include=["**/x.TIFF", "top.png"], exclude=["deep"]),
]


class FakeStore:
    """A store that lists what it is told to."""

    def __init__(self, keys):
        self.heads = [Head(key, 3, 7) for key in sorted(keys)]
        self.scans = []

    def scan(self, prefix):
        self.scans.append(prefix)
        return (head for head in self.heads if head.key.startswith(prefix))

    def head(self, key):
        return next((head for head in self.heads if head.key == key), None)


@pytest.fixture
def stored(monkeypatch):
    def make(keys):
        store = FakeStore(keys)
        monkeypatch.setattr(connect, "connect", lambda root: store)
        return store

    return make


@pytest.mark.parametrize("rules", RULES)
def test_a_listing_is_chosen_from_like_a_folder(tmp_path, rules):
    for number, name in enumerate(NAMES):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    local = walk(tmp_path, rules)
    listing = [Found(name.encode(), number, 0, False) for number, name in enumerate(NAMES)]
    remote = select(sorted(listing), rules)
    assert [(file.path, file.size) for file in remote.files] == [(file.path, file.size) for file in local.files]
    for what in ("skipped", "extensions", "examples", "warnings"):
        assert getattr(remote, what) == getattr(local, what), what
    assert local.files


def test_one_listing_below_the_root_and_no_marks_of_folders(stored):
    store = stored(["p/P1/a.tif", "p/P1/sub/", "p/P1/sub/b.tif", "p/P1", "p/P10/no.tif"])
    found = walk_remote(StorePath("s3://bucket", "p/P1"), Scan())
    assert [file.path for file in found.files] == [b"a.tif", b"sub/b.tif"]
    assert store.scans == ["p/P1/"]
    assert not found.skipped


def test_a_whole_bucket_is_a_root_and_tiers_in_it_are_left_out(stored):
    stored(["a.tif", "tiers/A/a.tif", "tiersA/a.tif"])
    found = walk_remote(StorePath("s3://bucket", ""), Scan(), skip=["s3://bucket/tiers", "s3://other/a", "/data"])
    assert [file.path for file in found.files] == [b"a.tif", b"tiersA/a.tif"]
    assert found.skipped == {OWN_FOLDER: 1}


def test_keys_that_no_folder_could_hold_are_named_and_left_out(stored):
    stored(["p//a.tif", "p/x//b.tif", "p/c.tif"])
    found = walk_remote(StorePath("s3://bucket", "p"), Scan())
    assert [file.path for file in found.files] == [b"c.tif"]
    assert found.skipped == {UNSAFE_KEY: 2}
    assert any("2 objects were left out" in warning for warning in found.warnings)


def test_an_object_is_no_root(stored):
    stored(["p/a.tif"])
    with pytest.raises(ConfigError, match="is one object"):
        remote_walk.listed(StorePath("s3://bucket", "p/a.tif"))
