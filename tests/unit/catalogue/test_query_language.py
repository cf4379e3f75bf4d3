import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierflow.catalogue.fields import Fields
from tierflow.catalogue.language import format_filter, parse, simplify
from tierflow.catalogue.query import EVERYTHING, And, Contains, Eq, Exists, In, Not, Or, Prefix, Range, check
from tierflow.catalogue.schema import catalogue_schema
from tierflow.errors import QueryError

FIELDS = Fields.of_schema(catalogue_schema({"snr": "", "mid_band_share": "", 'odd "name": (x)': "", "or": ""}))
SEARCHABLE = [field for field in FIELDS.values() if field.kind != "opaque"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EVERYTHING),
        ("  ", EVERYTHING),
        ("*", EVERYTHING),
        ("tier:A", Eq("tier", "A")),
        ("tier : A", Eq("tier", "A")),
        ("tier:and", Eq("tier", "and")),
        ('tier:"A*"', Eq("tier", "A*")),
        ("well:B0*", Prefix("well", "B0")),
        ('path:"run 1/"*', Prefix("path", "run 1/")),
        ("reason:*ends*", Contains("reason", "ends")),
        ('reason:*"ends early"*', Contains("reason", "ends early")),
        ("flag:*", Exists("flags")),
        ("not flag:*", Not(Exists("flags"))),
        ("if>=.5", Range("interestingness", gte=0.5)),
        ("features.snr > 5", Range("features.snr", gt=5.0)),
        ("snr<-1e3", Range("features.snr", lt=-1000.0)),
        ("column<=3", Range("column", lte=3)),
        ("column:3", Eq("column", 3)),
        ("column:3.0", Eq("column", 3)),
        ("bytes:9007199254740993", Eq("bytes", 2**53 + 1)),
        ("acquired_at>=2024-03-01T10:00:00", Range("acquired_at", gte="2024-03-01T10:00:00")),
        ("tier:(A or B)", In("tier", ("A", "B"))),
        ("tier:(A)", Eq("tier", "A")),
        ("flag:(blank and saturated)", And((Eq("flags", "blank"), Eq("flags", "saturated")))),
        ("well:(B0* or C01)", Or((Prefix("well", "B0"), Eq("well", "C01")))),
        ("B01", Contains("path", "B01")),
        ('"my plate"', Contains("path", "my plate")),
        (r'"a \"b\" \\ c"', Contains("path", r'a "b" \ c')),
        ("tier:A B01", And((Eq("tier", "A"), Contains("path", "B01")))),
        ("tier:A AND B01", And((Eq("tier", "A"), Contains("path", "B01")))),
        ("a or b c", Or((Contains("path", "a"), And((Contains("path", "b"), Contains("path", "c")))))),
        ("(a or b) c", And((Or((Contains("path", "a"), Contains("path", "b"))), Contains("path", "c")))),
        ("not a b", And((Not(Contains("path", "a")), Contains("path", "b")))),
        ("not (a b)", Not(And((Contains("path", "a"), Contains("path", "b"))))),
        ("order notes andes", And(tuple(Contains("path", w) for w in ("order", "notes", "andes")))),
        ("or:5", Eq("features.or", 5.0)),
        ('"or">5', Range("features.or", gt=5.0)),
        (r'"odd \"name\": (x)":1', Eq('features.odd "name": (x)', 1.0)),
        ("größe", Contains("path", "größe")),
    ],
)
def test_what_is_written_is_what_is_meant(text, expected):
    assert parse(text, FIELDS) == expected


def test_the_example_of_the_manual():
    found = parse("tier:A well:B0* features.snr>5 flag:saturated", FIELDS)
    assert found == And(
        (Eq("tier", "A"), Prefix("well", "B0"), Range("features.snr", gt=5.0), Eq("flags", "saturated"))
    )


@pytest.mark.parametrize(
    ("text", "caret_at", "says"),
    [
        ("teir:A", 0, "unknown field 'teir': did you mean 'tier'?"),
        ("well:B01 Tier:A", 9, "did you mean 'tier'?"),
        ("features.snt>5", 0, "did you mean 'features.snr'?"),
        ("hue:red", 0, "expected one of object_id, path"),
        ("snr>abc", 4, "'abc' isn't one"),
        ("snr:nan", 4, "holds numbers"),
        ("snr:1e999", 4, "holds numbers"),
        ("snr:5*", 4, "compare it with"),
        ("column:2.5", 7, "whole numbers"),
        ("bytes:9223372036854775808", 6, "whole numbers"),
        ("flags>3", 6, "is a list"),
        ("path_bytes:x", 11, "can't be searched"),
        ("tier:", 5, "expected a value after tier:"),
        ("if>", 3, "expected a number or text after >"),
        ("if>5*", 3, "takes no *"),
        ("tier:(A B)", 8, "`or` or `and` between all values"),
        ("tier:(A or B and C)", 13, "`or` or `and` between all values"),
        ("tier:(A or", 10, "expected a value of tier"),
        ("tier:()", 6, "expected a value of tier"),
        ("(tier:A", 7, "closing bracket"),
        ("tier:A)", 6, "wasn't opened"),
        ("()", 1, "expected a word"),
        ("a and", 5, "expected a word"),
        ("or b", 0, "before 'or'"),
        ("not", 3, "expected a word"),
        (":A", 0, "expected a word"),
        ("foo*bar", 0, "only around a word"),
        ("well:B*1", 5, "at the end"),
        ("well:*B", 5, "around a value"),
        ('well:*"B"', 5, "after it too"),
        ('"open', 0, "isn't closed"),
        ('tier:A"B"', 6, "expected a space here"),
        ('tier:"A"B', 8, "expected a space here"),
        ("a\nteir:B", 2, "did you mean 'tier'"),
    ],
)
def test_errors_point_at_the_place(text, caret_at, says):
    with pytest.raises(QueryError) as caught:
        parse(text, FIELDS)
    message, shown, caret = str(caught.value).split("\n")
    assert says in message
    assert f"at character {caret_at + 1}:" in message
    assert shown == "  " + text.replace("\n", " ")
    assert caret == " " * (caret_at + 2) + "^"


@pytest.mark.parametrize("text", ["(" * 10_000 + "a" + ")" * 10_000, "not " * 10_000 + "a"])
def test_endless_nesting_is_refused(text):
    with pytest.raises(QueryError, match="nested"):
        parse(text, FIELDS)


def values_of(field):
    if field.kind in ("text", "texts"):
        return st.text(max_size=12)
    if field.kind == "integer":
        return st.integers(-(2**63) + 1, 2**63 - 1)
    return st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def leaves(draw):
    field = draw(st.sampled_from(SEARCHABLE))
    values = values_of(field)
    made = [
        st.builds(Eq, st.just(field.name), values),
        st.builds(In, st.just(field.name), st.lists(values, min_size=1, max_size=3).map(tuple)),
        st.just(Exists(field.name)),
    ]
    if field.kind in ("text", "texts"):
        made += [st.builds(kind, st.just(field.name), values) for kind in (Prefix, Contains)]
    if field.kind != "texts":
        bounds = st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), values, min_size=1)
        made.append(bounds.map(lambda given: Range(field.name, **given)))
    return draw(st.one_of(made))


FILTERS = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(FILTERS)
def test_what_is_formatted_is_parsed_again(filters):
    text = format_filter(filters)
    assert parse(text, FIELDS) == simplify(filters)
    assert format_filter(parse(text, FIELDS)) == text


@settings(max_examples=80, deadline=None)
@given(FILTERS)
def test_simplify_changes_nothing_twice_and_keeps_fields_valid(filters):
    assert simplify(simplify(filters)) == simplify(filters)
    assert check(filters, FIELDS) == filters


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from(list('ab* ()":<>=\\tier:A orndsn5\n')), max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text):
    try:
        found = parse(text, FIELDS)
    except QueryError as error:
        message, shown, caret = str(error).split("\n")
        assert "at character" in message
        assert caret.index("^") <= len(shown)
    else:
        assert parse(format_filter(found), FIELDS) == found
