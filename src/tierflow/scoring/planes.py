"""The measured planes of a shard beside the baseline of their groups, as interestingness functions see them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow.errors import ConfigError
from tierflow.interestingness.base import PlaneTable
from tierflow.scoring import columns
from tierflow.scoring.columns import compute
from tierflow.scoring.groups import group_codes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tierflow.config import Baseline
    from tierflow.scoring.groups import Key


def require_features(names: Iterable[str], available: Sequence[str], *, where: str) -> None:
    """Check that features exist.

    Raises:
        ConfigError: naming the first unknown one and the nearest that exist.
    """
    for name in names:
        if name not in available:
            near = get_close_matches(name, available, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"features are {', '.join(available)}"
            raise ConfigError(f"{where}: no feature {name!r}; {hint}")


def plane_table(
    planes: pa.Table,
    *,
    plates: pa.ChunkedArray[Any],
    channels: pa.ChunkedArray[Any],
    baseline: pa.Table,
    features: Sequence[str],
    settings: Baseline,
) -> PlaneTable:
    """Put planes and the baseline of their groups together.

    Args:
        planes: Extract table of planes that were measured, with `features`.
        plates: Plate of each plane.
        channels: Channel of each plane.
        baseline: Baseline table.
        features: Names to take over.
        settings: How groups are made, and how many planes they need.
    """
    group, keys = group_codes(plates, channels, by=settings.by)
    middle, spread = _looked_up(baseline, keys, features, min_planes=settings.min_planes)
    return PlaneTable(
        features={name: columns.floats(planes[name]) for name in features},
        median={name: middle[position][group] for position, name in enumerate(features)},
        mad={name: spread[position][group] for position, name in enumerate(features)},
        object_id=columns.texts(planes["object_id"]),
    )


def subset(planes: PlaneTable, rows: NDArray[np.int64]) -> PlaneTable:
    """Return some rows of a plane table, in the given order."""
    return PlaneTable(
        features={name: values[rows] for name, values in planes.features.items()},
        median={name: values[rows] for name, values in planes.median.items()},
        mad={name: values[rows] for name, values in planes.mad.items()},
        object_id=planes.object_id[rows],
        history={name: values[rows] for name, values in planes.history.items()},
    )


def _looked_up(
    baseline: pa.Table, keys: Sequence[Key], features: Sequence[str], *, min_planes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return median and MAD, shape (feature, group); NaN where a group has too few planes."""
    group = {key: number for number, key in enumerate(keys)}
    position = {name: number for number, name in enumerate(features)}
    middle = np.full((len(features), len(keys)), np.nan)
    spread = middle.copy()
    # The table holds all plates and all features; a shard needs few of either.
    near = compute.and_(_is_in(baseline["feature"], features), _is_in(baseline["plate"], [plate for plate, _ in keys]))
    rows = baseline.filter(compute.and_(near, compute.greater_equal(baseline["n"], min_planes)))
    names = ("plate", "channel", "feature", "median", "mad")
    for plate, channel, feature, median, mad in zip(*(rows[name].to_pylist() for name in names), strict=True):
        column = group.get((plate, channel))
        if column is not None:
            middle[position[feature], column], spread[position[feature], column] = median, mad
    return middle, spread


def _is_in(column: pa.ChunkedArray[Any], values: Iterable[str]) -> Any:
    return compute.is_in(column, value_set=pa.array(sorted(set(values)), pa.string()))
