"""The hands of the simulated instrument: files written as instruments write them, many at a time, by one thread."""

from __future__ import annotations

import heapq
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError, InputMissingError, TryAgainError, is_passing
from tierflow.io.identity import display_path

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tierflow.stream.simulate import Frame, Writer

PIECES = 20
"""Pieces in which a slow writer writes a file."""

_LATE_S = 0.05


@dataclass(slots=True)
class Simulated:
    """What was done.

    Attributes:
        written: Files that are complete.
        bytes: Their size.
        there: Files that were there already and were left as they are.
        late_s: How far behind its time the slowest act was: the disk, or this machine, can't keep up with the rate.
    """

    written: int = 0
    bytes: int = 0
    there: int = 0
    late_s: float = 0.0


@dataclass(order=True, slots=True)
class _Act:
    at: float
    number: int
    frame: Frame = field(compare=False)
    data: bytes = field(compare=False, default=b"")
    piece: int = field(compare=False, default=0)
    handle: int | None = field(compare=False, default=None)


class Instrument:
    """Writes files when their time has come.

    Args:
        source: Folder of the files.
        target: Folder to write to; files there are never written over.
        writer: `rename`: under a hidden name, then renamed into place. `slow`: under its name, open until it is whole.
            `append`: under its name, opened and closed again for every piece, so that closing says nothing.
        write_s: Seconds in which a file grows, with `slow` and `append`.
        on_file: Called with each file that is complete.
    """

    def __init__(
        self, source: Path, target: Path, *, writer: Writer, write_s: float, on_file: Callable[[Frame], None]
    ) -> None:
        self._source = os.fsencode(source)
        self._target = os.fsencode(target)
        self._writer = writer
        self._write_s = write_s
        self._on_file = on_file
        self._acts: list[_Act] = []
        self._number = 0
        self.done = Simulated()

    def play(self, coming: Iterator[tuple[float, Frame]], *, stop: threading.Event) -> Simulated:
        """Write all files, or until `stop` is set; files that are half written then stay so, as with an instrument.

        Raises:
            InputMissingError: if a file of the source vanished.
            TryAgainError: if the disk is full or away.
        """
        began = time.monotonic()
        try:
            for at, frame in coming:
                self._work_until(began, at, stop)
                if stop.is_set():
                    return self.done
                self._begin(at, frame)
            self._work_until(began, float("inf"), stop)
        except OSError as error:
            if is_passing(error):
                raise TryAgainError(
                    f"can't write {os.fsdecode(self._target)} ({error.strerror}): make room or bring the share back"
                ) from error
            raise
        finally:
            for act in self._acts:
                if act.handle is not None:
                    os.close(act.handle)
        return self.done

    def _work_until(self, began: float, at: float, stop: threading.Event) -> None:
        """Carry out what is due before a time, and wait for that time."""
        while self._acts and self._acts[0].at <= at:
            act = heapq.heappop(self._acts)
            if self._wait(began, act.at, stop):
                heapq.heappush(self._acts, act)
                return
            self._carry_on(act)
        if at != float("inf"):
            self._wait(began, at, stop)

    def _wait(self, began: float, at: float, stop: threading.Event) -> bool:
        left = began + at - time.monotonic()
        if left > 0:
            return stop.wait(left)
        if -left > _LATE_S:
            self.done.late_s = max(self.done.late_s, -left)
        return stop.is_set()

    def _begin(self, at: float, frame: Frame) -> None:
        final = self._target + b"/" + frame.target
        if os.path.lexists(final):
            self.done.there += 1
            self._on_file(frame)
            return
        os.makedirs(os.path.dirname(final), exist_ok=True)  # noqa: PTH103, PTH120 - names may be no valid text
        try:
            with open(self._source + b"/" + frame.source, "rb") as stream:  # noqa: PTH123
                data = stream.read()
        except OSError as error:
            if is_passing(error):
                raise
            raise InputMissingError(_unreadable(self._source, frame.source, error)) from error
        if self._writer == "rename":
            self._rename_into_place(frame, data, final)
            return
        self._number += 1
        heapq.heappush(self._acts, _Act(at, self._number, frame, data))

    def _rename_into_place(self, frame: Frame, data: bytes, final: bytes) -> None:
        folder, _, name = final.rpartition(b"/")
        hidden = folder + b"/." + name + b".part"
        with open(hidden, "wb") as stream:  # noqa: PTH123
            stream.write(data)
        os.rename(hidden, final)  # noqa: PTH104
        self._finish(frame)

    def _carry_on(self, act: _Act) -> None:
        """Write one piece, and plan the next."""
        final = self._target + b"/" + act.frame.target
        if act.handle is None:
            fresh = os.O_EXCL if act.piece == 0 else 0
            act.handle = os.open(final, os.O_WRONLY | os.O_CREAT | os.O_APPEND | fresh, 0o644)
        begin, end = (len(act.data) * number // PIECES for number in (act.piece, act.piece + 1))
        view = memoryview(act.data)[begin:end]
        while view:
            view = view[os.write(act.handle, view) :]
        act.piece += 1
        if self._writer == "append" or act.piece == PIECES:
            os.close(act.handle)
            act.handle = None
        if act.piece == PIECES:
            self._finish(act.frame)
            return
        act.at += self._write_s / (PIECES - 1)
        heapq.heappush(self._acts, act)

    def _finish(self, frame: Frame) -> None:
        self.done.written += 1
        self.done.bytes += frame.size
        self._on_file(frame)


def _unreadable(source: bytes, path: bytes, error: OSError) -> str:
    name = display_path(path)
    if os.path.islink(source + b"/" + path):  # noqa: PTH114
        return f"{name} is a link, and what it leads to can't be read ({error.strerror}): leave it out by scan.exclude"
    if isinstance(error, FileNotFoundError):
        return f"{name} vanished from the source: give a folder that rests"
    return f"{name} can't be read ({error.strerror}): mend it, or leave it out by scan.exclude"


def require_apart(source: Path, target: Path) -> None:
    """Refuse a target in the source or the other way round: the copy would feed itself.

    Raises:
        InputMissingError: if the source isn't there.
        ConfigError: if one holds the other, or the target is a file.
    """
    if not source.is_dir():
        raise InputMissingError(f"source folder {source} isn't there: give a folder of images")
    if target.exists() and not target.is_dir():
        raise ConfigError(f"target {target} is a file: give a folder")
    one, other = source.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise ConfigError(f"{source} and {target} lie in each other: give a target elsewhere")
