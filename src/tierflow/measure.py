"""From a file to the rows of the extract table: what the step `extract` and the command `measure` share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tierflow import plugins, tables
from tierflow.errors import ConfigError, ObjectError, TryAgainError, UnmeasurableError, is_passing
from tierflow.features.base import FeatureSettings
from tierflow.io.readers import planes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tierflow.config import Extract
    from tierflow.features.base import Extractor, Measurement
    from tierflow.io.plane import Plane
    from tierflow.io.readers import Loaded

Row = dict[str, Any]
NO_PLANE = -1


def make_extractors(settings: Extract) -> list[Extractor]:
    """Build the extractors that the configuration names.

    Raises:
        ConfigError: if one isn't installed.
    """
    common = FeatureSettings(
        scales_px=settings.scales_px, pixel_size_um=settings.pixel_size_um, bit_depth=settings.bit_depth
    )
    return [plugins.load("extractors", name)(common) for name in settings.extractors]


def units_of(extractors: Sequence[Extractor]) -> dict[str, str]:
    """Return the unit by name of all features of some extractors, in column order.

    Raises:
        ConfigError: if two of them give the same name, or one that a column of the table has already.
    """
    units: dict[str, str] = {}
    for extractor in extractors:
        own = extractor.units()
        taken = sorted(own.keys() & (units.keys() | set(tables.EXTRACT_COLUMNS)))
        if taken:
            raise ConfigError(
                f"`extract.extractors`: {type(extractor).__name__} gives the feature {taken[0]!r}, which is taken: "
                "leave one of the extractors out"
            )
        units |= own
    return units


def measure_object(
    source: Loaded | ObjectError,
    *,
    object_id: str,
    extractors: Sequence[Extractor],
    max_plane_mb: int,
    pixel_size_um: float | None = None,
    beat: Callable[[], None] | None = None,
) -> list[Row]:
    """Measure every plane of an object.

    Args:
        source: The file, or why it could not be loaded.
        object_id: Written to every row.
        extractors: What is measured; each sees each plane once.
        max_plane_mb: Largest plane that is decoded, in MB.
        pixel_size_um: Edge of a pixel in um where the file doesn't say.
        beat: Called after every plane, and once for an object that can't be read.

    Returns:
        Rows with columns of `tables.EXTRACT_BASE` and the features: one per plane in the order of the file. An object
        that can't be read to its end has a last row with plane -1, status failed, flag and reason; a plane that can't
        be measured has these in its own row. At least one row.

    Raises:
        TryAgainError: if the storage goes away.
    """
    tell = beat or (lambda: None)
    if isinstance(source, ObjectError):
        tell()
        return [_failed({"object_id": object_id}, source)]
    common: Row = {"object_id": object_id, "sha256": source.sha256, "bytes": source.size}
    rows: list[Row] = []
    try:
        for number, plane in enumerate(planes(source, max_plane_mb=max_plane_mb)):
            described = common | _described(plane, number, pixel_size_um)
            try:
                rows.append(described | {"status": "ok"} | _measured(plane, extractors))
            except ObjectError as error:
                rows.append(_failed(described, error))
            tell()
    except ObjectError as error:
        tell()
        rows.append(_failed(common, error))
    return rows


def _failed(known: Row, error: ObjectError) -> Row:
    return {"plane": NO_PLANE} | known | {"status": "failed", "flag": error.flag, "reason": str(error)}


def _described(plane: Plane, number: int, pixel_size_um: float | None) -> Row:
    pixels = plane.pixels
    return {
        "plane": number,
        "series": plane.series,
        "c": plane.c,
        "z": plane.z,
        "t": plane.t,
        "channel_name": plane.channel_name,
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "samples": pixels.shape[2] if pixels.ndim > 2 else 1,
        "dtype": pixels.dtype.name,
        "pixel_size_um": plane.pixel_size_um if plane.pixel_size_um is not None else pixel_size_um,
    }


def _measured(plane: Plane, extractors: Sequence[Extractor]) -> Row:
    """Return the features of a plane, and the first histogram and pixel hash that an extractor gives."""
    row: Row = {}
    for extractor in extractors:
        features, found = _measure(plane, extractor)
        row |= features
        if row.get("histogram") is None:
            row["histogram"] = found.histogram
        row["pixel_hash"] = row.get("pixel_hash") or found.pixel_hash
    return row


def _measure(plane: Plane, extractor: Extractor) -> tuple[Row, Measurement]:
    """Call an extractor; one that fails in a way nobody foresaw spoils a plane, not a run.

    Returns:
        The features with null for what isn't finite, and the whole measurement.

    Raises:
        UnmeasurableError: if it can't measure the plane, or gives something that isn't a number.
        TryAgainError: if it met a full disk or storage that is away.
    """
    try:
        found = extractor.measure(plane)
        return {name: float(v) if math.isfinite(v) else None for name, v in found.features.items()}, found
    except (ObjectError, TryAgainError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_passing(error):
            raise TryAgainError(error.errno, f"{type(extractor).__name__}: {error.strerror}") from error
        text = " ".join(str(error).split())[:200]
        raise UnmeasurableError(
            f"extractor {type(extractor).__name__} failed with {type(error).__name__}: {text}; report it to "
            "its author, or leave it out of extract.extractors"
        ) from error
