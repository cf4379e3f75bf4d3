"""The formula language: what it computes and what it refuses."""

import numpy as np
import pytest

from tierflow.errors import ConfigError
from tierflow.interestingness.arithmetic import MAX_CHARACTERS, parse
from tierflow.interestingness.base import PlaneTable
from tierflow.interestingness.expression import Expression, ExpressionParameters


def planes(**features):
    values = {name: np.array(column, dtype=float) for name, column in features.items()}
    size = len(next(iter(values.values())))
    return PlaneTable(
        features=values,
        median={name: np.full(size, 2.0) for name in values},
        mad={name: np.full(size, 0.5) for name in values},
        object_id=np.array([str(n) for n in range(size)], dtype=object),
    )


def score(text, table):
    return Expression(ExpressionParameters(expression=text)).score(table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", [1, 2, 4]),
        ("a + 2 * b - b / 2 ** 2", [1 + 2 * 3 - 0.75, 2 + 2 * 5 - 1.25, 4 + 2 * 7 - 1.75]),
        ("-a", [-1, -2, -4]),
        ("min(a, b, 2)", [1, 2, 2]),
        ("max(a, 2)", [2, 2, 4]),
        ("abs(a - 2)", [1, 0, 2]),
        ("exp(log(a))", [1, 2, 4]),
        ("sqrt(a * a)", [1, 2, 4]),
        ("clip(a, 1.5, 3)", [1.5, 2, 3]),
        ("where(a > 1, 10, 20)", [20, 10, 10]),
        ("1 < a <= 2", [0, 1, 0]),
        ("a == 1 or b >= 7", [1, 0, 1]),
        ("not (a == 1 and b == 3)", [0, 1, 1]),
        ("a != 2", [1, 0, 1]),
        ("z('a')", [-2, 0, 4]),
        ("z(a)", [-2, 0, 4]),
        ("logistic(a, -4.5, 2)", [1 / (1 + np.exp(-4.5)), 0.5, 1 / (1 + np.exp(9))]),
        ("0.25", [0.25, 0.25, 0.25]),
        ("\n  a\n  + 1\n", [2, 3, 5]),
    ],
)
def test_values(text, expected):
    np.testing.assert_allclose(score(text, planes(a=[1, 2, 4], b=[3, 5, 7])), expected)


def test_missing_features_give_no_value_even_in_the_other_branch():
    table = planes(a=[1, np.nan], b=[np.nan, 3])
    assert np.isnan(score("where(a > 0, 1, b)", table)).all()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("__import__('os').system('true')", "only functions are called"),
        ("().__class__", "not allowed"),
        ("a.real", "not allowed"),
        ("a[0]", "not allowed"),
        ("[x for x in a]", "not allowed"),
        ("(lambda: 1)()", "only functions are called"),
        ("eval('1')", "no function 'eval'"),
        ("sqr(a)", "did you mean sqrt?"),
        ("'text'", "not allowed"),
        ("1j", "not allowed"),
        ("a if b else 1", "not allowed"),
        ("a // 2", "not allowed"),
        ("a @ b", "not allowed"),
        ("(b := a)", "not allowed"),
        ("f'{a}'", "not allowed"),
        ("clip(a, 0)", "clip takes 3 values"),
        ("clip(*a)", "clip takes 3 values"),
        ("clip(a, 0, hi=1)", "clip takes 3 values"),
        ("z('a' + 'b')", "z takes the name of one feature"),
        ("z()", "z takes the name of one feature"),
        ("a +", "not a formula"),
        ("a)+(b", "not a formula"),
        ("a # note", "comments"),
        ("", "not a formula"),
        ("a\x00", "not a formula"),
        ("1" * 400, "not allowed"),
        ("a + " * 400 + "a", "parts"),
        ("-" * 60 + "a", "nested"),
        ("a " * MAX_CHARACTERS, "characters long"),
        ("(" * 300 + "a" + ")" * 300, "not a formula"),
    ],
)
def test_refusals_name_the_key_and_the_remedy(text, says):
    with pytest.raises(ConfigError, match=r"score\.parameters\.expression") as error:
        Expression(ExpressionParameters(expression=text))
    assert says in str(error.value)


def test_huge_powers_are_numbers_not_a_hanging_program():
    assert np.isinf(score("9 ** 9 ** 9 ** 9", planes(a=[1]))).all()


def test_features_are_listed_once_in_order():
    formula = parse("b + a * b + z('c') + log(a)")
    assert formula.features == ("b", "a")
    assert formula.compared == ("c",)


def test_explains_with_the_numbers():
    table = planes(a=[1, 2], b=[3, 5])
    function = Expression(ExpressionParameters(expression="a / b"))
    assert function.explain(table, np.array([1]), np.array([0.4])) == ["a / b = 0.4 with a = 2, b = 5"]
