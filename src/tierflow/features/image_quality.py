"""The built-in extractor `image_quality`: CellProfiler's image quality features and tierflow's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.features.about import ABOUT, UNITS

if TYPE_CHECKING:
    from tierflow.features.base import FeatureSettings, Measurement
    from tierflow.io.plane import Plane

__all__ = ["ABOUT", "ImageQuality"]


class ImageQuality:
    """Measures a plane: 13 + 2 x scales features equal to CellProfiler 4.2.8.1, and tierflow's own.

    `ABOUT` says what each means. Planes with some non-finite pixels are measured as CellProfiler measures a plane with
    these pixels masked out.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        """Keep the settings; nothing is loaded or compiled yet."""
        self._settings = settings
        # One column per scale, whatever order or repetition the configuration has.
        self._scales = tuple(sorted(set(settings.scales_px)))

    def units(self) -> dict[str, str]:
        """Return the unit ("" for none) of every feature with these settings, in column order."""
        return {
            name.replace("{N}", str(scale)): unit
            for name, unit in UNITS.items()
            for scale in (self._scales if "{N}" in name else (0,))
        }

    def measure(self, plane: Plane) -> Measurement:
        """Measure one plane.

        Raises:
            UnmeasurableError: when there is no pixel, no finite pixel, or the pixels aren't numbers.
        """
        # Here and not above: a command that lists or checks extractors must not pay for loading numba.
        from tierflow.features.measure import measure_plane

        return measure_plane(plane, settings=self._settings, scales=self._scales)
