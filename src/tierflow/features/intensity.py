"""CellProfiler's intensity, saturation and threshold features from a distribution of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tierflow.features.levels import median_deviation
from tierflow.features.otsu import otsu_threshold

if TYPE_CHECKING:
    from tierflow.features.levels import Levels


def intensity_features(levels: Levels, *, divisor: float, area: int) -> dict[str, float]:
    """Return all CellProfiler features that don't depend on where a pixel lies, by name.

    Sums are exact where CellProfiler adds float32 numbers, so they agree to about 1e-6, and a constant plane has a
    spread of exactly 0 where CellProfiler leaves rounding errors.

    Args:
        levels: Distribution of the plane's finite values.
        divisor: CellProfiler's divisor of the raw counts.
        area: Number of pixels.
    """
    mean = levels.raw_mean / divisor
    variance = levels.raw_variance / divisor / divisor
    median = levels.median_scaled()
    return {
        "ImageQuality_Scaling": divisor,
        "ImageQuality_FocusScore": variance / mean if mean > 0 else 0.0,
        "ImageQuality_PercentMaximal": 100.0 * float(levels.counts[-1]) / levels.total,
        "ImageQuality_PercentMinimal": 100.0 * float(levels.counts[0]) / levels.total,
        "ImageQuality_TotalArea": float(area),
        "ImageQuality_TotalIntensity": mean * levels.total,
        "ImageQuality_MeanIntensity": mean,
        "ImageQuality_MedianIntensity": float(median),
        "ImageQuality_StdIntensity": float(np.sqrt(variance)),
        "ImageQuality_MADIntensity": median_deviation(levels, median),
        "ImageQuality_MaxIntensity": float(levels.scaled[-1]),
        "ImageQuality_MinIntensity": float(levels.scaled[0]),
        "ImageQuality_ThresholdOtsu_2W": otsu_threshold(levels),
    }
