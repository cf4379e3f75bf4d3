"""The watched folder: which file system, whether it is the one it was, and what a technician is told."""

import errno
import os
import shutil

import pytest

from tierflow.io.walk import Found
from tierflow.stream import roots
from tierflow.stream.ledger import Ledger
from tierflow.stream.mounts import Mount, mode_for, mount_of, needs_polling, parse_mounts
from tierflow.stream.roots import Identity, Root
from tierflow.stream.sightings import Sightings

TABLE = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:40 / /data rw,relatime shared:5 - nfs4 nas:/export rw,vers=4.2
41 40 0:41 / /data/plate\\0407 rw - cifs //nas/p7 rw
42 27 0:42 / /data rw - xfs /dev/sdb1 rw
43 27 0:43 / /home rw - fuse.sshfs me@far: rw
44 27 0:44 / /mnt/usb rw - fuseblk /dev/sdc1 rw
"""


def test_the_deepest_mount_holds_and_of_two_the_later():
    mounts = parse_mounts(TABLE)
    assert mount_of("/data/plate 7/a", mounts).kind == "cifs"
    assert mount_of("/data/other", mounts) == Mount("/data", "xfs", "/dev/sdb1")
    assert mount_of("/database", mounts).point == "/"


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre", "gpfs", "beegfs", "ceph"]
)
def test_file_systems_of_other_machines_are_polled(kind):
    assert needs_polling(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "apfs", "vfat"])
def test_local_file_systems_have_events(kind):
    assert needs_polling(kind) is None


def test_the_reason_is_in_words():
    mounts = parse_mounts(TABLE)
    assert mode_for("/home/me", mounts, wanted="auto") == (
        "polling",
        "/home is a share through FUSE (sshfs) (type fuse.sshfs, from me@far:): changes made by other machines raise "
        "no events here",
    )
    assert mode_for("/tmp", mounts, wanted="auto") == ("events", "/ is a local file system (type ext4)")
    assert mode_for("/tmp", mounts, wanted="polling") == ("polling", "stream.hints is polling")
    assert mode_for("/tmp", [], wanted="auto")[0] == "events"


def test_a_share_inside_a_local_folder_is_polled():
    mode, why = mode_for("/data", parse_mounts(TABLE), wanted="auto")
    assert mode == "polling"
    assert "/data/plate 7 is an SMB share" in why


@pytest.fixture
def world(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    ledger = Ledger(tmp_path / "out")
    yield root, ledger
    ledger.close()


def put(root, ledger, *names):
    for name in names:
        (root / name).write_bytes(b"1")
        state = (root / name).stat()
        found = Found(name.encode(), 1, state.st_mtime_ns, False, state.st_ino)
        Sightings(ledger, dataset="d").see([(found, True)])


def other_folder(root):
    """Put another folder at the same place, as an unmounted share leaves one."""
    root.rename(root.with_name("away"))
    root.mkdir()


def test_a_root_is_healthy_as_long_as_it_is_the_same(world):
    root, ledger = world
    watched = Root(root, ledger)
    first = watched.check()
    assert first.ok
    assert first.changed
    again = watched.check()
    assert again.ok
    assert not again.changed
    assert watched.is_same()


def test_a_root_that_vanished_says_what_to_do_and_is_healed(world):
    root, ledger = world
    watched = Root(root, ledger)
    put(root, ledger, "a.tif")
    watched.check()
    root.rename(root.with_name("away"))
    health = watched.check()
    assert (health.state, health.ok, health.readable) == ("missing", False, False)
    assert "mount its disk or share again" in health.message
    assert not watched.is_same()
    root.with_name("away").rename(root)
    assert watched.check().ok


def test_an_empty_folder_in_place_of_one_with_files_isnt_believed(world):
    root, ledger = world
    watched = Root(root, ledger)
    put(root, ledger, "a.tif", "b.tif")
    watched.check()
    other_folder(root)
    health = watched.check()
    assert health.state == "emptied"
    assert health.readable
    assert health.changed
    assert "none of 2 known files" in health.message
    assert not watched.check().changed
    assert not watched.is_same()
    # A file that came into the bare mount point proves nothing.
    put(root, ledger, "new.tif")
    assert watched.check().state == "other"


def test_the_identity_survives_a_restart(world):
    root, ledger = world
    put(root, ledger, "a.tif")
    Root(root, ledger).check()
    other_folder(root)
    assert Root(root, ledger).check().state == "emptied"


def test_a_share_that_was_mounted_again_is_known_by_its_files(world):
    root, ledger = world
    watched = Root(root, ledger)
    put(root, ledger, "a.tif", "b.tif")
    watched.check()
    other_folder(root)
    shutil.copy2(root.with_name("away") / "b.tif", root / "b.tif")
    health = watched.check()
    assert health.ok
    assert health.changed
    assert not watched.check().changed


def test_a_folder_made_anew_is_taken_when_nothing_can_be_lost(world):
    root, ledger = world
    watched = Root(root, ledger)
    put(root, ledger, "a.tif")
    with ledger.transaction() as db:
        db.execute("UPDATE objects SET state = 'done'")
    watched.check()
    other_folder(root)
    assert watched.check().ok


def test_an_unmounted_share_is_named(world):
    root, ledger = world
    share = Mount(str(root), "cifs", "//nas/data")
    table = [Mount("/", "ext4", "/dev/vda"), share]
    watched = Root(root, ledger, mounts=lambda: table)
    watched.check()
    table.remove(share)
    health = watched.check()
    assert health.state == "unmounted"
    assert health.message.startswith(f"{root}: //nas/data (cifs) is no longer mounted on {root}: mount it again")
    table.append(share)
    assert watched.check().ok


@pytest.mark.parametrize(
    ("code", "state", "remedy"),
    [
        (errno.EACCES, "denied", "chmod"),
        (errno.EPERM, "denied", "permission"),
        (errno.ESTALE, "stale", "unmount and mount"),
        (errno.EIO, "away", "check network"),
        (errno.EHOSTDOWN, "away", "check network"),
        (errno.ENOTCONN, "away", "check network"),
        (errno.ENOTDIR, "not_a_folder", "put it back"),
    ],
)
def test_each_failure_has_its_state_and_remedy(world, monkeypatch, code, state, remedy):
    root, ledger = world
    watched = Root(root, ledger)
    watched.check()

    def fails(path):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(roots.os, "scandir", fails)
    health = watched.check()
    assert (health.state, health.ok, health.readable) == (state, False, False)
    assert remedy in health.message
    assert str(root) in health.message
    monkeypatch.undo()
    assert watched.check().ok


def test_the_same_folder_on_another_mount_is_another():
    assert not Identity(1, 2, "/a").same_folder(Identity(1, 2, "/"))
    assert Identity(1, 2, "/a", "nfs", "x").same_folder(Identity(1, 2, "/a", "nfs4", "y"))
