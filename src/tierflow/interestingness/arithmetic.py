"""A small language of arithmetic on arrays: parsed by Python's grammar, evaluated by walking the tree.

Only the node types and functions listed here are known; there is no attribute, no subscript, no assignment, and no way
to reach Python's own names.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.interestingness.logistic import logistic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

MAX_CHARACTERS = 2000
MAX_PARTS = 300
MAX_DEPTH = 40

Array = Any  # a number, or an array of shape (plane,)


def _least(*values: Array) -> Array:
    return _folded(np.minimum, values)


def _most(*values: Array) -> Array:
    return _folded(np.maximum, values)


def _folded(join: Callable[[Array, Array], Array], values: tuple[Array, ...]) -> Array:
    result = values[0]
    for value in values[1:]:
        result = join(result, value)
    return result


def _logistic(x: Array, k: Array, x0: Array) -> Array:
    return logistic(x, k=k, x0=x0)


# Function, fewest and most arguments.
FUNCTIONS: dict[str, tuple[Callable[..., Array], int, int]] = {
    "min": (_least, 2, 20),
    "max": (_most, 2, 20),
    "abs": (np.abs, 1, 1),
    "log": (np.log, 1, 1),
    "exp": (np.exp, 1, 1),
    "sqrt": (np.sqrt, 1, 1),
    "clip": (np.clip, 3, 3),
    "where": (np.where, 3, 3),
    "logistic": (_logistic, 3, 3),
}
_BINARY: dict[type[ast.operator], Callable[[Array, Array], Array]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.Pow: np.float_power,
}
_UNARY: dict[type[ast.unaryop], Callable[[Array], Array]] = {
    ast.UAdd: np.positive,
    ast.USub: np.negative,
    ast.Not: np.logical_not,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Array, Array], Array]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was checked.

    Attributes:
        body: Its syntax tree.
        features: Features whose values it names, in order of appearance.
        compared: Features of which it uses z('...').
    """

    body: ast.expr
    features: tuple[str, ...]
    compared: tuple[str, ...]

    def evaluate(self, features: Mapping[str, NDArray[np.float64]], z: Mapping[str, NDArray[np.float64]]) -> Array:
        """Return the value of the formula.

        Args:
            features: Values by feature name, each of shape (plane,).
            z: Robust z by feature name, likewise.

        Returns:
            Shape (plane,), or a number where the formula names no feature.
        """
        return _value(self.body, features, z)


def parse(text: str) -> Formula:
    """Parse and check a formula.

    Raises:
        ValueError: saying what is wrong and what is allowed.

    >>> parse("clip(2 * mid_band_share, 0, 1)").features
    ('mid_band_share',)
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters long, at most {MAX_CHARACTERS} are allowed: write an own function")
    if "#" in text:
        raise ValueError("comments are not allowed in a formula: write them as YAML comments above it")
    try:
        # Line breaks and blanks come from YAML's block texts and mean nothing.
        body = ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a formula: {getattr(error, 'msg', error)}") from error
    nodes = sorted(ast.walk(body), key=lambda node: getattr(node, "col_offset", 0))
    if len(nodes) > MAX_PARTS:
        raise ValueError(f"{len(nodes)} parts, at most {MAX_PARTS} are allowed: write an own function")
    _check(body, depth=0)
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    names = [node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called]
    compared = [_z_feature(node) for node in nodes if isinstance(node, ast.Call) and _called(node) == "z"]
    return Formula(body=body, features=tuple(dict.fromkeys(names)), compared=tuple(dict.fromkeys(compared)))


def _check(node: ast.expr, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep: write an own function")
    for part in _parts(node):
        _check(part, depth=depth + 1)


def _parts(node: ast.expr) -> list[ast.expr]:
    """Return the operands of a node after checking that the node is allowed."""
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return [operand]
        case ast.BoolOp(values=values):
            return values
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
            return [left, *others]
        case ast.Call():
            return _arguments(node)
        case ast.Name():
            return []
        case ast.Constant(value=bool() | int() | float() as value) if _is_plain(value):
            return []
    raise ValueError(
        f"{_shown(node)} is not allowed: use feature names, numbers, + - * / **, comparisons, and, or, not, "
        f"and the functions {', '.join(FUNCTIONS)} and z('feature')"
    )


def _arguments(node: ast.Call) -> list[ast.expr]:
    name = _called(node)
    if name == "z":
        _z_feature(node)
        return []
    if name not in FUNCTIONS:
        near = get_close_matches(name, FUNCTIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f": use {', '.join(FUNCTIONS)} or z"
        raise ValueError(f"no function {name!r}{hint}")
    _, fewest, most = FUNCTIONS[name]
    if node.keywords or not fewest <= len(node.args) <= most or any(isinstance(a, ast.Starred) for a in node.args):
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise ValueError(f"{name} takes {wanted} values, as in {name}({', '.join('abcdefgh'[:fewest])})")
    return node.args


def _called(node: ast.Call) -> str:
    if not isinstance(node.func, ast.Name):
        raise ValueError(f"{_shown(node)} is not allowed: only functions are called, by their names")
    return node.func.id


def _z_feature(node: ast.Call) -> str:
    match node:
        case ast.Call(args=[ast.Constant(value=str() as feature)], keywords=[]):
            return feature
        case ast.Call(args=[ast.Name(id=feature)], keywords=[]):
            return feature
    raise ValueError("z takes the name of one feature, as in z('mid_band_share')")


def _is_plain(value: bool | float) -> bool:
    # A whole number of a thousand digits is no number of a formula, and no float either.
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _shown(node: ast.AST) -> str:
    text = ast.unparse(node)
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _value(node: ast.expr, features: Mapping[str, NDArray[np.float64]], z: Mapping[str, NDArray[np.float64]]) -> Array:
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return features[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, features, z), _value(right, features, z))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_value(operand, features, z))
        case ast.BoolOp(op=op, values=parts):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return _folded(join, tuple(_value(part, features, z) for part in parts))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(part, features, z) for part in (left, *others)]
            steps = zip(ops, values[:-1], values[1:], strict=True)
            return _folded(np.logical_and, tuple(_COMPARE[type(op)](a, b) for op, a, b in steps))
        case ast.Call():
            name = _called(node)
            if name == "z":
                return z[_z_feature(node)]
            return FUNCTIONS[name][0](*(_value(part, features, z) for part in node.args))
    raise AssertionError(f"unchecked part {type(node).__name__}")
