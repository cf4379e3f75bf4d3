"""A resolved policy: the file `policy.json`, and the tier that it gives to objects."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow.config import QUARANTINE
from tierflow.errors import InputMissingError, TableError
from tierflow.io.atomic import write_text
from tierflow.policies.base import Cut
from tierflow.policies.ranking import assign
from tierflow.scoring import columns
from tierflow.scoring.columns import compute as pc
from tierflow.tables import SCHEMA_VERSION, SCORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# What `Resolved.choose_table` reads of the score table.
CHOICE_COLUMNS = ["unit_id", "status", "reason", "interestingness", "flags"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A policy whose cut-offs are known, so that every shard can be placed on its own.

    Attributes:
        kind: Name of the policy.
        parameters: Its parameters as configured.
        cuts: Ranges of interestingness, best first, the last one from 0.
        flag_tiers: Tier that a flag forces; the first flag of this mapping that a unit has decides.
        counts: Objects by tier at the time of resolving, the quarantine included.
        failed: Objects among them that couldn't be read, measured or scored.
    """

    kind: str
    parameters: Mapping[str, Any]
    cuts: tuple[Cut, ...]
    flag_tiers: Mapping[str, str]
    counts: Mapping[str, int]
    failed: int

    @property
    def digest(self) -> str:
        """12 hex digits over everything that decides a tier."""
        decides = [self.kind, dict(self.parameters), [asdict(cut) for cut in self.cuts], list(self.flag_tiers.items())]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]

    def with_counts(self, counts: Mapping[str, int]) -> Resolved:
        """Return the same policy with other counts."""
        return replace(self, counts=counts)

    def choose(
        self,
        *,
        interestingness: float | None,
        unit_id: str,
        flags: Sequence[str],
        status: str,
        reason: str | None = None,
    ) -> tuple[str, str]:
        """Return the tier of one object whose unit has no other object, and why, in words.

        Args:
            interestingness: Value in [0, 1]; None for a failed object.
            unit_id: The unit.
            flags: Findings on the object.
            status: `ok` or `failed`; a failed object goes to quarantine whatever its flags.
            reason: Why it failed.
        """
        row = {"unit_id": unit_id, "status": status, "reason": reason, "interestingness": interestingness}
        schema = pa.schema([SCORE.field(name) for name in CHOICE_COLUMNS])
        tiers, whys = self.choose_table(pa.Table.from_pylist([{**row, "flags": list(flags)}], schema=schema))
        return tiers[0], whys[0]

    def choose_table(self, score: pa.Table) -> tuple[list[str], list[str]]:
        """Return the tier of every object of a score table, and why, in words.

        All objects of a unit that could be scored get the same tier: a flag on any of them forces it for all. A failed
        object goes to quarantine, whatever its flags; its flags say nothing about the others of its unit.

        Args:
            score: At least the columns `CHOICE_COLUMNS`; a unit must lie in the table whole.

        Returns:
            Tiers and reasons in the order of the rows.
        """
        codes = self._codes(score)
        why = np.array([*self._range_texts(), *self._flag_texts(), ""], dtype=object)[codes]
        bad = np.flatnonzero(codes == self._quarantined)
        reasons = columns.texts(score["reason"].take(bad))
        why[bad] = [reason or "the object failed for an unknown reason" for reason in reasons]
        return self._tiers()[codes].tolist(), why.tolist()

    def count_table(self, score: pa.Table) -> Counter[str]:
        """Return the number of objects of a score table by tier; tiers without any are left out."""
        number = np.bincount(self._codes(score), minlength=self._quarantined + 1)
        counts: Counter[str] = Counter()
        for tier, n in zip(self._tiers().tolist(), number.tolist(), strict=True):
            counts[tier] += n
        return +counts

    @property
    def _quarantined(self) -> int:
        """The code of failed objects: after the cuts and the flag rules."""
        return len(self.cuts) + len(self.flag_tiers)

    def _tiers(self) -> NDArray[np.object_]:
        """Return the tier of every code."""
        return np.array([*(cut.tier for cut in self.cuts), *self.flag_tiers.values(), QUARANTINE], dtype=object)

    def _codes(self, score: pa.Table) -> NDArray[np.int64]:
        """Return what decided each row: a cut, then a flag rule (numbered after the cuts), or a failure."""
        interestingness = columns.floats(score["interestingness"])
        failed = failed_rows(score)
        # Names are only compared where units of equal value are shared out, and they are slow to unpack.
        tied = any(cut.last_unit is not None for cut in self.cuts)
        unit_id = columns.texts(score["unit_id"]) if tied else np.empty(0, dtype=object)
        codes = assign(self.cuts, unit_id=unit_id, interestingness=interestingness)
        if self.flag_tiers:
            forced = forced_rule(score, flags=list(self.flag_tiers), failed=failed)
            codes = np.where(forced >= 0, len(self.cuts) + forced, codes)
        codes[failed] = self._quarantined
        return codes

    def _range_texts(self) -> list[str]:
        first, texts = self.cuts[0], []
        if first.last_unit == "":
            texts.append(f"nothing goes to {first.tier}")
        else:
            texts.append(f"interestingness {first.minimum:.6g} or more goes to {first.tier}{_tie_text(first)}")
        for better, cut in pairwise(self.cuts):
            top = "up to and including 1" if better.last_unit == "" else f"up to {better.minimum:.6g}"
            texts.append(f"interestingness from {cut.minimum:.6g} {top} goes to {cut.tier}{_tie_text(cut)}")
        return texts

    def _flag_texts(self) -> list[str]:
        return [f"flag {flag} sends the unit to {tier}" for flag, tier in self.flag_tiers.items()]

    def save(self, path: Path, *, durable: bool = True) -> None:
        """Write `policy.json`, whole or not at all.

        Args:
            path: The file.
            durable: Wait until it is on the disk; False for what can be made again after a power cut.
        """
        tree = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "cuts": [asdict(cut) for cut in self.cuts],
            "flag_tiers": dict(self.flag_tiers),
            "digest": self.digest,
            "counts": dict(self.counts),
            "failed": self.failed,
        }
        write_text(path, json.dumps(tree, indent=2, ensure_ascii=False) + "\n", durable=durable)


def load(path: Path) -> Resolved:
    """Read `policy.json`.

    Raises:
        InputMissingError: if it isn't there.
        TableError: if it is damaged or of another schema version.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputMissingError(f"{path} is missing: run the step `policy`, or `tierflow run` again") from error
    except ValueError as error:
        raise TableError(f"{path} can't be read as JSON ({error}): delete it and run again") from error
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if version != SCHEMA_VERSION:
        raise TableError(f"{path} has schema version {version}, expected {SCHEMA_VERSION}: delete it and run again")
    try:
        return Resolved(
            kind=tree["kind"],
            parameters=tree["parameters"],
            cuts=tuple(Cut(**cut) for cut in tree["cuts"]),
            flag_tiers=tree["flag_tiers"],
            counts=tree["counts"],
            failed=tree["failed"],
        )
    except (KeyError, TypeError) as error:
        raise TableError(f"{path} is damaged ({error!r}): delete it and run again") from error


def failed_rows(score: pa.Table) -> NDArray[np.bool_]:
    """Tell which rows of a score table have no interestingness, shape (object,)."""
    return np.isnan(columns.floats(score["interestingness"])) | ~columns.equals(score["status"], "ok")


def forced_rule(score: pa.Table, *, flags: Sequence[str], failed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Find the first of `flags` that any scored object of each row's unit has.

    Args:
        score: Columns unit_id and flags; a unit must lie in the table whole.
        flags: Names of findings, the first one wins.
        failed: Rows that failed, shape (object,); they force nothing.

    Returns:
        Position in `flags` for each row, -1 where none applies, shape (object,).
    """
    if not flags:
        return np.full(score.num_rows, -1, dtype=np.int64)
    column = score["flags"].combine_chunks()
    rows = pc.list_parent_indices(column).to_numpy()
    names = pc.list_flatten(column)
    rule = pc.fill_null(pc.index_in(names, value_set=pa.array(list(flags), pa.string())), len(flags)).to_numpy()
    raised = (rule < len(flags)) & ~failed[rows]
    member, units = columns.codes(score["unit_id"])
    first = np.full(len(units), len(flags), dtype=np.int64)
    np.minimum.at(first, member[rows[raised]], rule[raised])
    found = first[member]
    return np.where(found < len(flags), found, -1)


def _tie_text(cut: Cut) -> str:
    return " (units of exactly that value are shared out in order of their unit_id)" if cut.last_unit else ""
