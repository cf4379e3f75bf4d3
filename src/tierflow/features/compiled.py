"""Compile the inner loops, and keep the result on disk where the machine allows it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tierflow.features import processor

# numba reads its environment variables when it is imported.
processor.prepare()

from numba import njit  # noqa: E402
from numba.core.caching import IndexDataCacheFile  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., Any]")


def _save(file: Any, key: object, data: object) -> None:
    """Save a function's machine code for one type of pixels, under a name that no other type gets.

    numba itself numbers the files. Two processes that compile a function for different types at the same moment take
    the same number, and the index of one then leads to the code of the other.
    """
    name = file._data_name(int(hashlib.sha256(repr(key).encode()).hexdigest()[:15], 16))
    file._save_data(name, data)
    file._save_index(file._load_index() | {key: name})


IndexDataCacheFile.save = _save  # type: ignore[method-assign]


def compiled(*, fastmath: bool = False) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function at its first call, with the lock of the interpreter released.

    The machine code is kept beside the source, or in the user's cache folder (NUMBA_CACHE_DIR names another place), per
    level of processor (see `processor`), so that later processes only load it. A container image brings it along.

    Args:
        fastmath: Whether floating-point sums may be reordered; never where NaN is looked for.
    """

    def decorate(function: Function) -> Function:
        made: Any
        try:
            made = njit(cache=True, nogil=True, fastmath=fastmath)(function)
        except RuntimeError:
            # Neither place can be written (a read-only container without a home): compile in every process.
            made = njit(nogil=True, fastmath=fastmath)(function)
        return cast("Function", made)

    return decorate
