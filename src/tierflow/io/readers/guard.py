"""What foreign decoders may do: fail in any way on damaged content, and never allocate more than is allowed."""

from __future__ import annotations

import logging
import struct
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from tierflow.errors import ObjectError, TooLargeError, TryAgainError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MB = 1_000_000

# What a decoder runs into when it believes a damaged number.
_MISLED = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, struct.error)

# tifffile reports each oddity of a damaged file to standard error; the row's reason is where it belongs.
_tifffile_log = logging.getLogger("tifffile")
_tifffile_log.addHandler(logging.NullHandler())
_tifffile_log.propagate = False


@contextmanager
def foreign(library: Literal["tifffile", "imagecodecs", "Pillow"], what: str) -> Iterator[None]:
    """Map whatever a decoder raises on damaged content to an error of the object.

    Damaged numbers in a file can make a decoder fail with nearly any exception, so all are mapped. Errors of the
    operating system keep their kind: they tell of the disk, not of the content.

    Args:
        library: The decoder.
        what: What was being read, as the start of the message.

    Raises:
        TooLargeError: when memory ran out.
        UnreadableError: for everything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ObjectError, TryAgainError):
        raise
    except MemoryError as error:
        raise TooLargeError(
            f"{what} needs more memory than there is: lower extract.max_plane_mb or add memory"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        text = " ".join(str(error).split())[:200]
        if isinstance(error, _MISLED):
            # Its text tells of the decoder's own variables; the type is enough for a bug report.
            text = f"numbers that contradict each other, {type(error).__name__}"
        raise UnreadableError(
            f"{what} is damaged ({library}: {text}): copy the file again from the instrument"
        ) from error


def check_size(shape: Sequence[int], item_bytes: int, *, max_plane_mb: int) -> int:
    """Return the bytes of an image of `shape`, before anything is allocated for it.

    Args:
        shape: Declared sizes, such as (y, x, samples).
        item_bytes: Bytes per value.
        max_plane_mb: Limit of the configuration.

    Raises:
        UnreadableError: if a size is 0.
        TooLargeError: if it is above the limit.
    """
    declared = " x ".join(str(n) for n in shape)
    total = item_bytes
    for n in shape:
        total *= int(n)
    if total <= 0:
        raise UnreadableError(f"the file declares an image of {declared} pixels: damaged, copy it again")
    if total > max_plane_mb * MB:
        raise TooLargeError(
            f"the file declares {declared} values of {item_bytes} bytes = {-(-total // MB):,} MB, "
            f"more than extract.max_plane_mb = {max_plane_mb:,}: raise that limit if the size is real"
        )
    return total
