"""The head of the report: what was found, in a strip, a sentence and a few warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.config import QUARANTINE
from tierflow.report import words
from tierflow.report.text import count, counted, listed, printable, share, size
from tierflow.scan.words import WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.config import Config
    from tierflow.report.objects import Objects

UNDECIDED = "not placed"


@dataclass(frozen=True, slots=True)
class TierRow:
    """One tier of the strip and its legend.

    Attributes:
        index: Its colour; the quarantine and what isn't placed come after the tiers.
        name: Its name.
        about: What it is for.
        range: Its range of interestingness in words.
        driver: How it stores files, and where.
        count: Objects in it.
        size: Bytes in it, in words.
        share: Share of the objects in words.
        width: Share of the objects in per cent.
        byte_width: Share of the bytes in per cent.
    """

    index: int
    name: str
    about: str
    range: str
    driver: str
    count: int
    size: str
    share: str
    width: float
    byte_width: float


def tier_index(objects: Objects, tiers: Sequence[str]) -> NDArray[np.int64]:
    """Return each object's place in `tiers` (best first); the quarantine follows them, then what isn't placed."""
    order = {name: i for i, name in enumerate([*tiers, QUARANTINE])}
    lookup = np.array([order.get(name, len(tiers) + 1) for name in objects.tier.names] + [len(tiers) + 1])
    return lookup[objects.tier.codes]


def tier_rows(objects: Objects, tier: NDArray[np.int64], config: Config, ranges: Mapping[str, str]) -> list[TierRow]:
    """Return the tiers with what they hold; the quarantine and what isn't placed only where there is any."""
    names = [*config.tiers, QUARANTINE, UNDECIDED]
    counts = np.bincount(tier, minlength=len(names))
    sizes = np.bincount(tier, weights=objects.size.astype(np.float64), minlength=len(names))
    placed = bool(counts[: len(config.tiers) + 1].sum())
    rows = []
    for index, name in enumerate(names):
        if counts[index] == 0 and (index >= len(config.tiers) or not placed):
            continue
        known = None if name == UNDECIDED else config.tier(name)
        rows.append(
            TierRow(
                index=index,
                name=name,
                about=known.about if known else "the run stopped before this",
                range=ranges.get(name, ""),
                driver=_driver(known.driver, known.root) if known else "",
                count=int(counts[index]),
                size=size(float(sizes[index])),
                share=share(float(counts[index]), len(objects)),
                width=100 * float(counts[index]) / max(len(objects), 1),
                byte_width=100 * float(sizes[index]) / max(float(sizes.sum()), 1.0),
            )
        )
    return rows


def _driver(driver: str, root: str | None) -> str:
    verbs = {
        "link": "linked",
        "copy": "copied",
        "move": "moved",
        "none": "left where it is",
        "trash": "put in the trash",
    }
    place = f" to {printable(root)}" if root else ""
    return verbs.get(driver, f"stored by {driver}") + place


def verdict(objects: Objects) -> str:
    """Say in a sentence or two how many objects are fine and how many want a person's eyes."""
    total, measured, flagged = len(objects), int(objects.measured.sum()), int(objects.flagged.sum())
    if total == 0:
        return "No object was found: nothing was measured."
    lost = total - measured
    fine = measured - flagged
    if lost == 0 and flagged == 0:
        return f"All {counted(total, 'image')} were measured, and nothing strange was found."
    text = f"{count(fine)} of {counted(total, 'image')} measured fine."
    if flagged:
        more = "One more was measured but carries" if flagged == 1 else f"{flagged:,} more were measured but carry"
        text += f" {more} a finding: {_kinds(objects, objects.measured)}."
    if lost:
        text += f" {_need(lost)} your eyes: {_kinds(objects, ~objects.measured) or 'could not be measured'}."
    return text


def corrections(number: int) -> str:
    """Say in a sentence how many objects people put into their tier, against the policy; empty without any."""
    if number == 0:
        return ""
    verb = "is" if number == 1 else "are"
    return f"{counted(number, 'object')} {verb} in a tier that a person chose: find them by corrected_by:*."


def _need(number: int) -> str:
    return f"{number:,} {'needs' if number == 1 else 'need'}"


def _kinds(objects: Objects, among: NDArray[np.bool_]) -> str:
    numbers = {flag: int((mask & among).sum()) for flag, mask in objects.flags.items()}
    ranked = sorted((item for item in numbers.items() if item[1]), key=lambda item: -item[1])
    said = [f"{number:,} {words.spoken(printable(flag))}" for flag, number in ranked[:4]]
    if len(ranked) > 4:
        said.append("others")
    return listed(said)


def skipped(summary: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return what the scan left out, in words, with numbers."""
    raw = summary.get("skipped") or {}
    numbers = [(str(reason), value) for reason, value in raw.items() if isinstance(value, int) and value]
    return [(WORDS.get(reason, printable(words.spoken(reason))), value) for reason, value in numbers]


def warnings(summary: Mapping[str, Any], objects: Objects, problem: str) -> list[str]:
    """Return what a reader has to know before trusting the rest."""
    found = [problem] if problem else []
    found += [printable(str(text)) for text in summary.get("warnings") or []]
    known = int(((objects.well[0] > 0) & (objects.well[1] > 0)).sum())
    # The scan has warned of names that fit no layout already.
    if 0 < known < len(objects) - int(summary.get("unparsed") or 0):
        without = len(objects) - known
        found.append(
            f"{counted(without, 'name')} of {len(objects):,} {'does' if without == 1 else 'do'} not say a well: "
            "the plate maps leave them out. `tierflow layouts` shows what is read from each name."
        )
    return found
