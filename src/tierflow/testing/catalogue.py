"""Contract suite of catalogues: a backend subclasses `CatalogueContract` and says how it is filled.

```python
class TestMyCatalogue(CatalogueContract):
    @classmethod
    def make(cls, records, folder):
        return MyCatalogue(...)
```
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import pytest

from tierflow.catalogue.language import format_filter, parse
from tierflow.catalogue.query import (
    EVERYTHING,
    Contains,
    Eq,
    Exists,
    In,
    Not,
    Or,
    Prefix,
    Query,
    Range,
    Sort,
    check,
)
from tierflow.errors import QueryError
from tierflow.testing.catalogue_exports import CatalogueExports
from tierflow.testing.catalogue_model import METADATA, RUN, Row, fulfils, ordered, planted_records, random_filter

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from tierflow.catalogue.base import Catalogue
    from tierflow.catalogue.query import Filter

RANDOM_QUERIES = 200
TIERS = [("B", 7), ("A", 3), ("C", 3), ("quarantine", 3), ("D", 2)]
SORTS = (
    (),
    (Sort("path"),),
    (Sort("interestingness", descending=True),),
    (Sort("interestingness"), Sort("plate", descending=True)),
    (Sort("plate"), Sort("features.snr", descending=True), Sort("bytes")),
    (Sort("acquired_at", descending=True),),
    (Sort("features.ImageQuality_MeanIntensity"),),
    (Sort("metadata.dose"), Sort("metadata.compound", descending=True)),
    (Sort("scored_at", descending=True), Sort("metadata.passage")),
    (Sort("metadata.seeded_on"),),
    (Sort("column", descending=True), Sort("row")),
    (Sort("column"), Sort("metadata.passage", descending=True), Sort("metadata.dose", descending=True)),
)


class CatalogueContract(CatalogueExports):
    """What every catalogue does alike. Subclass it, and define `make`."""

    @classmethod
    def make(cls, records: pa.Table, folder: Path) -> Catalogue:
        """Return a catalogue that holds exactly these records.

        Args:
            records: Table with the schema of `tierflow.catalogue.schema.catalogue_schema`; the input folder is
                `/input`, relative destinations lie in the output.
            folder: An empty folder to work in.
        """
        raise NotImplementedError

    @pytest.fixture
    def records(self) -> list[Row]:
        """The planted records as dictionaries."""
        rows: list[Row] = planted_records().to_pylist()
        return rows

    @pytest.fixture(scope="class")
    @classmethod
    def catalogue(cls, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
        """A catalogue filled with the planted records; the tests only read it."""
        return cls.make(planted_records(), tmp_path_factory.mktemp("catalogue"))

    def test_fields_have_kind_unit_and_meaning(self, catalogue: Catalogue) -> None:
        """Columns and features are there; opaque ones are marked."""
        fields = catalogue.fields()
        assert fields["bytes"].kind == "integer"
        assert fields["bytes"].unit == "byte"
        assert fields["flags"].kind == "texts"
        assert fields["path_bytes"].kind == "opaque"
        assert fields.find("if").name == "interestingness"
        assert fields.find("snr").name == "features.snr"
        kinds = {name: fields[f"metadata.{name}"].kind for name in METADATA}
        assert kinds == {"compound": "text", "dose": "number", "passage": "integer", "seeded_on": "text"}
        assert (fields.find("dose").unit, fields.find("dose").about) == ("uM", "how much of it")
        assert fields["scored_at"].unit == "ISO 8601"

    def test_columns_are_in_order(self, catalogue: Catalogue) -> None:
        """Columns of every record, then the data set's own, then the features."""
        assert [field.column for field in catalogue.fields().values()] == planted_records().column_names

    def test_get_returns_every_column(self, catalogue: Catalogue, records: list[Row]) -> None:
        """What was put in comes out, bytes and nested values included; an unknown id is None."""
        for record in records:
            assert catalogue.get(record["object_id"]) == record
        assert catalogue.get("0" * 32) is None
        assert catalogue.get("") is None

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            (EVERYTHING, 18),
            (Eq("tier", "A"), 3),
            (Eq("tier", "a"), 0),
            (Eq("plate", "plate"), 5),
            (Prefix("plate", "P"), 9),
            (Not(Exists("plate")), 4),
            (Not(Eq("plate", "plate")), 13),
            (Eq("flags", "saturated"), 5),
            (Eq("flags", "Blank"), 2),
            (Exists("flags"), 11),
            (Prefix("flags", "b"), 4),
            (Contains("flags", "BLANK"), 6),
            (Contains("path", "PLATE 1"), 4),
            (Contains("path", "GRÖSSE"), 0),
            (Contains("path", "GRÖßE/Ü"), 1),
            (Contains("path", "%_"), 1),
            (Prefix("path", "100%_"), 1),
            (Eq("path", "NULL"), 1),
            (Eq("bytes", 2**53 + 1), 3),
            (Range("bytes", gt=2**53), 3),
            (Range("row", gt=1.5, lt=2.5), 6),
            (Range("bytes", lt=1e300), 18),
            (Range("interestingness", gte=0.5, lt=0.75), 7),
            (Range("interestingness", lte=0), 1),
            (Range("acquired_at", gte="2024-03-05", lt="2024-03-06"), 6),
            (In("site", ("1", "10", "999")), 2),
            (Eq("features.ImageQuality_MeanIntensity", 0), 0),
            (Eq("run", RUN), 18),
            (Eq("row", 2**40), 0),
            (In("row", (1, 2**40)), 6),
            (Range("row", gt=-(2**40)), 18),
            (Range("row", lt=2**40), 18),
            (Range("row", gte=2**40), 0),
            (Eq("metadata.compound", ""), 2),
            (Exists("metadata.compound"), 17),
            (Prefix("metadata.compound", ""), 17),
            (Contains("metadata.compound", ""), 17),
            (Range("metadata.compound", gt=""), 15),
            (Range("metadata.compound", lte=""), 2),
            (Range("metadata.compound", lt=""), 0),
            (Contains("compound", "STRA\u1e9eE"), 4),
            (Contains("compound", "ISTANBUL"), 2),
            (Contains("compound", "\u0130STANBUL"), 2),
            (Contains("compound", "5 k"), 2),
            (Contains("compound", "å"), 2),
            (Contains("compound", "\u03bf\u03b4\u03bf\u03c3"), 2),
            (Contains("compound", "\u039f\u0394\u039f\u03c2"), 2),
            (Contains("compound", ".B*C?[D]|\\E"), 1),
            (Contains("path", "NEWLINE/AND\tTAB"), 1),
            (Contains("path", "h\nN"), 1),
            (Eq("dose", 0), 6),
            (Eq("dose", -0.0), 6),
            (In("dose", (-0.0, 2.5)), 8),
            (Range("dose", gt=-0.0), 7),
            (Range("dose", lt=0.0), 2),
            (Range("dose", gte=-0.0, lte=0.0), 6),
            (Eq("passage", -3), 4),
            (Eq("passage", 2**40), 3),
            (Range("seeded_on", gte="2024-02-29", lt="2024-03"), 9),
            (Range("scored_at", gte="2026-11-20T08:15:01"), 12),
            (Exists("corrected_at"), 12),
            (Eq("path", "x" * 40_000), 0),
            (In("path", ("x" * 40_000, "NULL")), 1),
            (Prefix("path", "x" * 40_000), 0),
            (Prefix("path", "ü" * 400), 0),
            (Range("path", gte="with" + "z" * 800), 1),
            (Range("path", lt="with" + "z" * 800), 17),
            (Contains("path", "".join(map(chr, range(0x4E00, 0x4E00 + 500)))), 0),
            (Or(()), 0),
            (Or((Eq("tier", "A"), Eq("tier", "quarantine"))), 6),
        ],
    )
    def test_count(self, catalogue: Catalogue, records: list[Row], filters: Filter, expected: int) -> None:
        """Counts by hand, which the model agrees with."""
        fields = catalogue.fields()
        assert sum(fulfils(row, check(filters, fields), fields) for row in records) == expected
        assert catalogue.count(filters) == expected

    def test_random_queries_agree_with_the_model(self, catalogue: Catalogue, records: list[Row]) -> None:
        """Rows, order, totals; also after going through the query language."""
        rng, fields = random.Random(20_240_321), catalogue.fields()  # noqa: S311 - the same queries every time
        for _ in range(RANDOM_QUERIES):
            filters, sort = random_filter(rng, records, fields), rng.choice(SORTS)
            expected = ordered([row for row in records if fulfils(row, filters, fields)], sort, fields)
            text = format_filter(filters)
            page = catalogue.search(Query(parse(text, fields), sort=sort, limit=100))
            assert ids(page.rows) == ids(expected), text
            assert page.total == len(expected), text

    @pytest.mark.parametrize("sort", SORTS, ids=str)
    @pytest.mark.parametrize("limit", [1, 4, 17, 18, 19])
    def test_pages_by_cursor(
        self, catalogue: Catalogue, records: list[Row], sort: tuple[Sort, ...], limit: int
    ) -> None:
        """Pages put together are the whole, once each, whatever ties and nulls lie on their borders."""
        found: list[Row] = []
        cursor = None
        for _ in range(len(records) + 1):
            page = catalogue.search(Query(sort=sort, limit=limit, cursor=cursor))
            assert page.total == len(records)
            found += page.rows
            cursor = page.next_cursor
            if cursor is None:
                break
            assert len(page.rows) == limit
        assert ids(found) == ids(ordered(records, sort, catalogue.fields()))

    def test_cursor_of_another_query_is_refused(self, catalogue: Catalogue) -> None:
        """A cursor only fits the query and sort it came from."""
        cursor = catalogue.search(Query(sort=(Sort("path"),), limit=3)).next_cursor
        assert cursor is not None
        with pytest.raises(QueryError, match="another query"):
            catalogue.search(Query(sort=(Sort("bytes"),), limit=3, cursor=cursor))
        with pytest.raises(QueryError, match="another query"):
            catalogue.search(Query(Eq("tier", "A"), sort=(Sort("path"),), limit=3, cursor=cursor))
        with pytest.raises(QueryError, match="no cursor"):
            catalogue.search(Query(sort=(Sort("path"),), limit=3, cursor="garbage!"))

    def test_columns(self, catalogue: Catalogue) -> None:
        """object_id and path come first, then what was asked for, by whatever name."""
        page = catalogue.search(Query(Eq("path", "or"), columns=("if", "features.snr", "path_bytes")))
        assert list(page.rows[0]) == ["object_id", "path", "interestingness", "snr", "path_bytes"]
        assert page.rows[0]["path_bytes"] == b"or"
        whole = catalogue.search(Query(Eq("path", "or"))).rows[0]
        assert {"path_bytes", "flag_details"}.isdisjoint(whole)
        assert {"snr", "flags", "tier"} <= set(whole)

    def test_facets(self, catalogue: Catalogue) -> None:
        """Counts, the most frequent first, ties by value; each element of a list; nulls left out."""
        assert catalogue.facets("tier") == TIERS
        assert catalogue.facets("flag") == [("saturated", 5), ("blank", 4), ("Blank", 2), ("truncated", 2)]
        assert catalogue.facets("plate") == [("Plate", 5), ("plate", 5), ("PLATE", 4)]
        assert catalogue.facets("row", limit=2) == [(1, 6), (2, 6)]
        assert catalogue.facets("plate", filters=Eq("flags", "truncated")) == []
        assert catalogue.facets("features.ImageQuality_MeanIntensity") == []

    def test_histogram(self, catalogue: Catalogue, records: list[Row]) -> None:
        """Half-open bins but for the last; every value once; nothing for no values, one bin for equal ones."""
        bins = catalogue.histogram("interestingness", bins=4)
        assert [(b.low, b.high) for b in bins] == [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)]
        scores = [row["interestingness"] for row in records if row["interestingness"] is not None]
        assert [b.count for b in bins] == [
            sum(low <= s < high for s in scores) for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.01))
        ]
        assert catalogue.histogram("features.ImageQuality_MeanIntensity") == []
        [single] = catalogue.histogram("bytes", bins=5, filters=Eq("bytes", 7))
        assert (single.low, single.high, single.count) == (7, 7, 3)

    def test_percentiles(self, catalogue: Catalogue) -> None:
        """Linear interpolation; None without values."""
        found = catalogue.percentiles("row", percents=(0, 25, 50, 100))
        assert found == {0: pytest.approx(1), 25: pytest.approx(1), 50: pytest.approx(2), 100: pytest.approx(3)}
        assert catalogue.percentiles("features.ImageQuality_MeanIntensity", percents=(50,)) == {50: None}

    def test_stats(self, catalogue: Catalogue) -> None:
        """For all, by a field, by the elements of a list; groups in order; a group without values isn't there."""
        [whole] = catalogue.stats("row")
        assert (whole.group, whole.count, whole.minimum, whole.maximum) == (None, 18, 1, 3)
        assert whole.mean == pytest.approx(2)
        assert whole.sd == pytest.approx((2 / 3) ** 0.5)
        by_tier = catalogue.stats("interestingness", by="tier")
        assert [(s.group, s.minimum) for s in by_tier] == [("A", 0.75), ("B", 0.5), ("C", 0.25), ("D", 0.0)]
        by_flag = catalogue.stats("row", by="flag")
        assert [(s.group, s.count) for s in by_flag] == [("Blank", 2), ("blank", 4), ("saturated", 5), ("truncated", 2)]
        [none] = catalogue.stats("features.ImageQuality_MeanIntensity")
        assert (none.count, none.minimum, none.mean, none.sd) == (0, None, None, None)
        [far] = catalogue.stats("snr", filters=Range("snr", gt=1e200))
        assert (far.count, far.maximum, far.sd) == (2, 1e300, 0)
        [beyond] = catalogue.stats("snr")
        assert (beyond.minimum, beyond.maximum, beyond.sd) == (-0.5, 1e300, math.inf)
        [near] = catalogue.stats("snr", filters=Range("snr", gte=5, lt=6))
        assert (near.count, near.minimum, near.maximum) == (6, 5.0, 5.000000000000001)
        assert near.sd == pytest.approx(8.881784197001252e-16 * (2 / 9) ** 0.5)

    @pytest.mark.parametrize("field", ["tier", "flags", "path_bytes"])
    def test_numbers_of_what_has_none(self, catalogue: Catalogue, field: str) -> None:
        """Text has no histogram, percentiles or statistics."""
        for call in (catalogue.histogram, catalogue.percentiles, catalogue.stats):
            with pytest.raises(QueryError, match=field):
                call(field)

    def test_unknown_names_are_refused(self, catalogue: Catalogue) -> None:
        """Everywhere a field is named, and with the nearest known one."""
        calls: list[Any] = [
            lambda: catalogue.count(Eq("teir", "A")),
            lambda: catalogue.search(Query(sort=(Sort("teir"),))),
            lambda: catalogue.search(Query(columns=("teir",))),
            lambda: catalogue.facets("teir"),
            lambda: catalogue.stats("row", by="teir"),
            lambda: catalogue.batches(Query(columns=("teir",))),
        ]
        for call in calls:
            with pytest.raises(QueryError, match="did you mean 'tier'"):
                call()

    @pytest.mark.parametrize("limit", [None, 0, -1, 10_001])
    def test_page_limits(self, catalogue: Catalogue, limit: int | None) -> None:
        """A page has bounds."""
        with pytest.raises(QueryError, match="limit"):
            catalogue.search(Query(limit=limit))

    @pytest.mark.parametrize("field", ["flags", "path_bytes"])
    def test_no_order_no_sort(self, catalogue: Catalogue, field: str) -> None:
        """Lists and bytes can't be sort keys."""
        with pytest.raises(QueryError, match=field):
            catalogue.search(Query(sort=(Sort(field),)))

    def test_values_never_become_code(self, catalogue: Catalogue) -> None:
        """Quotes, comments and wildcards in values are only values."""
        for nasty in ("' OR 1=1 --", '"; DROP TABLE objects; --', "%", "_", "*", "?", "\\", "\0", "$1", "{{x}}"):
            assert catalogue.count(Eq("tier", nasty)) == 0
            assert catalogue.count(Prefix("tier", nasty)) == 0
            assert catalogue.count(In("flags", (nasty,))) == 0


def ids(rows: Any) -> list[str]:
    """Return the object_id of every row."""
    return [row["object_id"] for row in rows]
