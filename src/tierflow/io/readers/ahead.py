"""Reading the next files while one is being measured."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[tuple[Item, int]], read: Callable[[Item], Result], *, ahead_bytes: int, readers: int = 1
) -> Generator[Result, None, None]:
    """Yield `read(item)` of each item in order, reading the coming ones in threads of their own.

    One thread by default, because reading is to overlap with measuring and not to compete with it, and because a disk
    or share reads one file after another best.

    Args:
        items: Each item with the bytes that its result is going to hold.
        read: Reads one item; what it raises is raised here when its turn comes.
        ahead_bytes: Bytes of results that may wait, besides the one in use; one always may, however large.
        readers: Threads that read.
    """
    coming = iter(items)
    following = next(coming, None)
    waiting: deque[tuple[Future[Result], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="read-ahead")
    try:
        while waiting or following is not None:
            result = None
            if waiting:
                result, freed = waiting.popleft()
                held -= freed
            while following is not None and (not waiting or held + following[1] <= ahead_bytes):
                item, size = following
                waiting.append((pool.submit(read, item), size))
                held += size
                following = next(coming, None)
            if result is not None:
                yield result.result()
    finally:
        # Whoever stops early waits for the file that is being read, not for those after it.
        pool.shutdown(wait=True, cancel_futures=True)
