import pytest

from tierflow.catalogue.elastic.compile import after, order_by, where
from tierflow.catalogue.elastic.folding import containing
from tierflow.catalogue.fields import Fields
from tierflow.catalogue.query import And, Contains, Eq, Exists, In, Not, Or, Prefix, Range, Sort, check
from tierflow.catalogue.schema import catalogue_schema
from tierflow.errors import QueryError

FIELDS = Fields.of_schema(catalogue_schema({"snr": ""}))
A, B, C = Eq("tier", "A"), Eq("well", "B01"), Eq("plate", "P")
TERM = {"A": {"term": {"tier": {"value": "A"}}}, "B": {"term": {"well": {"value": "B01"}}}}
TERM_C = {"term": {"plate": {"value": "P"}}}


def compiled(filters):
    return where(check(filters, FIELDS), FIELDS)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (And(()), {"match_all": {}}),
        (Or(()), {"match_none": {}}),
        (Not(And(())), {"match_none": {}}),
        (A, TERM["A"]),
        (Not(A), {"bool": {"must_not": [TERM["A"]]}}),
        (Not(Not(A)), TERM["A"]),
        (And((A, Not(B))), {"bool": {"filter": [TERM["A"]], "must_not": [TERM["B"]]}}),
        (Not(Or((A, B))), {"bool": {"must_not": [TERM["A"], TERM["B"]]}}),
        (
            Not(And((A, B))),
            {
                "bool": {
                    "should": [{"bool": {"must_not": [TERM["A"]]}}, {"bool": {"must_not": [TERM["B"]]}}],
                    "minimum_should_match": 1,
                }
            },
        ),
        (
            And((A, Or((B, C)))),
            {"bool": {"should": [TERM["B"], TERM_C], "minimum_should_match": 1, "filter": [TERM["A"]]}},
        ),
        (Exists("flag"), {"exists": {"field": "flags"}}),
        (In("site", ("1", "1", "2")), {"terms": {"site": ["1", "2"]}}),
        (In("row", (2**40, -(2**40))), {"match_none": {}}),
        (Range("row", gt=3, lt=2**40), {"range": {"row": {"gt": 3}}}),
        (Range("row", lt=-(2**40)), {"match_none": {}}),
        (Range("row", lte=2**40), {"exists": {"field": "row"}}),
        (Range("bytes", gt=2**53), {"range": {"bytes": {"gt": 2**53}}}),
        (Prefix("path", "a*"), {"prefix": {"path": {"value": "a*"}}}),
        (Prefix("path", ""), {"exists": {"field": "path"}}),
        (Prefix("path", "x" * 33_000), {"match_none": {}}),
        (Eq("path", "x" * 33_000), {"match_none": {}}),
    ],
)
def test_filters(filters, expected):
    assert compiled(filters) == expected


def test_zero_has_no_sign():
    assert repr(compiled(Eq("snr", -0.0))) == repr({"term": {"features.snr": {"value": 0.0}}})
    assert repr(compiled(Range("snr", gt=-0.0))) == repr({"range": {"features.snr": {"gt": 0.0}}})


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("a.B", ".*[Aa]\\.[Bb].*"),
        ("k", ".*[Kk\u212a].*"),
        ("ß", ".*[ß\u1e9e].*"),
        ("I", ".*[Ii\u0130].*"),
        ("\u03c3", ".*[\u03a3\u03c3].*"),
        ("\u03c2", ".*\u03c2.*"),
        ("1_\n", ".*1\\_\n.*"),
        ('<@&~#">', '.*\\<\\@\\&\\~\\#\\"\\>.*'),
        ("日", ".*日.*"),
    ],
)
def test_contains_is_a_class_per_letter(text, pattern):
    assert containing(text) == pattern


def test_too_long_texts_are_refused_with_the_remedy():
    with pytest.raises(QueryError, match=r"too long \(6000 characters.*shorter part"):
        compiled(Contains("path", "ab" * 3000))
    for long in (Range("path", gt="y" * 901), Prefix("path", "y" * 901)):
        with pytest.raises(QueryError, match=r"'path'.*901 characters.*900 bytes at most"):
            compiled(long)


def test_thousands_of_values_are_parted():
    values = tuple(str(number) for number in range(60_000))
    parts = compiled(In("path", values))["bool"]["should"]
    assert [len(part["terms"]["path"]) for part in parts] == [50_000, 10_000]
    assert tuple(value for part in parts for value in part["terms"]["path"]) == values


def depth(tree):
    if isinstance(tree, dict):
        return ("bool" in tree) + max((depth(value) for value in tree.values()), default=0)
    return max((depth(value) for value in tree), default=0) if isinstance(tree, list) else 0


def test_deep_brackets_stay_below_the_servers_limit():
    filters = A
    for level in range(48):
        filters = Not(And((B, filters))) if level % 2 else Or((C, filters))
    assert depth(compiled(filters)) <= 30


def test_a_page_begins_after_nulls_as_the_server_sees_them():
    sort = (Sort("plate"), Sort("column"), Sort("bytes", descending=True), Sort("features.snr"))
    values = after([None, None, None, None, "id", "run"], sort, FIELDS)
    assert values == [None, 2**63 - 1, -(2**63), "Infinity", "id", "run"]
    assert after(["p", 2, 2**53 + 1, 0.5, "id", None], sort, FIELDS) == ["p", 2, 2**53 + 1, 0.5, "id", None]


def test_order_ends_with_the_tie_breakers():
    [plate, row, object_id, run] = order_by((Sort("plate", descending=True), Sort("row")), FIELDS)
    assert plate == {"plate": {"order": "desc", "missing": "_last", "unmapped_type": "keyword"}}
    assert row["row"]["numeric_type"] == "long"
    assert [list(object_id), list(run)] == [["object_id"], ["run"]]
