"""Reading bytes: hashing, what isn't there, what may not be read, what is too big to hold."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
from reader_samples import samples, tiff

from tierflow.errors import EmptyFileError, MissingFileError, TruncatedError, TryAgainError, UnreadableError
from tierflow.io.readers import load, planes
from tierflow.io.readers.load import file_errors


def test_bytes_size_and_hash_of_one_read(tmp_path):
    path = tmp_path / "a b'\n\u00fc.tif"
    path.write_bytes(b"some bytes")
    loaded = load(path)
    assert (loaded.data, loaded.size) == (b"some bytes", 10)
    assert loaded.sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert loaded.head(4) == b"some"


def test_empty_file(tmp_path):
    path = tmp_path / "empty.tif"
    path.touch()
    with pytest.raises(EmptyFileError, match=r"no bytes.*copy it again"):
        load(path)


def test_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="scan again"):
        load(tmp_path / "gone.tif")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(MissingFileError):
        load(tmp_path / "file" / "below.tif")


def test_links(tmp_path):
    (tmp_path / "dangling").symlink_to("nowhere.tif")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(MissingFileError, match=r"'nowhere\.tif', which doesn't exist"):
        load(tmp_path / "dangling")
    with pytest.raises(MissingFileError, match="circle"):
        load(tmp_path / "one")
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "good").symlink_to("target")
    assert load(tmp_path / "good").data == b"x"


@pytest.mark.timeout(20)
def test_what_is_not_a_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "folder.tif").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        for name, kind in (("pipe.tif", "a named pipe"), ("folder.tif", "a folder"), ("s", "a socket")):
            with pytest.raises(UnreadableError, match=f"is {kind}, expected a file"):
                load(tmp_path / name)


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENOTCONN, errno.EMFILE])
def test_storage_that_is_away_is_not_the_objects_fault(tmp_path, code):
    with pytest.raises(TryAgainError, match="run again") as caught, file_errors(tmp_path / "a.tif"):
        raise OSError(code, os.strerror(code))
    assert caught.value.exit_code == 75


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EACCES, "no permission to read it .*give this user read permission"),
        (errno.EIO, "check the storage"),
        (errno.ENAMETOOLONG, "can't be opened"),
        (errno.ENOENT, "the file isn't there any more"),
    ],
)
def test_errors_of_one_file(tmp_path, code, words):
    path = tmp_path / "a.tif"
    path.write_bytes(b"x")
    expected = MissingFileError if code == errno.ENOENT else UnreadableError
    with pytest.raises(expected, match=words), file_errors(path):
        raise OSError(code, os.strerror(code))


def test_permission():
    # Not tmp_path: only its owner may enter that, and root, who may read everything, has to act as somebody else.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "a.tif"
        path.write_bytes(b"x")
        path.chmod(0)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(UnreadableError, match="mode 0000"):
                load(path)
        finally:
            os.seteuid(me)


@pytest.mark.parametrize("name", sorted(samples()))
def test_a_file_that_is_not_held_gives_the_same_planes(tmp_path, name):
    path = tmp_path / "a.tif"
    content = samples()[name][0]
    path.write_bytes(content)
    loaded = load(path, hold_mb=0)
    assert loaded.data is None
    assert (loaded.size, loaded.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    held, unheld = (list(planes(source, max_plane_mb=10)) for source in (load(path), loaded))
    assert len(held) == len(unheld) > 0
    for a, b in zip(held, unheld, strict=True):
        assert np.array_equal(a.pixels, b.pixels)
        assert a.pixels.dtype == b.pixels.dtype
        assert (a.series, a.c, a.z, a.t) == (b.series, b.c, b.z, b.t)


def test_a_file_that_is_not_held_and_shrinks_or_goes_away(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(np.ones((64, 64), "uint16")))
    loaded = load(path, hold_mb=0)
    os.truncate(path, 4000)
    with pytest.raises(TruncatedError, match="became shorter"):
        list(planes(loaded, max_plane_mb=10))
    path.unlink()
    with pytest.raises(MissingFileError):
        list(planes(loaded, max_plane_mb=10))
