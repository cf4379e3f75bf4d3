"""From bytes, requests and hours to money. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tierflow.sizing.plan_table import Money, Span, TierRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.sizing.prices import Offer, StorageClass

GB = 1_000_000_000
# Drivers that leave one copy of the bytes: nothing is written, or the file only gets another name.
KEEPING = frozenset({"link", "none", "move", "trash"})
# Files above this size, in MB, go to an object store in parts of it, one request each.
PART_MB = 64
INPUT = "input"


def writes(objects: float, size: float) -> int:
    """Return the writing requests for some objects: one for each, and one for every further part of large ones."""
    if objects <= 0:
        return 0
    parts = math.ceil(size / objects / (PART_MB * 1_000_000))
    # A file in parts needs a request that begins it and one that ends it.
    return round(objects) * (parts + 2 if parts > 1 else 1)


def tier_row(
    tier: str,
    *,
    driver: str,
    objects: float,
    size: Span,
    offer: Offer,
    tiers: Sequence[str],
    reads: float = 0.0,
) -> TierRow:
    """Return what a tier costs.

    Args:
        tier: Name of the tier, `quarantine` or `input`.
        driver: Its driver; one that makes copies writes each object and reads it back to verify it.
        objects: Objects in it.
        size: Their bytes.
        offer: Prices.
        tiers: All tiers, best first.
        reads: Reading requests besides.
    """
    name = offer.class_of(tier, tiers)
    copied = tier != INPUT and driver not in KEEPING
    puts = writes(objects, size.value) if copied else 0
    gets = round(reads + (objects if copied else 0))
    return TierRow(
        tier=tier,
        driver=driver,
        objects=objects,
        size=size,
        storage_class=name,
        month=size.value / GB * offer.storage[name].gb_month,
        puts=puts,
        gets=gets,
        requests=request_money(offer.storage[name], puts=puts, gets=gets),
    )


def request_money(storage: StorageClass, *, puts: int, gets: int) -> float:
    """Return the price of requests to one class of storage."""
    return puts / 1000 * storage.put_per_1000 + gets / 1000 * storage.get_per_1000


def compute_money(offer: Offer, *, cpu_hours: float, memory_gb_hours: float) -> float:
    """Return the price of cores and memory."""
    return cpu_hours * offer.compute.vcpu_hour + memory_gb_hours * offer.compute.memory_gb_hour


def sums(
    rows: Sequence[TierRow],
    *,
    offer: Offer,
    name: str,
    compute: float,
    egress_gb: float,
    egress_from: Sequence[TierRow],
) -> Money:
    """Add everything up.

    Args:
        rows: All tiers and the input.
        offer: Prices.
        name: Name of the offer.
        compute: Money for computing.
        egress_gb: GB that leave the provider, taken evenly from `egress_from`.
        egress_from: The tiers that are read for it; some classes charge for reading.
    """
    size = sum(row.size.value for row in egress_from)
    retrieval = sum(row.size.value * offer.storage[row.storage_class].retrieval_gb for row in egress_from)
    egress = egress_gb * (offer.egress_gb + (retrieval / size if size else 0.0))
    requests = sum(row.requests for row in rows)
    month = sum(row.month for row in rows)
    once = compute + requests + egress
    return Money(
        currency=offer.currency,
        offer=name,
        compute=compute,
        requests=requests,
        egress=egress,
        once=once,
        storage_month=month,
        first_year=once + 12 * month,
    )
