"""When a file counts as completely written: one pure decision from what was seen of it.

No clock but ours counts. The times of change that a file server writes may lie hours off; they are compared with each
other only, and every duration is measured from the moment at which *we* saw a file change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError
from tierflow.io.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tierflow.config import Scan
    from tierflow.config_stream import Complete as Settings

SOONEST_S, LATEST_S = 0.25, 15.0
"""Shortest and longest pause before the next look at a file that lacks something."""
_PATIENCE = 4.0
_SHORTEST_S = 0.01


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file at a look.

    Attributes:
        size: Bytes.
        changed_at: When size or time of change were last seen to be different, seconds since 1970.
        closed: Closed by its writer, or renamed into place, with the size and time that it has now, on a file system
            whose events can be trusted.
    """

    size: int
    changed_at: float
    closed: bool


@dataclass(frozen=True, slots=True)
class Complete:
    """The file is taken now.

    Attributes:
        missing: What it still lacked when the waiting was given up, in words; None: nothing.
    """

    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """The file is looked at again.

    Attributes:
        until: No look before, seconds since 1970.
        reason: What it waits for, in words.
    """

    until: float
    reason: str


def decide(
    facts: Facts, now: float, settings: Settings, *, lacks: Iterable[Callable[[], str | None]] = ()
) -> Complete | Wait:
    """Decide whether a file is complete.

    In this order: it has bytes; its last change is `min_age_s` ago; it was closed, or nothing changed for `quiet_s`;
    nothing that `lacks` looks for is missing. A file that has not changed for `give_up_s` is taken as it is. One that
    still grows is never given up: it would be taken by half.

    Args:
        facts: The file, whose size and time of change equal those of the former look; a change alone is a reason to
            wait, see `quiet_from`.
        now: Seconds since 1970.
        settings: Section `stream.complete`.
        lacks: Dearer looks, the cheapest first, made only when all else is fine: what is missing in words, or None.
    """
    age = now - facts.changed_at
    if (wait := too_young(facts, now, settings)) is not None:
        return wait
    missing = next((text for look in lacks if (text := look())), None) if facts.size else "the file has no bytes yet"
    if missing is None:
        return Complete()
    if age >= settings.give_up_s:
        return Complete(missing=f"{missing}, after {in_words(settings.give_up_s)} without a change")
    return Wait(min(again_at(now, facts.changed_at), facts.changed_at + settings.give_up_s), missing)


def too_young(facts: Facts, now: float, settings: Settings) -> Wait | None:
    """Return how long to wait for a file that has bytes and changed a short time ago, None when that is long past."""
    trusted = settings.trust_close and facts.closed
    need = settings.min_age_s if trusted else max(settings.quiet_s, settings.min_age_s)
    age = now - facts.changed_at
    if age >= need or not facts.size:
        return None
    # Never a moment that rounding has made now already.
    until = now + max(need - age, _SHORTEST_S)
    return Wait(until, f"written {max(age, 0):.1f} s ago: it must stay the same for {need:g} s")


def quiet_from(now: float, settings: Settings) -> Wait:
    """Return how to wait for a file that was just seen to have changed."""
    need = max(settings.quiet_s, settings.min_age_s)
    return Wait(now + need, f"it is being written: it must stay the same for {need:g} s")


def again_at(now: float, since: float) -> float:
    """Return when to look again at what has been missing since some time: soon at first, then less often."""
    return now + min(LATEST_S, max(SOONEST_S, (now - since) / _PATIENCE))


def in_words(seconds: float) -> str:
    """Return a duration for people.

    >>> in_words(1800), in_words(0.5), in_words(7200)
    ('30 min', '0.5 s', '2 h')
    """
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit and seconds % (unit / 10) == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


def sentinel_of(name: str, pattern: str) -> str:
    """Return the name of the file that says that another one of the same folder is complete.

    >>> sentinel_of("a.ome.tif", "{name}.done"), sentinel_of("a.tif", "{stem}.ok"), sentinel_of("a.tif", "ready.txt")
    ('a.ome.tif.done', 'a.ok', 'ready.txt')
    """
    stem = name.rpartition(".")[0] or name
    # One pass, so that a name with braces in it isn't taken for a place to fill.
    parts = pattern.split("{name}")
    return name.join(part.replace("{stem}", stem) for part in parts)


def check_sentinel(scan: Scan, pattern: str | None) -> None:
    """Refuse a sentinel that a scan would take for an image: sentinels are never objects.

    Raises:
        ConfigError: if it is one, or a path, or the file itself.
    """
    if pattern is None:
        return
    example = sentinel_of("image.tif", pattern)
    if not pattern or "/" in pattern or example == "image.tif":
        raise ConfigError(
            f"stream.complete.sentinel is {pattern!r}: expected the name of another file in the same folder, such as "
            "done.txt or {name}.done"
        )
    if Selection(scan).skip_file(example, example) is None:
        raise ConfigError(
            f"stream.complete.sentinel is {pattern!r}, and scan takes files with such names as images: choose another "
            "ending, such as {name}.done, or leave it out with scan.exclude"
        )
