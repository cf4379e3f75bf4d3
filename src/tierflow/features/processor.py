"""Say, before numba is imported, for what kind of processor machine code is made, and where it lies ready.

Code is made for a level of the processor's family, not for the very processor: then it can be made ahead of time, for
instance in a container image, and the same image has the same numbers on all machines of a cluster.
"""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_X86_64_V3 = ("avx", "avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.2", "xsave")
# Levels by kind of machine, the best first, with the features that the processor must have.
_LEVELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "x86_64": {"x86-64-v3": _X86_64_V3, "x86-64": ()},
    "aarch64": {"generic": ()},
}

# Machine code made ahead of time: a folder per level, laid out as NUMBA_CACHE_DIR.
READY = Path(sys.prefix) / "share" / "tierflow" / "kernels"


def levels(machine: str, features: Mapping[str, bool]) -> list[str]:
    """Return the levels that a processor can run, the best first; none where the kind of machine isn't known.

    Args:
        machine: As `platform.machine()` says.
        features: Features of the processor by LLVM's name.
    """
    known = _LEVELS.get(machine, {})
    return [level for level, needed in known.items() if all(features.get(name) for name in needed)]


def levels_here() -> list[str]:
    """Return the levels that this machine's processor can run, the best first."""
    # Late: it takes a tenth of a second, which numba would take anyhow.
    from llvmlite import binding

    try:
        features = dict(binding.get_host_cpu_features())
    except RuntimeError:
        # LLVM can't tell on some virtual machines.
        features = {}
    return levels(platform.machine(), features)


def prepare(ready: Path = READY) -> None:
    """Set numba's environment variables, where the user has not, and lay out machine code that was made ahead of time.

    Without effect once numba is imported: it reads them then.

    Args:
        ready: Folder with a folder per level.
    """
    if "numba" in sys.modules:
        return
    if "NUMBA_CPU_NAME" not in os.environ:
        found = levels_here()
        if not found:
            return
        os.environ.update(NUMBA_CPU_NAME=found[0], NUMBA_CPU_FEATURES="")
    made = ready / os.environ["NUMBA_CPU_NAME"]
    if made.is_dir() and "NUMBA_CACHE_DIR" not in os.environ:
        # Without room for links all works as well, after some seconds of compiling.
        with suppress(OSError):
            os.environ["NUMBA_CACHE_DIR"] = str(_laid_out(made))


def _laid_out(made: Path) -> Path:
    """Return a new folder with links to ready code, which is removed when the process ends.

    numba takes only a folder that it could write to, and the place of ready code can't be. A folder of the process's
    own also keeps processes apart: two that compile a function for different pixels at once can mix up their files.
    """
    folder = Path(tempfile.mkdtemp(prefix="tierflow-kernels-"))
    atexit.register(_remove, folder, os.getpid())
    for file in _files(made):
        link = folder / file.relative_to(made)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return folder


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _remove(folder: Path, owner: int) -> None:
    # A forked process inherits the duty, but not the right.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
