"""What an extractor is: the contract of the entry-point group `tierflow.extractors`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from tierflow.io.plane import Plane


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Settings that every extractor gets.

    Attributes:
        scales_px: Spatial scales in pixels.
        pixel_size_um: Edge of a pixel in um where the plane doesn't say.
        bit_depth: Bits of the detector where known; overrides tags and content.
    """

    scales_px: tuple[int, ...] = (10, 20)
    pixel_size_um: float | None = None
    bit_depth: int | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an extractor found on one plane.

    Attributes:
        features: Value by feature name; NaN where a feature isn't defined for this plane, never infinite.
        histogram: Counts of 256 equal bins from the plane's minimum to its maximum, or None.
        pixel_hash: Hex text equal for identical pixels (shape and type included), or None.
    """

    features: Mapping[str, float]
    histogram: NDArray[np.uint32] | None = None
    pixel_hash: str | None = None


class Extractor(Protocol):
    """Measures planes. Built once per shard, then called once per plane."""

    def __init__(self, settings: FeatureSettings) -> None:
        """Prepare for the given settings; cheap."""

    def units(self) -> dict[str, str]:
        """Return the unit ("" for none) of every feature it yields with these settings, in column order."""

    def measure(self, plane: Plane) -> Measurement:
        """Measure one plane.

        Raises:
            UnmeasurableError: when nothing can be computed (no pixels, no finite value).
        """
