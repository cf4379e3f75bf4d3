"""`tierflow undo` and `tierflow verify`: files back to where they were, and proof that all are where they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from tierflow.catalogue.placements import forget_undone
from tierflow.commands._options import DryRun, Results, config_of
from tierflow.lock import run_lock
from tierflow.placements_view import show_undo, show_verify
from tierflow.tiers.undo import undo as undo_placements
from tierflow.tiers.verify import verify as verify_placements


def undo(
    results: Results,
    /,
    *,
    tier: Annotated[str | None, Parameter(help="Only files of this tier.")] = None,
    dry_run: DryRun = False,
) -> int:
    """Bring every placed file back to where it was, byte for byte; links and copies are removed.

    A file that now sits at an old place is never overwritten: such conflicts are listed, both files stay, and the exit
    code is 70.
    """
    config_of(results)
    output = results.absolute()
    with run_lock(output), _progress("bringing back") as advance:
        report = undo_placements(output, dry_run=dry_run, tier=tier, on_progress=advance)
        if not dry_run:
            forget_undone(output)
    return show_undo(report, Console(), output=results)


def verify(
    results: Results,
    /,
    *,
    quick: Annotated[bool, Parameter(negative=(), help="Compare sizes only; don't read the files again.")] = False,
) -> int:
    """Check that every object is in exactly one right place with the recorded SHA-256; exit code 70 if not."""
    config_of(results)
    with _progress("checking") as advance:
        report = verify_placements(results.absolute(), hash_files=not quick, on_progress=advance)
    return show_verify(report, Console())


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int], None]]:
    """Show a counter while the body runs; how many objects there are is only known at the end."""
    with Progress(*Progress.get_default_columns()[:1], console=Console(stderr=True), transient=True) as bar:
        task, done = bar.add_task(what, total=None), 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(task, description=f"{what}: {done:,} objects")

        yield advance
