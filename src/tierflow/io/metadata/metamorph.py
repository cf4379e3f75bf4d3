"""MetaMorph and MetaXpress properties: `<MetaData>` XML in a TIFF's ImageDescription."""

from __future__ import annotations

from dataclasses import dataclass

from tierflow.io.metadata.units import to_iso, to_um
from tierflow.io.metadata.xml import local_name, parse


@dataclass(frozen=True, slots=True)
class MetaMorph:
    """What MetaMorph says about a plane.

    Attributes:
        pixel_size_um: Edge of a pixel in um, None when the camera isn't calibrated.
        bit_depth: Bits of the camera.
        channel_name: Name of the illumination setting.
        acquired_at: Local time of acquisition, ISO 8601 without zone.
        stage_label: Label of the position, such as `E07 : Site 1`.
    """

    pixel_size_um: float | None
    bit_depth: int | None
    channel_name: str | None
    acquired_at: str | None
    stage_label: str | None


def read(description: str) -> MetaMorph | None:
    """Read the properties of a plane; None when `description` isn't MetaMorph's.

    Args:
        description: Text of TIFF tag ImageDescription (270).
    """
    if not description.lstrip().startswith("<MetaData>"):
        return None
    root = parse(description)
    if root is None:
        return None
    values = {
        name: element.get("value", "")
        for element in root.iter()
        if local_name(element) in ("prop", "custom-prop") and (name := element.get("id"))
    }
    calibrated = values.get("spatial-calibration-state", "on") == "on"
    size = to_um(values.get("spatial-calibration-x"), values.get("spatial-calibration-units"))
    return MetaMorph(
        pixel_size_um=size if calibrated else None,
        bit_depth=_bits(values.get("Camera Bit Depth")),
        channel_name=values.get("_IllumSetting_") or None,
        acquired_at=to_iso(values.get("acquisition-time-local")),
        stage_label=values.get("stage-label") or None,
    )


def _bits(text: str | None) -> int | None:
    try:
        bits = int(float(text or ""))
    except (ValueError, OverflowError):
        return None
    return bits if 1 <= bits <= 32 else None
