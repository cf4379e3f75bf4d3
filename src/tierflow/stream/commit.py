"""Bring a measured micro-batch to its end: score, place, catalogue, the tables of the run, the ledger.

May be cut off between any two system calls and begun again: what was decided stands in the batch's folder, what was
placed in the journal, the tables of the run take the same rows twice without harm, and the ledger hears of it last.
"""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tierflow import tables
from tierflow.errors import MissingFileError, TierflowError
from tierflow.io.remote import input_root
from tierflow.policies import choose
from tierflow.scan.shards import shard_name
from tierflow.scoring.columns import compute as pc
from tierflow.scoring.columns import equals
from tierflow.steps.places import PLACES
from tierflow.stream import pixels
from tierflow.stream.ended import Returned, end_batch, members_of, recorded_rows
from tierflow.stream.fold import Shards, mapped, table_paths
from tierflow.stream.placing import Placing
from tierflow.stream.records import Records
from tierflow.stream.retier import chosen_by_policy, homes_of, note_tiers, numbers_of, retier_shard, tier_of
from tierflow.stream.returned import Gone, note_incomplete, without
from tierflow.stream.scoring import Scoring
from tierflow.stream.sources import Root, look
from tierflow.stream.states import State
from tierflow.stream.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from tierflow.config import Config
    from tierflow.policies.choose import Resolved
    from tierflow.stream.batch import Batch
    from tierflow.stream.choose import Demotion
    from tierflow.stream.ended import Member
    from tierflow.stream.ledger import Ledger
    from tierflow.stream.scoring import Baselines

_LOG = logging.getLogger(__name__)

_NO_REASON = "released before all files of its unit had come"
_UNDECIDED = "what the policy chose when it came: nobody decides against it any more"
_AGAIN = "it has to be measured again: its file, or another one of its unit, had changed"


class PolicySource(Protocol):
    """Chooses tiers as objects come; `tierflow.stream.choose.Choice`."""

    def policy_for(self, score: pa.Table) -> Resolved:
        """Return the policy that decides a batch."""

    def demoted(self) -> Sequence[Demotion]:
        """Return the objects that belong in another tier since the batch was decided."""


class Committer:
    """Commits batches, one at a time; its methods may be called from any thread.

    Args:
        ledger: The ledger.
        config: Configuration of the stream.
        output: Output folder.
        window: What new planes are compared with.
        choice: Chooses tiers.
        on_fold: Called with the name of a shard whose catalogue changed.

    Attributes:
        shards: The tables of the run.
        placing: Its journals and tiers.
        summary: What it says of itself in `scan/summary.json`.
        lock: Held while a batch is committed.
    """

    def __init__(
        self,
        ledger: Ledger,
        config: Config,
        output: Path,
        window: Baselines,
        *,
        choice: PolicySource,
        on_fold: Callable[[str], None] | None = None,
    ) -> None:
        self.ledger, self.config, self.choice = ledger, config, choice
        self.output = output.absolute()
        self.on_fold = on_fold
        self.shards = Shards(self.output)
        self.placing = Placing(self.output, config)
        self.summary = Summary(config, self.output)
        self.lock = threading.RLock()
        self._scoring = Scoring(config, window)
        self._records = Records(config)
        self._roots: dict[str, Root] = {}
        self._held: set[tuple[str, str]] = set()

    def commit(self, batch: Batch) -> None:
        """Score, place and record a batch whose extract table is there, and say so in the ledger.

        Objects whose files changed since they were measured are taken out and wait again, with the others of their
        units; a file that vanished is `lost_source`, unless its measured bytes were placed before.

        Args:
            batch: A batch in stage `recording`; its folder holds `scan/shards/<shard>.parquet` and
                `extract/<shard>.parquet`.

        Raises:
            TryAgainError: if a disk is full or away: the same call may work later.
            InputMissingError: if scan or extract table isn't there: the batch has to be measured again.
            TableError: if one is damaged: likewise.
            ConfigError: if function, policy, a driver or a tier is wrong.
        """
        with self.lock, mapped(self.output):
            try:
                folded = self._commit(batch)
            except BaseException:
                self.shards.forget(batch.shard)
                raise
            if folded:
                self.summary.changed(batch.shard)
                self._demote()
        if folded and self.on_fold is not None:
            self.on_fold(batch.shard)

    def _demote(self) -> None:
        """Bring objects to the tiers where they belong since better ones came; what fails now is tried again."""
        groups: dict[tuple[str, str], list[str]] = {}
        for one in self.choice.demoted():
            if (one.object_id, one.to_tier) not in self._held:
                groups.setdefault((one.to_tier, one.why), []).append(one.object_id)
        for (tier, why), names in groups.items():
            try:
                self.replace_tier(numbers_of(self.ledger, names), tier, why)
            except (TierflowError, OSError) as error:
                _LOG.warning("%d objects stay where they are for now: %s", len(names), error)
                continue
            # Where a person's decision holds, they stay for good.
            self._held |= {(name, tier) for name in names if tier_of(self.ledger, name) != tier}

    def replace_tier(self, ids: Sequence[int], tier: str, why: str) -> None:
        """Bring objects that are done to another tier.

        Args:
            ids: The ledger's numbers; objects that were never handled are passed over.
            tier: Where they belong now.
            why: Why, in words.

        Raises:
            TryAgainError: if a tier, the disk or the input is full or away: the same call may work later.
            ConfigError: if a driver refuses.
        """
        root = self._root(self.config.input or "")
        root.require()
        for number, numbers in sorted(homes_of(self.ledger, ids).items()):
            shard = shard_name(number)
            with self.lock, mapped(self.output):
                try:
                    placed = retier_shard(
                        self.shards, self.placing, shard, list(numbers), tier=tier, why=why, on_problem=root.require
                    )
                except BaseException:
                    self.shards.forget(shard)
                    raise
                note_tiers(self.ledger, numbers, placed)
            if self.on_fold is not None:
                self.on_fold(shard)

    def decide_again(self, object_ids: Sequence[str]) -> int:
        """Bring objects to where a person's decision, just written or withdrawn, says that they belong.

        Args:
            object_ids: All objects of the units that the decision is about; those never handled are passed over.

        Returns:
            How many objects it was done for.

        Raises:
            TryAgainError: if a tier or the disk is full or away: the same call may work later.
            ConfigError: if a driver refuses, or somebody chose an unknown tier.
        """
        numbers = numbers_of(self.ledger, object_ids)
        done = 0
        for number, homes in homes_of(self.ledger, numbers).items():
            with self.lock:
                groups = chosen_by_policy(self.shards, shard_name(number), list(homes))
            for tier, names in groups.items():
                self.replace_tier([homes[name] for name in names], tier, _UNDECIDED)
                done += len(names)
        return done

    def _commit(self, batch: Batch) -> bool:
        """Return whether the tables of the shard changed."""
        if self.ledger.query("SELECT 1 FROM batches WHERE id = ? AND stage = 'done'", (batch.number,)):
            return False
        members = members_of(self.ledger, batch)
        numbers = {name: member.id for name, member in members.items()}
        paths = table_paths(batch.folder, batch.shard)
        found = {name: tables.read(paths[name]) for name in ("scan", "extract")}
        gone = Gone()
        if paths["place"].exists():
            # Decided by a process that was killed; whatever happened to the files since, it is a new version.
            found |= {name: tables.read(paths[name]) for name in ("score", "place")}
            found = _only(found, found["place"])
        else:
            gone = self._gone(batch.shard, found["scan"], found["extract"])
            found = self._reduced(batch, found, gone, members)
        shown = pixels.find(self.ledger, found["scan"], found["extract"], numbers=numbers)
        if "place" not in found and found["scan"].num_rows:
            found, changed = self._decide(batch, found, shown.duplicates)
            gone = Gone(gone.by_id | changed.by_id)
        former: list[pixels.Claim] = []
        decided = "place" in found and found["place"].num_rows > 0
        if decided:
            before = {name: self.shards.read(batch.shard, name) for name in ("scan", "extract")}
            former = pixels.given_up(before["scan"], before["extract"], new=found["extract"], numbers=numbers)
            self.shards.fold(batch.shard, {**found, "catalogue": self._records.make(found)})
        recorded = recorded_rows(found["scan"], found["score"], found["place"]) if decided else []
        ended = {one.object_id for one in recorded} | gone.by_id.keys()
        # An earlier attempt, which was killed, took these out.
        left = [self._measured_again(member) for name, member in members.items() if name not in ended]
        claims = [claim for claim in shown.claims if claim[1] in {numbers.get(one.object_id) for one in recorded}]
        returned = [*gone.by_id.values(), *left]
        end_batch(self.ledger, batch, members, recorded=recorded, returned=returned, claims=claims, given_up=former)
        shutil.rmtree(batch.folder, ignore_errors=True)
        return decided

    def _gone(self, shard: str, scan: pa.Table, extract: pa.Table) -> Gone:
        """Return the objects whose files aren't those that were measured."""
        sha256 = dict(zip(extract["object_id"].to_pylist(), extract["sha256"].to_pylist(), strict=True))
        root = self._root(tables.metadata_of(scan).get("input") or self.config.input or "")
        missed: list[Any] = extract.filter(equals(extract["flag"], MissingFileError.flag))["object_id"].to_pylist()
        return Gone.find(
            scan,
            root,
            missed=set(missed),
            placed=lambda ids: self.placing.known(shard, {i: sha256.get(i) for i in ids}),
        )

    def _root(self, text: str) -> Root:
        if text not in self._roots:
            self._roots[text] = Root(Path(str(input_root(text))), self.ledger)
        return self._roots[text]

    def _reduced(
        self, batch: Batch, found: dict[str, pa.Table], gone: Gone, members: Mapping[str, Member]
    ) -> dict[str, pa.Table]:
        """Take objects out of the tables of a batch, and note in them which ones are incomplete."""
        paths = table_paths(batch.folder, batch.shard)
        incomplete = {name: one.reason or _NO_REASON for name, one in members.items() if one.incomplete}
        if not gone and not incomplete:
            return found
        # What a killed process had scored, it had scored together with these.
        paths["score"].unlink(missing_ok=True)
        kept = {name: without(table, gone.by_id) for name, table in found.items()}
        kept["extract"] = note_incomplete(kept["extract"], incomplete)
        for name, table in kept.items():
            tables.write_passing(paths[name], table, **tables.stamps_of(table))
        return kept

    def _decide(
        self, batch: Batch, found: dict[str, pa.Table], duplicates: pa.Table
    ) -> tuple[dict[str, pa.Table], Gone]:
        """Score and place; what is decided is written down before anything is made of it.

        Returns:
            Tables scan, extract, score and place of those that were placed, and the objects whose files changed before
            they could be.
        """
        paths = table_paths(batch.folder, batch.shard)
        policy_path = batch.folder / PLACES["policy"]["policy"]
        if not paths["score"].exists():
            policy_path.unlink(missing_ok=True)
            scored = self._scoring.score(found["scan"], found["extract"], duplicates)
            tables.write_passing(paths["score"], scored, **tables.stamps_of(scored))
        else:
            scored = tables.read(paths["score"])
            self._scoring.remember(found["scan"], found["extract"])
        if not policy_path.exists():
            self.choice.policy_for(scored).save(policy_path, durable=False)
        wanted = self.placing.wanted(found["scan"], scored, choose.load(policy_path))
        placed = self.placing.place(batch.shard, wanted)
        doubtful = placed.filter(pc.is_valid(placed["problem"]))["object_id"]
        gone = Gone()
        if len(doubtful):
            # Most are refusals of the file system, which the record tells; some are files that changed just now, or
            # whose share went away.
            own = found["scan"].filter(pc.is_in(found["scan"]["object_id"], value_set=doubtful))
            gone = self._gone(batch.shard, own, found["extract"]).with_units(found["scan"])
        placed = without(placed, gone.by_id)
        tables.write_passing(paths["place"], placed)
        return _only(found | {"score": scored, "place": placed}, placed), gone

    def _measured_again(self, member: Member) -> Returned:
        seen = look(self._root(self.config.input or "").bytes, member.path)
        return Returned(member.object_id, State.WAITING, _AGAIN, seen)


def _only(found: Mapping[str, pa.Table], placed: pa.Table) -> dict[str, pa.Table]:
    """Return the rows of those objects about whom was decided."""
    ids = placed["object_id"]
    if all(table["object_id"].equals(ids) for name, table in found.items() if name != "extract"):
        return dict(found)
    return {name: table.filter(pc.is_in(table["object_id"], value_set=ids)) for name, table in found.items()}
