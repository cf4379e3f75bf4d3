"""Which file system a folder lies on, and whether its events tell of every change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MOUNT_TABLE = Path("/proc/self/mountinfo")

# Other machines write there without this one's kernel knowing.
_SHARED = {
    "nfs": "an NFS share",
    "nfs4": "an NFS share",
    "cifs": "an SMB share",
    "smb2": "an SMB share",
    "smb3": "an SMB share",
    "smbfs": "an SMB share",
    "afs": "an AFS share",
    "9p": "a share of a virtual machine",
    "virtiofs": "a share of a virtual machine",
    "vboxsf": "a share of a virtual machine",
    "prl_fs": "a share of a virtual machine",
    "drvfs": "a share of a virtual machine",
    "lustre": "a Lustre file system",
    "gpfs": "a Spectrum Scale file system",
    "beegfs": "a BeeGFS file system",
    "ceph": "a CephFS file system",
    "orangefs": "an OrangeFS file system",
    "pvfs2": "an OrangeFS file system",
    "panfs": "a PanFS file system",
    "wekafs": "a Weka file system",
    "gfs2": "a cluster file system",
    "ocfs2": "a cluster file system",
    "davfs": "a WebDAV share",
    "autofs": "an automounter",
}

# FUSE file systems of a local disk; all others (sshfs, rclone, s3fs, gcsfuse, glusterfs ...) speak to another machine.
_LOCAL_FUSE = frozenset({"ntfs-3g", "ntfs", "exfat", "fuse-overlayfs", "bindfs", "mergerfs", "ext2", "apfs"})


class Mount(NamedTuple):
    """A line of the mount table.

    Attributes:
        point: Folder it is mounted on.
        kind: Type of file system, such as `ext4`, `cifs` or `fuse.sshfs`.
        source: Device or share, such as `/dev/sda1` or `//server/share`.
    """

    point: str
    kind: str
    source: str


def parse_mounts(text: str) -> list[Mount]:
    r"""Read a mount table in the form of `/proc/self/mountinfo` (proc(5)).

    >>> parse_mounts("36 35 0:42 / /mnt/my\\040share rw shared:1 - cifs //nas/data rw,vers=3.1")
    [Mount(point='/mnt/my share', kind='cifs', source='//nas/data')]
    """
    found = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if dash and len(left) >= 5 and len(right) >= 2:
            found.append(Mount(_unescaped(left[4]), right[0], _unescaped(right[1])))
    return found


def read_mounts(table: Path = MOUNT_TABLE) -> list[Mount]:
    """Return the mounted file systems; none where the system has no such table."""
    try:
        return parse_mounts(table.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return []


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """Return the mount that a resolved path lies on: the deepest one, of those on the same folder the latest."""
    best: Mount | None = None
    for mount in mounts:
        if _is_inside(path, mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def mounts_below(path: str, mounts: list[Mount]) -> list[Mount]:
    """Return the mounts on folders inside a resolved path."""
    return [mount for mount in mounts if mount.point != path and _is_inside(mount.point, path)]


def needs_polling(kind: str) -> str | None:
    """Return what a file system is, in words, when its events don't tell of all changes; None when they do.

    >>> needs_polling("nfs4"), needs_polling("fuse.sshfs"), needs_polling("ext4"), needs_polling("overlay")
    ('an NFS share', 'a share through FUSE (sshfs)', None, None)
    """
    if kind in _SHARED:
        return _SHARED[kind]
    name = kind.removeprefix("fuse.")
    if kind.startswith("fuse.") and name not in _LOCAL_FUSE:
        return f"a share through FUSE ({name})"
    return None


def mode_for(path: str, mounts: list[Mount], *, wanted: str) -> tuple[str, str]:
    """Choose how news of a folder is noticed.

    Args:
        path: The resolved folder.
        mounts: The mount table.
        wanted: `stream.hints`: auto, events or polling.

    Returns:
        `events` or `polling`, and why, in words.
    """
    if wanted != "auto":
        return wanted, f"stream.hints is {wanted}"
    mount = mount_of(path, mounts)
    if mount is None:
        return "events", "the type of the file system isn't known here"
    shared = [(found, what) for found in (mount, *mounts_below(path, mounts)) if (what := needs_polling(found.kind))]
    if shared:
        found, what = shared[0]
        return "polling", (
            f"{found.point} is {what} (type {found.kind}, from {found.source}): changes made by other machines raise "
            "no events here"
        )
    return "events", f"{mount.point} is a local file system (type {mount.kind})"


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
