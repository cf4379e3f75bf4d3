import pytest

from tierflow.catalogue import cursor
from tierflow.catalogue.fields import Fields
from tierflow.catalogue.query import EVERYTHING, Contains, Eq, In, Prefix, Range, Sort, check
from tierflow.catalogue.schema import BASE_COLUMNS, catalogue_schema, check_feature_names
from tierflow.errors import ConfigError, QueryError

FIELDS = Fields.of_schema(catalogue_schema({"snr": "count", "Weird Name": ""}, histogram=True))


def test_empty_filters_are_refused():
    with pytest.raises(QueryError, match="at least one"):
        In("tier", ())
    with pytest.raises(QueryError, match="give gt, gte, lt or lte"):
        Range("tier")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Eq("if", 1), Eq("interestingness", 1.0)),
        (Eq("snr", "5"), Eq("features.snr", 5.0)),
        (Eq("site", 2), Eq("site", "2")),
        (Eq("column", 2.0), Eq("column", 2)),
        (Range("column", gt=2.5), Range("column", gt=2)),
        (Range("column", gte=2.5), Range("column", gte=3)),
        (Range("column", lt=2.5), Range("column", lt=3)),
        (Range("column", lte=2.5), Range("column", lte=2)),
        (Range("bytes", gt=2**53 + 1), Range("bytes", gt=2**53 + 1)),
        (Range("bytes", lt=1e300), Range("bytes", lt=2**63 - 1)),
        (Eq("path", "caf\udce9"), Eq("path", "caf\\xe9")),
        (Prefix("path", "\udcff"), Prefix("path", "\\xff")),
        (Contains("path", "\ud800"), Contains("path", "\\ud800")),
    ],
)
def test_check_gives_full_names_and_right_types(given, expected):
    checked = check(given, FIELDS)
    assert checked == expected
    assert repr(checked) == repr(expected)


@pytest.mark.parametrize(
    "given",
    [
        Eq("column", "two"),
        Eq("column", float("inf")),
        Eq("tier", 0.5),
        Range("flags", gt="a"),
        Prefix("bytes", "1"),
        Contains("snr", "1"),
        Eq("histogram", 1),
        Eq("flag_details", "x"),
    ],
    ids=str,
)
def test_check_refuses_what_does_not_fit(given):
    with pytest.raises(QueryError, match="field"):
        check(given, FIELDS)


def test_fields_carry_unit_and_meaning():
    assert FIELDS["features.snr"].unit == "count"
    assert FIELDS["features.Weird Name"].column == "Weird Name"
    assert "size of the file" in FIELDS["bytes"].about
    assert list(FIELDS)[:2] == ["object_id", "path"]


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("Tier", "tier"), ("intrestingness", "interestingness"), ("SNR", "features.snr"), ("flgas", "flags")],
)
def test_near_names_are_suggested(wrong, near):
    with pytest.raises(QueryError, match=f"did you mean '{near}'"):
        FIELDS.find(wrong)


@pytest.mark.parametrize("name", ["tier", "Tier", "histogram", "path"])
def test_features_named_like_columns_are_refused(name):
    with pytest.raises(ConfigError, match="rename it"):
        check_feature_names(["snr", name])


def test_features_that_differ_by_case_are_refused():
    with pytest.raises(ConfigError, match="the feature 'snr'"):
        check_feature_names(["snr", "SNR"])


def test_first_columns_identify_the_object():
    assert BASE_COLUMNS[:2] == ["object_id", "path"]
    assert len(set(BASE_COLUMNS)) == len(BASE_COLUMNS)


SORT = (Sort("interestingness", descending=True), Sort("path"))


@pytest.mark.parametrize(
    "values", [[0.1 + 0.2, 'ü"\n', "ab", "r"], [None, None, "ab", None], [2**53 + 1, "", "ab", "r"]]
)
def test_cursors_keep_their_values(values):
    text = cursor.encode(values, sort=SORT, filters=EVERYTHING)
    assert text.isascii()
    assert not set(text) & set(" /+=\n")
    assert cursor.decode(text, sort=SORT, filters=EVERYTHING) == values


@pytest.mark.parametrize("text", ["", "x", "####", "é", "bnVsbA", "e30", "W10", "WzFd", '"', "NQ"])
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(QueryError, match="cursor"):
        cursor.decode(text, sort=SORT, filters=EVERYTHING)
