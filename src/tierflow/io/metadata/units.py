"""Lengths and times as files write them, turned into um and ISO 8601."""

from __future__ import annotations

import math
import re
from datetime import datetime

_UM_PER_UNIT = {
    "pm": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "inch": 25_400.0,
    "in": 25_400.0,
    "m": 1e6,
}
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def to_um(length: float | str | None, unit: str | None) -> float | None:
    """Convert a pixel's edge to um.

    Args:
        length: Number, or text of one.
        unit: Unit as the file names it (um, micron, nm, mm ...).

    Returns:
        The length in um; None when it isn't a positive finite number or the unit isn't one of length, such as pixel.
    """
    # ImageJ writes the micro sign as an escape.
    name = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), unit or "").strip().lower()
    factor = _UM_PER_UNIT.get(name)
    try:
        value = float(length) if length is not None else math.nan
    except ValueError:
        return None
    if factor is None or not math.isfinite(value) or value <= 0:
        return None
    return value * factor


def to_iso(text: str | None) -> str | None:
    """Turn a time of acquisition into ISO 8601, or None when it isn't a time.

    Understands ISO 8601 itself and MetaMorph's `20230221 10:42:20.139`.
    """
    for reader in (datetime.fromisoformat, _metamorph_time):
        try:
            return reader((text or "").strip()).isoformat()
        except ValueError:
            continue
    return None


def _metamorph_time(text: str) -> datetime:
    # The instrument writes its local time and no zone; adding one would be a guess.
    return datetime.strptime(text, "%Y%m%d %H:%M:%S.%f")  # noqa: DTZ007
