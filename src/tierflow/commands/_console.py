"""Where commands print for people."""

from __future__ import annotations

import sys

from rich.console import Console

PLAIN_WIDTH = 160


def console(*, error: bool = False, markup: bool = True) -> Console:
    """Return standard output or standard error.

    Args:
        error: Standard error.
        markup: Whether square brackets in a text are rich's.
    """
    stream = sys.stderr if error else sys.stdout
    # Without a terminal nothing says how wide the reader's page is: don't fold or cut cells for it.
    return Console(file=stream, markup=markup, width=None if stream.isatty() else PLAIN_WIDTH)
