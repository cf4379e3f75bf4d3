"""The one table that a plan and a bill fill in: estimates before a run, what was used after it. Keys are stable."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tierflow.config_section import Section


class Span(Section):
    """A number and the 90 % interval that the sample's spread gives it; all three are equal where it is known."""

    value: float
    low: float
    high: float

    @classmethod
    def known(cls, value: float) -> Span:
        """Return a number without doubt."""
        return cls(value=value, low=value, high=value)

    def times(self, factor: float) -> Span:
        """Return it in another unit, or for more of the same."""
        return Span(value=self.value * factor, low=self.low * factor, high=self.high * factor)

    def plus(self, other: Span) -> Span:
        """Return the sum of both, as if they erred together."""
        return Span(value=self.value + other.value, low=self.low + other.low, high=self.high + other.high)


class StepRow(Section):
    """What one step needs over all its jobs; `peak_mb` is of its largest job, in MB (10^6 bytes)."""

    step: str
    jobs: int
    cpu_s: Span
    peak_mb: float


class WallRow(Section):
    """Wall time of the whole run with some workers of one core each, in seconds."""

    engine: str
    workers: int
    seconds: float


class TierRow(Section):
    """What lies in one tier, and what that costs. `input` is what stays at the source beside a tier's copy."""

    tier: str
    driver: str
    objects: float
    size: Span = Field(description="Bytes.")
    storage_class: str
    month: float = Field(description="Money per month.")
    puts: int = 0
    gets: int = 0
    requests: float = Field(0.0, description="Money, once.")


class Money(Section):
    """Sums in `currency`. `once` is paid once; `storage_month` every month."""

    currency: str
    offer: str
    compute: float
    requests: float
    egress: float
    once: float
    storage_month: float
    first_year: float


class SampleNote(Section):
    """What was measured."""

    objects: int
    failed: int
    units: int
    strata: int
    size: int = Field(description="Bytes.")
    seconds: float
    replicates: int = Field(description="Bootstrap replicates of the tiers.")
    cores: int = Field(1, description="Cores that were kept busy at once.")
    slowdown: float = Field(1.0, description="Wall time of an object then, by its wall time alone.")


class DayRow(Section):
    """What a steady stream of images needs."""

    images_per_day: float
    cpu_hours_per_day: float
    cores: float = Field(description="Cores that are busy on average.")
    gb_per_month: float
    storage_after_12_months: float = Field(description="Money per month, a year from now.")
    compute_per_month: float


class GroupRow(Section):
    """What belongs to one owner or plate."""

    by: Literal["owner", "plate"]
    name: str
    objects: int
    size: int = Field(description="Bytes.")
    cpu_s: float = Field(description="Its share of the processor time, by bytes.")
    month: float
    compute: float


class Plan(Section):
    """A plan (kind `estimate`) or a bill (kind `actual`) of one run."""

    version: Literal["1"] = "1"
    kind: Literal["estimate", "actual"]
    made_at: str
    input: str
    policy: str
    objects: int
    units: int
    size: int = Field(description="Bytes.")
    shards: int
    steps: tuple[StepRow, ...]
    cpu_hours: Span
    peak_mb: float
    wall: tuple[WallRow, ...]
    tiers: tuple[TierRow, ...]
    egress_gb: float
    money: Money
    sample: SampleNote | None = None
    per_day: DayRow | None = None
    groups: tuple[GroupRow, ...] = ()
    warnings: tuple[str, ...] = ()
    took_s: float = Field(0.0, description="Seconds that making it took.")
