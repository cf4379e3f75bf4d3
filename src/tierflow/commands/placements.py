"""`tierflow undo` and `tierflow verify`: files back to where they were, and proof that all are where they should be."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tierflow.commands._options import DryRun, Results, config_of
from tierflow.lock import run_lock


def undo(
    results: Results,
    /,
    *,
    tier: Annotated[str | None, Parameter(help="Only files of this tier.")] = None,
    dry_run: DryRun = False,
) -> int:
    """Bring every placed file back to where it was, byte for byte; links and copies are removed.

    A file that now sits at an old place is never overwritten: such conflicts are listed and both files stay.
    """
    from tierflow.placements_view import show_undo
    from tierflow.tiers.undo import undo as undo_placements

    config_of(results)
    with run_lock(results):
        outcome = undo_placements(results.absolute(), dry_run=dry_run, tier=tier)
    return show_undo(outcome, dry_run=dry_run)


def verify(
    results: Results,
    /,
    *,
    quick: Annotated[bool, Parameter(negative=(), help="Compare sizes only; don't read the files again.")] = False,
) -> int:
    """Check that every object is in exactly one right place with the recorded SHA-256; exit code 70 if not."""
    from tierflow.placements_view import show_verify
    from tierflow.tiers.verify import verify as verify_placements

    config_of(results)
    return show_verify(verify_placements(results.absolute(), hash_files=not quick))
