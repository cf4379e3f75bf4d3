"""`Contains` as a regular expression: one class per letter, with every letter that has the same lower case."""

from __future__ import annotations

from functools import cache

from tierflow.catalogue.engine import connect
from tierflow.errors import QueryError

MAX_LETTERS = 500
"""The server's work grows with the square of the length: some thousand different letters keep it busy for minutes."""

# Every code point but surrogates, which no valid text holds; the engine has no text with NUL from chr().
_LETTERS = """
SELECT lower(chr(point::INTEGER)), string_agg(chr(point::INTEGER), '' ORDER BY point)
FROM range(1, 1114112) points(point)
WHERE NOT point BETWEEN 55296 AND 57343 GROUP BY 1 HAVING count(*) > 1
"""


@cache
def same_letters() -> dict[str, str]:
    """Return, by letter, all letters of the same lower case; letters without another case aren't there.

    The embedded engine is asked, so that both backends fold alike whatever edition of Unicode each is built with. It
    lowers code point by code point (İ to i, ẞ to ß, capital sigma never to a final one) and makes two letters of none.
    """
    with connect() as engine:
        groups = [letters for _, letters in engine.execute(_LETTERS).fetchall()]
    return {letter: letters for letters in groups for letter in letters}


def containing(text: str) -> str:
    """Return the pattern of all texts that contain a text, upper and lower case being the same.

    Args:
        text: What is looked for; every character stands for itself.

    Returns:
        A regular expression of Lucene's syntax without its optional operators. Its dot matches newlines too.

    Raises:
        QueryError: if the text is longer than `MAX_LETTERS`.
    """
    if len(text) > MAX_LETTERS:
        raise QueryError(
            f"the text to look for is too long ({len(text)} characters, beginning {text[:40]!r}; at most "
            f"{MAX_LETTERS}): look for a shorter part of it"
        )
    return f".*{''.join(map(_letter, text))}.*"


def _letter(letter: str) -> str:
    if letter in same_letters():
        return f"[{same_letters()[letter]}]"
    # A backslash before ASCII letters or digits would make a class of them.
    return f"\\{letter}" if letter.isascii() and letter.isprintable() and not letter.isalnum() else letter
