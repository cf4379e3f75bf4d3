"""The tables of flags and of failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.report import words
from tierflow.report.text import number, printable, share

if TYPE_CHECKING:
    from tierflow.config import Config
    from tierflow.report.objects import Objects
    from tierflow.report.source import Source

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of finding or failure.

    Attributes:
        flag: Its name.
        about: What it means.
        remedy: What to do.
        limit: What raised it, such as `saturated_share above 0.01`.
        count: Objects with it.
        share: Their share of all objects.
        examples: Paths of some of them.
        reason: The reason of the first of them, in words.
        tier: Tier that it forces, if the policy says so.
    """

    flag: str
    about: str
    remedy: str
    limit: str
    count: int
    share: str
    examples: list[str]
    reason: str
    tier: str


def flag_rows(objects: Objects, source: Source, config: Config) -> list[Row]:
    """Return the flags of the objects that were measured, the most frequent first."""
    found = {flag: np.flatnonzero(mask & objects.measured) for flag, mask in objects.flags.items()}
    return _rows(found, objects, source, config)


def failure_rows(objects: Objects, source: Source, config: Config) -> list[Row]:
    """Return the kinds of failure, the most frequent first; objects that failed without a flag count as `failed`."""
    failed = ~objects.measured
    named = np.zeros(len(objects), dtype=bool)
    found = {}
    for flag, mask in objects.flags.items():
        found[flag] = np.flatnonzero(mask & failed)
        named |= mask
    found["failed"] = np.flatnonzero(failed & ~named)
    return _rows(found, objects, source, config)


def _rows(found: dict[str, Any], objects: Objects, source: Source, config: Config) -> list[Row]:
    ranked = sorted(
        ((flag, indices) for flag, indices in found.items() if len(indices)), key=lambda item: -len(item[1])
    )
    rules = {rule.flag: rule for rule in config.score.flags}
    rows = []
    for flag, indices in ranked:
        examples = source.rows(indices[:EXAMPLES].tolist(), ["path", "reason", "flag_details"])
        detail = _detail(examples[0], flag)
        known, rule = words.finding(flag), rules.get(flag)
        rows.append(
            Row(
                flag=printable(flag),
                about=known.about or (rule.text if rule else "") or printable(str(detail.get("text") or "")),
                remedy=known.remedy,
                limit=_limit(detail),
                count=len(indices),
                share=share(len(indices), len(objects)),
                examples=[printable(str(example["path"])) for example in examples],
                reason=printable(str(examples[0].get("reason") or "")),
                tier=config.policy.flag_tiers.get(flag, ""),
            )
        )
    return rows


def _detail(row: dict[str, Any], flag: str) -> dict[str, Any]:
    return next((d for d in row.get("flag_details") or [] if d.get("flag") == flag), {})


def _limit(detail: dict[str, Any]) -> str:
    value, limit = detail.get("value"), detail.get("limit")
    if not detail.get("feature") or value is None or limit is None:
        return ""
    side = "above" if value > limit else "below"
    return f"{detail['feature']} {side} {number(limit)}"
