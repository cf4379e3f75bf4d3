"""When a file counts as complete: the decision alone, without files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.config_stream import Complete as Settings
from tierflow.stream.complete import Complete, Facts, Wait, decide, in_words, sentinel_of

NOW = 1_800_000_000.0


def facts(age: float, *, size: int = 10, closed: bool = False) -> Facts:
    return Facts(size, NOW - age, closed)


def test_closed_is_enough_quiet_is_the_other_way():
    settings = Settings(quiet_s=2)
    assert decide(facts(0, closed=True), NOW, settings) == Complete()
    assert decide(facts(2), NOW, settings) == Complete()
    answer = decide(facts(0.5), NOW, settings)
    assert isinstance(answer, Wait)
    assert answer.until == pytest.approx(NOW + 1.5)


def test_min_age_holds_for_closed_files_too():
    settings = Settings(quiet_s=2, min_age_s=5)
    answer = decide(facts(3, closed=True), NOW, settings)
    assert isinstance(answer, Wait)
    assert answer.until == pytest.approx(NOW + 2)
    assert decide(facts(5, closed=True), NOW, settings) == Complete()


def test_dear_looks_are_made_in_order_and_only_when_all_else_is_fine():
    looked = []

    def look(name, answer):
        return lambda: looked.append(name) or answer

    lacks = [look("first", None), look("second", "no end"), look("third", "never asked")]
    decide(facts(0.1), NOW, Settings(), lacks=lacks)
    assert looked == []
    answer = decide(facts(3), NOW, Settings(), lacks=lacks)
    assert isinstance(answer, Wait)
    assert (answer.reason, looked) == ("no end", ["first", "second"])


def test_given_up_with_what_was_missing_but_not_while_it_grows():
    settings = Settings(give_up_s=3600)
    assert decide(facts(3600), NOW, settings, lacks=[lambda: "no end"]) == Complete(
        "no end, after 1 h without a change"
    )
    assert isinstance(decide(facts(0.5), NOW, settings, lacks=[lambda: "no end"]), Wait)


def test_without_bytes_neither_close_nor_quiet_counts():
    answer = decide(facts(10, size=0, closed=True), NOW, Settings())
    assert isinstance(answer, Wait)
    assert answer.reason == "the file has no bytes yet"
    assert isinstance(decide(facts(3600, size=0), NOW, Settings(give_up_s=3600)), Complete)


@given(
    age=st.floats(0, 10_000),
    closed=st.booleans(),
    size=st.integers(0, 3),
    quiet=st.floats(0, 100),
    least=st.floats(0, 100),
    missing=st.booleans(),
)
def test_every_wait_ends_later_than_now_and_none_outlasts_give_up(age, closed, size, quiet, least, missing):
    settings = Settings(quiet_s=quiet, min_age_s=least, give_up_s=5000)
    lacks = [lambda: "its end"] if missing else []
    answer = decide(facts(age, size=size, closed=closed), NOW, settings, lacks=lacks)
    if isinstance(answer, Wait):
        assert NOW < answer.until <= max(NOW - age + 5000, NOW + quiet + least) + 1e-6
    else:
        assert age >= least or size == 0
        assert closed or age >= quiet or size == 0
        assert (answer.missing is not None) == (missing or size == 0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 s"), (90, "1.5 min"), (3600, "1 h"), (5400, "1.5 h"), (61, "61 s")]
)
def test_durations_for_people(seconds, words):
    assert in_words(seconds) == words


def test_a_name_with_braces_is_no_pattern():
    assert sentinel_of("{stem}.tif", "{name}.done") == "{stem}.tif.done"
