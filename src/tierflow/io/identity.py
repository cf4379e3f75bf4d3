"""Names of files as the system stores them, as people see them, and the identity that follows from them."""

from __future__ import annotations

import hashlib

ID_DIGITS = 32


def object_id(dataset: str, path: str | bytes) -> str:
    """Return the id of an object: the first 32 hex digits of SHA-256 over dataset + "/" + path.

    Args:
        dataset: Name of the data set.
        path: Path relative to the input root with "/" between parts: the file system's bytes, or text in which
            undecodable bytes are surrogates (as `os.fsdecode` gives).

    >>> object_id("plate 7", "A/B03_s1.tif")
    '1ea7e46918870deb2da6e5924e05e6f3'
    """
    raw = path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")
    start = dataset.encode("utf-8", "surrogateescape") + b"/"
    return hashlib.sha256(start + raw).hexdigest()[:ID_DIGITS]


def display_path(path: bytes) -> str:
    r"""Return a path as valid text: bytes that aren't UTF-8 become \xNN, everything else stays, newlines included.

    Two different paths may look the same; the bytes (column `path_bytes`) are what opens the file.

    >>> display_path(b"caf\xc3\xa9/\xff.tif")
    'café/\\xff.tif'
    """
    return path.decode("utf-8", "backslashreplace")
