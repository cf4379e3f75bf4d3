"""Small file systems that a test mounts, fills and takes away, where it may."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mount(*arguments: object) -> bool:
    """Mount something; returns whether that is permitted."""
    try:
        return subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def unmount(folder: Path, *, lazily: bool = False) -> None:
    """Take the uppermost file system away from a folder; patient with those who use it, unless lazily."""
    for _ in range(100):
        if subprocess.run(["umount", *["--lazy"][: int(lazily)], str(folder)], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def small_disk(folder: Path, *, mb: float) -> Iterator[Path]:
    """Mount a file system of some MB on a folder; skips where that isn't permitted."""
    folder.mkdir(exist_ok=True)
    if not mount("-t", "tmpfs", "-o", f"size={int(mb * 1024)}k", "none", folder):
        pytest.skip("mounting isn't permitted here: run as root, or in `unshare --user --map-root-user --mount`")
    try:
        yield folder
    finally:
        unmount(folder)


def fill(folder: Path) -> Path:
    """Fill the disk of a folder to the last byte; returns the file to delete."""
    ballast = folder / "ballast.bin"
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1 << 8, 1):
            try:
                while stream.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return ballast
