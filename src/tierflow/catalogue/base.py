"""What a catalogue is: the surface that every backend offers, with the meaning that `query.py` fixes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tierflow.catalogue.query import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from tierflow.catalogue.fields import Fields
    from tierflow.catalogue.query import Bin, Filter, Page, Query, Scalar, Stats

PERCENTS = (5.0, 25.0, 50.0, 75.0, 95.0)


class Folders(NamedTuple):
    """The folders of a run, from which the places of its files follow.

    Attributes:
        source: Input folder, "" where it isn't known.
        output: Output folder, to which relative destinations refer.
    """

    source: str
    output: str


class Catalogue(Protocol):
    """The searchable record of all objects.

    Every method that takes fields, filters or a query raises `QueryError` when they name an unknown field or don't fit
    their fields. Objects in which the counted field is null are left out of facets, histograms, percentiles and stats.
    """

    def fields(self) -> Fields:
        """Return the fields that queries may name."""

    def get(self, object_id: str) -> dict[str, Any] | None:
        """Return everything that is recorded about an object; None if it isn't there.

        Of several runs' records, that of the newest `scored_at` (then of the first run by name) is returned.
        """

    def search(self, query: Query) -> Page:
        """Return one page of objects."""

    def count(self, filters: Filter = EVERYTHING) -> int:
        """Return the number of objects that fulfil the filters."""

    def facets(self, field: str, *, filters: Filter = EVERYTHING, limit: int = 100) -> list[tuple[Scalar, int]]:
        """Return the values of a field and how many objects have each, the most frequent first, ties by value.

        An object counts once for each different element of a list.
        """

    def histogram(self, field: str, *, bins: int = 10, filters: Filter = EVERYTHING) -> list[Bin]:
        """Return counts in equal bins from the smallest to the largest value; one bin when all are equal."""

    def percentiles(
        self, field: str, *, percents: Sequence[float] = PERCENTS, filters: Filter = EVERYTHING
    ) -> dict[float, float | None]:
        """Return values by percent (0 to 100), linearly interpolated between neighbours; None without values."""

    def stats(self, field: str, *, by: str | None = None, filters: Filter = EVERYTHING) -> list[Stats]:
        """Return numbers about a field, for all objects or for each value of the field `by`, ordered by it."""

    def batches(self, query: Query) -> pa.RecordBatchReader:
        """Stream all objects of a query (up to its limit, None for all) in its order; the cursor is not used.

        Without `columns` the batches hold every column. The schema carries units and meanings.
        """

    def paths(self, query: Query) -> Iterator[bytes]:
        """Yield where each object's file is now, as the file system's own bytes, in the order of the query."""

    def folders(self, run: str) -> Folders:
        """Return the folders of a run."""
