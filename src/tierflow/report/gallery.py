"""Which objects are shown as pictures, and what is said about each."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.report import words
from tierflow.report.images import Picture, picture
from tierflow.report.reading import Unshown, read_picture_plane
from tierflow.report.text import TIMES, counted, number, printable, size
from tierflow.report.text import score as score_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tierflow.report.objects import Objects

    Baseline = Mapping[tuple[str | None, str | None, str], tuple[float, float]]

DETAIL_PX = 240
MANY = 60
"""Above this number of pictures each is embedded at its shown size, not at twice that for fine screens."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A group of objects to show.

    Attributes:
        key: Identifier in the page.
        title: Heading.
        about: A sentence below it.
        indices: The objects, in the order shown.
    """

    key: str
    title: str
    about: str
    indices: list[int]


@dataclass(frozen=True, slots=True)
class Tile:
    """One object of a gallery, ready for the page.

    Attributes:
        number: Position over all galleries, from 0.
        name: File name.
        place: Well, site, channel and such, in words.
        score: Interestingness in words, empty where there is none.
        tier: Name of its tier, empty where it has none.
        flags: Flags in words.
        reason: Why it is here.
        picture: The picture, or None.
        missing: Why there is no picture.
        details: What the page's dialog shows.
        corrected: Who put it into its tier, in words; empty where the policy did.
    """

    number: int
    name: str
    place: str
    score: str
    tier: str
    flags: list[str]
    reason: str
    picture: Picture | None
    missing: str
    details: dict[str, Any] = field(default_factory=dict)
    corrected: str = ""


def choose(objects: Objects, wanted: int) -> list[Pick]:
    """Choose the most and the least interesting objects, and some that couldn't be measured.

    No object is shown twice. Where more objects share a score than there is room for, they are taken evenly.
    """
    if wanted == 0:
        return []
    scored = np.flatnonzero(objects.measured)
    # A third each: of a few objects, those in the middle are neither.
    room = min(wanted, -(-len(scored) // 3))
    best, best_note = _top(scored, objects.interestingness[scored], room)
    left = scored[~np.isin(scored, best)]
    worst, worst_note = _top(left, -objects.interestingness[left], min(room, len(left)))
    failed = np.flatnonzero(~objects.measured)
    lost = _varied(objects, failed, wanted)
    picks = [
        Pick("best", "Most interesting", f"The highest scores, best first.{best_note}", best),
        Pick("worst", "Least interesting", f"The lowest scores, lowest first.{worst_note}", worst),
    ]
    if len(failed):
        some = "All" if len(lost) == len(failed) else f"{len(lost)} of the {len(failed):,}"
        about = f"{some} that could not be measured: nothing was thrown away, each has its reason."
        picks.append(Pick("quarantine", "In quarantine", about, lost))
    return [pick for pick in picks if pick.indices]


def _top(indices: NDArray[np.int64], score: NDArray[np.float64], wanted: int) -> tuple[list[int], str]:
    if wanted == 0 or not len(indices):
        return [], ""
    border = np.partition(score, len(score) - wanted)[len(score) - wanted]
    above, equal = np.flatnonzero(score > border), np.flatnonzero(score == border)
    free = wanted - len(above)
    spread = equal[np.linspace(0, len(equal) - 1, free).round().astype(np.int64)]
    chosen = np.concatenate([above, np.unique(spread)])
    ranked = chosen[np.argsort(-score[chosen], kind="stable")]
    value = number(abs(float(border)), 3)
    note = (
        f" {counted(len(equal), 'object')} share the score {value}; {free} of them stand here."
        if len(equal) > free
        else ""
    )
    return indices[ranked].tolist(), note


def _varied(objects: Objects, failed: NDArray[np.int64], wanted: int) -> list[int]:
    """Take failed objects of every kind of failure in turn, so that a rare one isn't crowded out."""
    kinds = [failed[mask[failed]].tolist() for mask in objects.flags.values()]
    queues = [*sorted((queue for queue in kinds if queue), key=len), failed.tolist()]
    chosen: dict[int, None] = {}
    for turn in range(max(map(len, queues), default=0)):
        for queue in queues:
            if turn < len(queue) and len(chosen) < wanted:
                chosen[queue[turn]] = None
    return list(chosen)


def tile(
    row: Mapping[str, Any],
    *,
    number_of: int,
    features: Sequence[str],
    baseline: Baseline,
    show: Callable[[Mapping[str, Any]], Picture],
) -> Tile:
    """Describe one object, with its picture where one can be made.

    Args:
        row: The object's catalogue record.
        number_of: Position over all galleries.
        features: Features to list.
        baseline: Median and spread by plate, channel and feature.
        show: Makes the picture; raises `Unshown` with a reason.
    """
    shown, missing = None, ""
    try:
        shown = show(row)
    except Unshown as error:
        missing = str(error)
    path = printable(str(row["path"]))
    failed = row.get("status") != "ok" or row.get("interestingness") is None
    return Tile(
        number=number_of,
        name=path.rpartition("/")[2],
        place=place_words(row),
        score=score_text(row.get("interestingness")),
        tier=str(row.get("tier") or ""),
        flags=[words.spoken(printable(flag)) for flag in row.get("flags") or []],
        reason=printable(str(row.get("reason") or ("failed without a reason" if failed else ""))),
        picture=shown,
        missing=missing,
        details=_details(row, path=path, features=features, baseline=baseline, shown=shown),
        corrected=f"corrected by {printable(str(row['corrected_by']))}" if row.get("corrected_by") else "",
    )


def place_words(row: Mapping[str, Any]) -> str:
    """Return plate, well, site, channel, z and time point, as far as they are known."""
    named = (row.get(key) for key in ("plate", "well"))
    parts = [printable(str(name)) for name in named if name and name != words.TOP_FOLDER]
    for key, word in (("site", "site"), ("channel", ""), ("z", "z"), ("timepoint", "t")):
        if row.get(key) not in (None, ""):
            parts.append(f"{word} {printable(str(row[key]))}".strip())
    return " \u00b7 ".join(parts)


def _details(
    row: Mapping[str, Any],
    *,
    path: str,
    features: Sequence[str],
    baseline: Baseline,
    shown: Picture | None,
) -> dict[str, Any]:
    facts = [
        ("path", path),
        ("size", size(int(row.get("bytes") or 0))),
        ("pixels", _pixels(row)),
        ("taken", printable(str(row.get("acquired_at") or ""))),
        ("tier", " \u2013 ".join(printable(str(row[key])) for key in ("tier", "why") if row.get(key))),
        ("file is now at", printable(str(row.get("destination") or "its source"))),
        ("problem", printable(str(row.get("problem") or ""))),
        ("SHA-256", str(row.get("sha256") or "")),
    ]
    if shown is not None:
        gamma = f", gamma {shown.gamma:g}" if shown.gamma != 1 else ""
        facts.insert(3, ("shown", f"{number(shown.low)} (black) to {number(shown.high)} (white){gamma}"))
    said = printable(str(row.get("reason") or ""))
    return {
        "facts": [(name, text) for name, text in facts if text],
        "findings": [
            text for d in row.get("flag_details") or [] if (text := printable(str(d.get("text") or ""))) not in said
        ],
        "features": [entry for name in features if (entry := _measured(row, name, baseline)) is not None],
        "detail": shown.detail if shown else "",
        "box": [round(edge, 2) for edge in shown.box] if shown and shown.detail else None,
        "note": shown.note if shown else "",
    }


def _pixels(row: Mapping[str, Any]) -> str:
    if row.get("width") is None:
        return ""
    planes = f", {counted(int(row['planes']), 'plane')}" if row.get("planes") else ""
    return f"{row['width']:,} {TIMES} {row['height']:,} {row.get('dtype') or ''}{planes}"


def _measured(row: Mapping[str, Any], name: str, baseline: Baseline) -> dict[str, Any] | None:
    value = row.get(name)
    if value is None or not np.isfinite(value):
        return None
    entry: dict[str, Any] = {"label": words.feature(name).label, "name": name, "value": number(float(value))}
    known = baseline.get((row.get("plate"), row.get("channel"), name))
    if known is not None and np.isfinite(known[0]):
        entry["median"] = number(known[0])
        difference = float(value) - known[0]
        if difference == 0:
            entry["z"] = 0.0
        elif np.isfinite(known[1]) and known[1] > 0:
            entry["z"] = round(float(np.clip(difference / known[1], -1e6, 1e6)), 2)
    return entry


def pictures_for(
    count: int, *, thumbnail_px: int, max_plane_mb: int, input_root: Path | None, output: Path
) -> Callable[[Mapping[str, Any]], Picture]:
    """Return the function that makes an object's picture.

    Args:
        count: Pictures on the page; many are embedded smaller.
        thumbnail_px: Longest edge of a thumbnail as shown.
        max_plane_mb: Largest plane that is decoded.
        input_root: The input folder, for objects that stayed there.
        output: The output folder, to which relative destinations refer.
    """
    crowded = count > MANY
    edge = thumbnail_px if crowded else 2 * thumbnail_px

    def show(row: Mapping[str, Any]) -> Picture:
        path = locate(row, input_root=input_root, output=output)
        pixels, note = read_picture_plane(
            path,
            index=max(0, int(row.get("best_plane") or 0)),
            max_plane_mb=max_plane_mb,
            damaged=row.get("status") != "ok",
        )
        try:
            return picture(
                pixels, edge=edge, detail=0 if crowded else DETAIL_PX, quality=70 if crowded else 80, note=note
            )
        except ValueError as error:
            raise Unshown(str(error)) from error

    return show


def locate(row: Mapping[str, Any], *, input_root: Path | None, output: Path) -> Path:
    """Return where an object's file is now.

    Raises:
        Unshown: if it is neither at its destination nor in the input.
    """
    candidates: list[Path] = [output / row["destination"]] if row.get("destination") else []
    if input_root is not None:
        raw = row.get("path_bytes")
        candidates.append(input_root / (os.fsdecode(raw) if raw is not None else str(row["path"])))
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate
        except (OSError, ValueError):
            continue
    raise Unshown("the file isn't where the run left it")
