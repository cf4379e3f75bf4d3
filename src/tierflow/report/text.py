"""Numbers, sizes and names as a person reads them."""

from __future__ import annotations

import math
import unicodedata

NONE = "\u2013"
TIMES = "\u00d7"
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def printable(text: str) -> str:
    r"""Return text in which every character is visible and none changes the order of its neighbours.

    Control characters, line breaks, lone surrogates and bidirectional marks (which make `gnp.exe` look like `exe.png`)
    become escapes such as ``\x0a``.

    >>> printable("a\nb")
    'a\\x0ab'
    """
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if unicodedata.category(character)[0] != "C":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with `digits` significant digits, thousands apart; a dash for none.

    >>> number(12345.678), number(0.000123), number(None) == NONE
    ('12,346', '0.000123', True)
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent > 9:
        mantissa = f"{value / 10**exponent:.{max(digits - 2, 0)}f}".rstrip("0").rstrip(".")
        return f"{mantissa} {TIMES} 10{str(exponent).translate(_SUPERSCRIPT)}"
    decimals = max(digits - 1 - exponent, 0)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def score(value: float | None) -> str:
    """Return an interestingness with three decimals, so that columns of them line up; empty for none."""
    return "" if value is None or not math.isfinite(value) else f"{value:.3f}"


def count(value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}"


def counted(value: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 image`, `1,204 images`."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def size(value: float) -> str:
    """Return bytes in decimal units with three significant digits: 1 kB is 1000 B."""
    amount = float(value)
    unit = 0
    while abs(amount) >= 999.5 and unit < len(_SIZES) - 1:
        amount /= 1000
        unit += 1
    return f"{number(amount, 3)} {_SIZES[unit]}"


def share(part: float, whole: float) -> str:
    """Return a share in per cent; never `0 %` for some nor `100 %` for nearly all.

    >>> share(1, 1000000), share(999999, 1000000), share(1, 3), share(0, 0)
    ('<0.1 %', '>99.9 %', '33.3 %', '0 %')
    """
    if not whole or not part:
        return "0 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f}".removesuffix(".0") + " %"


def listed(items: list[str], last: str = "and") -> str:
    """Return items as in a sentence: `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""
