"""Decide, without changing anything, what has to be done so that an object is where the policy wants it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tierflow.errors import ObjectError
from tierflow.objectstore.connect import StorePath
from tierflow.tiers.acts import Outcome
from tierflow.tiers.base import Stamp
from tierflow.tiers.checks import has_content, is_link_with, same_target
from tierflow.tiers.files import look, lstat, sha256_of, target_of
from tierflow.tiers.removal import is_ours
from tierflow.tiers.words import cannot, changed_text

if TYPE_CHECKING:
    from tierflow.objectstore.connect import Place
    from tierflow.tiers.acts import Want
    from tierflow.tiers.base import TierDriver
    from tierflow.tiers.entries import Entry
    from tierflow.tiers.journal import Journal


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one object.

    Attributes:
        kind: `rest`: nothing, `outcome` says how it stands; `note`: only the record changes, to `entry`; `restore`:
            bring it back to its source, then decide again; `place`: make a destination from `origin`.
        outcome: Of `rest` and `note`.
        origin: Of `place`: where the bytes are taken from.
        entry: Of `note`: what the record says from now on.
        problem: Of `place`: what is to be told although it went well.
    """

    kind: Literal["rest", "note", "restore", "place"]
    outcome: Outcome | None = None
    origin: Place | None = None
    entry: Entry | None = None
    problem: str | None = None


def decide(journal: Journal, want: Want, driver: TierDriver) -> Decision:
    """Decide what to do with one object, of which nothing is half done (see `settle`).

    Args:
        journal: Knows where the object stands.
        want: What the policy wants.
        driver: Driver of the tier.

    Raises:
        TryAgainError: when an object store is away.
        ConfigError: when it refuses the credentials.
    """
    placed = journal.record(want.object_id).placed
    try:
        if placed is None:
            return _first(want, driver)
        here, there = look(want.source), look(journal.path_of(placed.destination))
        if there is None:
            return _without_destination(journal, want, driver, placed, here)
        if placed.consumes and here is not None and _other_bytes(want, placed):
            # A new file has come to where the former one was taken away from.
            older = f"an older version of the file stays at {journal.path_of(placed.destination)}"
            return _first(want, driver, problem=older)
        if not driver.places or (placed.consumes and not driver.consumes):
            return Decision("restore")
        if placed.wanted == journal.text_of(want.wanted):
            return _same_place(journal, want, driver, placed, here)
        return _other_place(journal, want, placed, here)
    except ObjectError as error:
        return _failed(str(error), None if placed is None else journal.path_of(placed.destination))
    except OSError as error:
        return _failed(cannot("place", want.source, error), None)


def _failed(problem: str, destination: Place | None = None) -> Decision:
    return Decision("rest", Outcome("failed", destination, problem))


def _other_bytes(want: Want, placed: Entry) -> bool:
    """Tell whether what was measured isn't what was placed."""
    return None not in (want.sha256, placed.sha256) and want.sha256 != placed.sha256


def _first(want: Want, driver: TierDriver, *, problem: str | None = None) -> Decision:
    """Decide for an object that is at its source only, or counts as if it were."""
    here = look(want.source)
    if here is None:
        return _failed(f"{want.source} isn't there any more: run again so that the input is scanned anew")
    if not driver.places:
        return Decision("rest", Outcome("kept", None, problem))
    if driver.consumes and isinstance(want.source, StorePath):
        return _failed(f"{want.source} can't be taken away from its store: choose the driver `copy` or `none`")
    if driver.consumes and not _may_write(want.source.parent):
        return _failed(
            f"can't take files out of {want.source.parent}: give write permission there, "
            "or choose the driver `copy` or `link`"
        )
    return _unless_changed(want, here, problem)


def _may_write(folder: Place) -> bool:
    return isinstance(folder, Path) and os.access(
        folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )


def _unless_changed(want: Want, here: os.stat_result, problem: str | None = None) -> Decision:
    """Place from the source, provided it is the file that was measured; only a doubt costs reading it."""
    if stat.S_ISREG(here.st_mode) and (here.st_size, here.st_mtime_ns) != (want.size, want.mtime_ns):
        if want.sha256 is None:
            return _failed(changed_text(want.source, "size or time of last change"))
        found = sha256_of(want.source)
        if found != want.sha256:
            return _failed(changed_text(want.source, f"SHA-256 {found[:12]}..., measured {want.sha256[:12]}..."))
    return Decision("place", origin=want.source, problem=problem)


def _without_destination(
    journal: Journal, want: Want, driver: TierDriver, placed: Entry, here: os.stat_result | None
) -> Decision:
    """Decide for an object whose destination someone else removed: start anew from the source."""
    if here is not None:
        return _first(want, driver)
    destination = journal.path_of(placed.destination)
    return _failed(
        f"neither {want.source} nor {destination}, where it was placed, is there: "
        "find out who removed it and put it back to one of these places"
    )


def _same_place(
    journal: Journal, want: Want, driver: TierDriver, placed: Entry, here: os.stat_result | None
) -> Decision:
    """Decide for an object that is where it should be, though perhaps under another driver, tier or hash."""
    if placed.driver != want.driver and not (placed.consumes and driver.consumes):
        if here is not None:
            return Decision("restore")
        if placed.how == "symbolic_link" or not driver.consumes:
            return _failed(f"{want.source} isn't there any more: put it back, or run again to scan the input anew")
    standing = _standing(journal, want, placed, here)
    if standing.kind == "rest" and (placed.tier, placed.driver) != (want.tier, want.driver):
        entry = replace(placed, state="cleared", tier=want.tier, driver=want.driver, consumes=driver.consumes)
        return Decision("note", standing.outcome, entry=entry)
    return standing


def _standing(journal: Journal, want: Want, placed: Entry, here: os.stat_result | None) -> Decision:
    """Look whether the destination is still what was placed."""
    destination = journal.path_of(placed.destination)
    rest = Decision("rest", Outcome("placed", destination))
    if not placed.consumes and placed.how != "copy":
        return _standing_link(journal, want, placed, here)
    fresh_hash = _other_bytes(want, placed)
    if is_ours(journal, placed) and not fresh_hash:
        return rest
    if want.sha256 is not None and has_content(destination, sha256=want.sha256, stamp=None):
        stamp = Stamp.of(lstat(destination))
        entry = replace(placed, state="cleared", sha256=want.sha256, stamp=stamp, size=stamp.size)
        return Decision("note", rest.outcome, entry=entry)
    if fresh_hash and not placed.consumes and here is not None:
        return _unless_changed(want, here, f"an older version of the file stays at {destination}")
    problem = f"{destination} was changed since it was placed: it was left as it is"
    return Decision("rest", Outcome("placed", destination, problem))


def _outlives_target(journal: Journal, want: Want, placed: Entry) -> bool:
    """Tell whether the source is a link whose target was taken away, while the destination is as it was placed."""
    source = want.source
    if isinstance(source, StorePath):
        return False
    return is_link_with(source, placed.link_text) and target_of(source) is None and is_ours(journal, placed)


def _standing_link(journal: Journal, want: Want, placed: Entry, here: os.stat_result | None) -> Decision:
    destination = journal.path_of(placed.destination)
    if here is None:
        return _left_over(want, placed, destination)
    rest = Decision("rest", Outcome("placed", destination))
    if same_target(destination, want.source) or _outlives_target(journal, want, placed):
        if want.sha256 is not None and want.sha256 != placed.sha256:
            return Decision("note", rest.outcome, entry=_written_again(want, placed, destination))
        return rest
    source_is_other_file = placed.origin_stamp is None or here.st_ino != placed.origin_stamp.ino
    if source_is_other_file:
        return _unless_changed(want, here, f"an older version of the file stays at {destination}")
    problem = f"{destination} was replaced since it was placed: it was left as it is"
    return Decision("rest", Outcome("placed", destination, problem))


def _written_again(want: Want, placed: Entry, destination: Place) -> Entry:
    """Return what the journal says of a link from now on: it leads to the same file, which has other bytes."""
    stamp = Stamp.of(lstat(destination))
    return replace(placed, state="cleared", sha256=want.sha256, stamp=stamp, size=stamp.size)


def _left_over(want: Want, placed: Entry, destination: Place) -> Decision:
    """Decide for a link whose source isn't there any more."""
    problem = f"{want.source} isn't there any more: {destination} is what is left of it"
    outcome = Outcome("placed", destination, problem)
    if not _other_bytes(want, placed):
        return Decision("rest", outcome)
    if has_content(destination, sha256=want.sha256, stamp=None):
        return Decision("note", outcome, entry=_written_again(want, placed, destination))
    return _failed(
        f"{want.source} isn't there any more, and {destination} doesn't hold what was measured: "
        "put it back, or run again to scan the input anew",
        destination,
    )


def _other_place(journal: Journal, want: Want, placed: Entry, here: os.stat_result | None) -> Decision:
    """Decide for an object that goes from one tier to another."""
    destination = journal.path_of(placed.destination)
    leads_nowhere = placed.how != "symbolic_link" and _outlives_target(journal, want, placed)
    if not placed.consumes and here is not None and not leads_nowhere:
        return _unless_changed(want, here)
    if placed.how == "symbolic_link" and not placed.consumes:
        return _failed(f"{want.source} isn't there any more: put it back, or run again to scan the input anew")
    measured = want.sha256 if want.sha256 is not None else placed.sha256
    if is_ours(journal, placed) or has_content(destination, sha256=measured, stamp=None):
        return Decision("place", origin=destination)
    return _failed(
        f"{destination} was changed since it was placed: run again, so that it is measured anew", destination
    )
