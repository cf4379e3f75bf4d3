"""When a site, well, plate or time point is complete: what its members are, and which of them lack.

A *series* is what is released together (`stream.series.expect`); a unit (`scan.unit`) lies whole within one. What a
series must hold is known, in this order: from the number of its files (`members`); from channels, sites, z planes and
wells of the configuration, or of the acquisition's own metadata; from complete series of the same plate. A first series
of which nothing is known waits for its time-out: taking it earlier would cut it wherever the instrument pauses.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from tierflow.errors import ConfigError
from tierflow.io.identity import ID_DIGITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tierflow.config import Config
    from tierflow.config_stream import Series as Settings
    from tierflow.io.layouts.base import Names

Scope = Literal["site", "well", "plate", "timepoint"]

_NAMED = 5
"""Missing members that a message names."""


class Slot(NamedTuple):
    """The place of a member in its series."""

    well: str | None
    site: str | None
    channel: str | None
    z: int | None
    timepoint: int | None

    @classmethod
    def of(cls, names: Names) -> Slot:
        """Return the place that a file's name gives it."""
        return cls(names.well, names.site, names.channel, names.z, names.timepoint)

    def within(self, scope: Scope) -> Slot:
        """Return the place without what all members of a series share, to compare two series."""
        shared = {"site": ("well", "site", "timepoint"), "well": ("well",), "timepoint": ("timepoint",), "plate": ()}
        return self._replace(**dict.fromkeys(shared[scope]))

    def words(self) -> str:
        """Return the place for people, such as `site 2 channel w1`."""
        parts = zip(("well", "site", "channel", "z", "time point"), self, strict=True)
        return " ".join(f"{name} {value}" for name, value in parts if value is not None) or "a file"


def to_text(slot: Slot) -> str:
    """Return a place as the ledger stores it."""
    return json.dumps(slot, separators=(",", ":"))


def from_text(text: str) -> Slot:
    """Return a place that `to_text` wrote."""
    return Slot(*json.loads(text))


class Place(NamedTuple):
    """Where a file belongs.

    Attributes:
        key: The series.
        plate: Key of the plate, for series that learn from each other.
        name: The series for people.
    """

    key: str
    plate: str
    name: str


def scope_of(config: Config) -> Scope | None:
    """Return what is released together, None where every file stands alone.

    Raises:
        ConfigError: if a unit would lie in several series.
    """
    expect, unit = config.stream.series.expect, config.scan.unit
    if expect == "none":
        return None if unit == "file" else unit
    if unit == "well" and expect in ("site", "timepoint"):
        raise ConfigError(
            f"stream.series.expect is {expect!r} and scan.unit 'well': a well holds all its sites and time points and "
            "is decided as a whole; set stream.series.expect to well or plate, or scan.unit to site"
        )
    return expect


def place_of(scope: Scope, *, dataset: str, names: Names) -> Place | None:
    """Return the series that a file belongs to, None when its name doesn't say it."""
    if scope in ("site", "well") and names.well is None:
        return None
    if scope == "timepoint" and names.timepoint is None:
        return None
    plate = (dataset, names.plate, names.acquisition)
    parts: dict[Scope, tuple[object, ...]] = {
        "site": (names.well, names.site, names.timepoint),
        "well": (names.well,),
        "timepoint": (names.timepoint,),
        "plate": (),
    }
    shown = {
        "site": Slot(None, names.site, None, None, names.timepoint).words() if names.site else "",
        "well": "",
        "timepoint": f"plate {names.plate} time point {names.timepoint}",
        "plate": f"plate {names.plate}",
    }
    name = shown[scope] if scope in ("plate", "timepoint") else f"{names.well} {shown[scope]}".strip()
    return Place(_digest("series", scope, *plate, *parts[scope]), _digest("plate", scope, *plate), name)


def _digest(*parts: object) -> str:
    # NUL can't occur in a name, so no two lists give the same text.
    text = "\0".join("" if part is None else str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:ID_DIGITS]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a series must hold; None and empty: not known.

    Attributes:
        members: Files.
        channels: Channels of each site.
        sites: Sites of each well.
        z_planes: z planes of each channel of a site.
        wells: Wells of a plate.
        timepoints: Time points of a well or plate.
        learned: Places, `Slot.within` the series, of complete series of the same plate.
    """

    members: int | None = None
    channels: tuple[str, ...] = ()
    sites: int | None = None
    z_planes: int | None = None
    wells: int | None = None
    timepoints: int | None = None
    learned: frozenset[Slot] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> Expected:
        """Return what the configuration says."""
        return cls(settings.members, settings.channels, settings.sites, settings.z_planes, settings.wells)

    def or_else(self, other: Expected) -> Expected:
        """Return this, completed by what another source says."""
        return Expected(
            *(mine or theirs for mine, theirs in zip(self._parts(), other._parts(), strict=True)),  # type: ignore[arg-type]
        )

    def _parts(self) -> tuple[object, ...]:
        return (
            self.members,
            self.channels,
            self.sites,
            self.z_planes,
            self.wells,
            self.timepoints,
            self.learned,
        )

    def dimensions_known(self, scope: Scope) -> bool:
        """Tell whether channels and all else that the series spans are known."""
        sites = scope == "site" or self.sites is not None
        wells = scope in ("site", "well") or self.wells is not None
        return bool(self.channels) and sites and wells

    def least(self, scope: Scope) -> int | None:
        """Return how many files it has at least when complete, None when nothing is known."""
        if self.members is not None:
            return self.members
        if self.dimensions_known(scope):
            sites = 1 if scope == "site" else self.sites or 1
            wells = 1 if scope in ("site", "well") else self.wells or 1
            times = 1 if scope in ("site", "timepoint") else self.timepoints or 1
            return len(self.channels) * (self.z_planes or 1) * sites * wells * times
        return len(self.learned) or None


def lacking(scope: Scope, have: Collection[Slot], expected: Expected, *, guess: bool = True) -> list[str] | None:
    """Return what a series lacks, in words; empty when it is complete, None when nothing says what it must hold.

    Without `timepoints`, those that came count: a time series in which all wells come before the second time needs
    `expect: timepoint`, or `members`.

    Args:
        scope: What it is.
        have: Places of its members; one for each file.
        expected: What is known.
        guess: Where nothing says how many z planes a channel has, it must have as many as the others of its site.
    """
    if expected.members is not None:
        short = expected.members - len(have)
        if short <= 0:
            return []
        named = _by_dimensions(scope, set(have), expected, guess=guess) if expected.dimensions_known(scope) else []
        return named or [f"{short} of {expected.members} files"]
    if expected.dimensions_known(scope):
        return _by_dimensions(scope, set(have), expected, guess=guess)
    if expected.learned:
        gone = expected.learned - {slot.within(scope) for slot in have}
        return [slot.words() for slot in sorted(gone, key=_order)]
    return None


def _order(slot: Slot) -> tuple[object, ...]:
    # None first; numbers by value, names as text.
    return tuple((part is not None, part if isinstance(part, int) else 0, str(part)) for part in slot)


def _by_dimensions(scope: Scope, have: Iterable[Slot], expected: Expected, *, guess: bool) -> list[str]:
    sites: defaultdict[tuple[str | None, int | None], defaultdict[str | None, set[Slot]]] = defaultdict(
        lambda: defaultdict(set)
    )
    for slot in have:
        sites[slot.well, slot.timepoint][slot.site].add(slot)
    lacks = []
    for (well, time), fields in sorted(sites.items(), key=str):
        about = Slot(well, None, None, None, time).within(scope)
        if scope != "site" and expected.sites is not None and len(fields) < expected.sites:
            lacks.append(_about(about, f"{expected.sites - len(fields)} of {expected.sites} sites"))
        for site, slots in sorted(fields.items(), key=str):
            place = Slot(well, site, None, None, time).within(scope)
            lacks += [_about(place, text) for text in _of_site(slots, expected, guess=guess)]
    wells = len({well for well, _ in sites})
    if scope in ("plate", "timepoint") and expected.wells is not None and wells < expected.wells:
        lacks.append(f"{expected.wells - wells} of {expected.wells} wells")
    if scope in ("well", "plate") and expected.timepoints is not None:
        times = len({time for _, time in sites})
        if times < expected.timepoints:
            lacks.append(f"{expected.timepoints - times} of {expected.timepoints} time points")
    return lacks


def _about(place: Slot, text: str) -> str:
    return f"{place.words()} {text}" if any(part is not None for part in place) else text


def _of_site(slots: Collection[Slot], expected: Expected, *, guess: bool) -> list[str]:
    depth: defaultdict[str | None, int] = defaultdict(int)
    for slot in slots:
        depth[slot.channel] += 1
    usual = {slot.channel: 0 for slot in expected.learned}
    for slot in {slot._replace(well=None, site=None, timepoint=None) for slot in expected.learned}:
        usual[slot.channel] += 1
    lacks = [f"channel {name}" for name in expected.channels if not depth[name]]
    for name in expected.channels:
        need = expected.z_planes or usual.get(name) or (max(depth.values()) if guess else 0)
        if 0 < depth[name] < need:
            lacks.append(f"{need - depth[name]} of {need} z planes of channel {name}")
    return lacks


def missing_in_words(name: str, lacks: Iterable[str], waited: str) -> str:
    """Return the reason of an incomplete release.

    >>> missing_in_words("B03 site 2", ["channel w2"], "30 min")
    'B03 site 2: channel w2 is missing after 30 min'
    """
    all_of_them = list(lacks)
    shown = ", ".join(all_of_them[:_NAMED])
    if more := len(all_of_them) - _NAMED:
        shown += f" and {more} more" if more > 0 else ""
    one = len(all_of_them) == 1 and not all_of_them[0][:1].isdigit()
    return f"{name}: {shown} {'is' if one else 'are'} missing after {waited}"
