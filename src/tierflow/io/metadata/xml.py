"""Reading XML from files that nobody vouches for."""

from __future__ import annotations

from xml.etree import ElementTree

# OME-XML of a whole plate is repeated in each of its files; above this it isn't worth the memory of its tree.
MAX_CHARACTERS = 16_000_000


def parse(text: str) -> ElementTree.Element | None:
    """Return the root element, or None for text that isn't well-formed XML or isn't safe to read.

    A document type is refused: it is how a few lines expand to gigabytes or fetch other files, and no microscope
    writes one.

    Args:
        text: XML, decoded.
    """
    if len(text) > MAX_CHARACTERS or "<!DOCTYPE" in text:
        return None
    try:
        # Nothing that expands or fetches can occur without a document type.
        return ElementTree.fromstring(text)  # noqa: S314
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None


def local_name(element: ElementTree.Element) -> str:
    """Return the tag without its namespace, which differs between OME versions."""
    return str(element.tag).rpartition("}")[2]
