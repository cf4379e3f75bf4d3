"""`tierflow simulate`: a microscope that isn't there."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tierflow.commands._options import ConfigFile, DryRun, Settings, configured
from tierflow.config_io import validate
from tierflow.errors import InputMissingError
from tierflow.io.identity import display_path
from tierflow.io.walk import walk
from tierflow.scan.naming import read_names
from tierflow.stream.simulate import Frame, Pattern, Writer, frames, parse_rate, repeated, schedule
from tierflow.stream.simulate_write import Instrument, require_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 10


def simulate(
    source: Annotated[Path, Parameter(help="Folder of images.")],
    target: Annotated[Path, Parameter(help="Folder that the instrument writes to; nothing in it is overwritten.")],
    /,
    *,
    rate: Annotated[
        str, Parameter(help="Images per time, such as 20/s, 90/min or 1000/h; max: as fast as it goes.")
    ] = ("5/s"),
    pattern: Annotated[
        Pattern, Parameter(help="steady; burst: many at once, then a pause; plate: well by well, pauses between them.")
    ] = "steady",
    writer: Annotated[
        Writer,
        Parameter(
            help="rename: hidden name, then renamed; slow: open until it is whole; append: opened and closed for every "
            "piece."
        ),
    ] = "rename",
    write_s: Annotated[
        float, Parameter(help="Seconds in which a file grows (slow, append).", validator=Number(gte=0))
    ] = (10.0),
    burst: Annotated[int, Parameter(help="Files in a burst.", validator=Number(gte=1))] = 100,
    count: Annotated[
        int | None,
        Parameter(
            help="Files in all; the source is told again in folders repeat_0002 ... when it isn't enough; each "
            "once without it.",
            validator=Number(gte=1),
        ),
    ] = None,
    config: ConfigFile = None,
    set: Settings = None,  # noqa: A002
    dry_run: DryRun = False,
) -> None:
    """Write the images of a folder into another one as an instrument would: in its order, at its pace, in its manner.

    To try out `tierflow watch`, and to see what it does with your images before the microscope runs. Files that are
    there already are left, so the same command goes on where it stopped. Side files aren't copied.
    """
    require_apart(source, target)
    once = _frames(source, config=config, settings=set)
    coming = schedule(
        repeated(once, count),
        rate=parse_rate(rate),
        pattern=pattern,
        burst=burst,
    )
    console = Console(stderr=True)
    if dry_run:
        _show(coming, console)
        return
    _play(source, target, coming, total=count or len(once), writer=writer, write_s=write_s, console=console)


def _frames(source: Path, *, config: Path | None, settings: list[str] | None) -> list[Frame]:
    scan = validate(configured({}, config=config, settings=settings)).scan
    files = walk(source, scan).files
    if not files:
        raise InputMissingError(f"no image files in {source}: give a folder of images, or name endings in scan.include")
    names = read_names([display_path(file.path) for file in files], scan, lambda _position: {}).names
    return frames(names, [file.path for file in files], [file.size for file in files])


def _show(coming: Iterator[tuple[float, Frame]], console: Console) -> None:
    last, number = 0.0, 0
    for number, (at, frame) in enumerate(coming, start=1):
        last = max(last, at)
        if number <= _SHOWN:
            console.print(f"{at:9.3f} s  {display_path(frame.target)}", highlight=False, markup=False)
    console.print(f"{number:,} files in {last:,.1f} s; nothing was written (dry run)", highlight=False)


def _play(
    source: Path,
    target: Path,
    coming: Iterator[tuple[float, Frame]],
    *,
    total: int,
    writer: Writer,
    write_s: float,
    console: Console,
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, _stopped_by_signal() as stop:
        bar = progress.add_task("written", total=total)
        instrument = Instrument(
            source, target, writer=writer, write_s=write_s, on_file=lambda _frame: progress.advance(bar)
        )
        done = instrument.play(coming, stop=stop)
    console.print(f"{done.written:,} files, {done.bytes / 1e6:,.1f} MB written to {target}", highlight=False)
    if done.there:
        console.print(f"{done.there:,} were there already and were left as they are", highlight=False)
    if done.late_s:
        console.print(f"at most {done.late_s:.1f} s behind: this machine can't write at that rate", highlight=False)
    if stop.is_set():
        raise KeyboardInterrupt


@contextmanager
def _stopped_by_signal() -> Iterator[threading.Event]:
    stop = threading.Event()
    before = {name: signal.signal(name, lambda *_: stop.set()) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
