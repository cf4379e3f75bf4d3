"""Pictures for the report: contrast-stretched, reduced without blur, and a detail at the camera's own pixels."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.generic[Any]]

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.8
GAMMA = 0.7
DIM_MEDIAN = 0.12
_SAMPLE = 1_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as the page shows it.

    Attributes:
        whole: Data URI of the whole plane, reduced.
        detail: Data URI of a piece at the camera's own pixels; empty when `whole` isn't reduced.
        box: Where the piece lies in the whole: left, top, width, height in per cent.
        width: Width of `whole` in pixels.
        height: Height of `whole` in pixels.
        low: Pixel value shown as black.
        high: Pixel value shown as white.
        gamma: Exponent of the display; below 1 lifts the shadows.
        note: What a reader has to know about how it is shown.
    """

    whole: str
    detail: str
    box: tuple[float, float, float, float]
    width: int
    height: int
    low: float
    high: float
    gamma: float
    note: str = ""


def picture(pixels: Pixels, *, edge: int, detail: int, quality: int = 78, note: str = "") -> Picture:
    """Turn raw pixels into pictures for the page.

    Args:
        pixels: Shape (y, x) for gray or (y, x, 3) for RGB, any number type; NaN is shown black.
        edge: Longest edge of the whole picture; smaller planes keep their pixels.
        detail: Edge of the square piece at the camera's own pixels; 0 for none.
        quality: WebP quality from 0 to 100.
        note: Kept with the picture.

    Raises:
        ValueError: if there are no pixels, none is finite, or they are no real numbers.
    """
    shown, low, high, gamma = displayed(pixels)
    factor = max(1.0, max(pixels.shape[:2]) / edge)
    whole = reduced(shown, edge=edge)
    piece, box = "", (0.0, 0.0, 100.0, 100.0)
    if detail and factor > 1.3 and min(shown.size) >= detail:
        left, top = busiest(np.asarray(shown.convert("L")), detail)
        piece = data_uri(shown.crop((left, top, left + detail, top + detail)), quality=quality)
        across, down = 100 / shown.width, 100 / shown.height
        box = (left * across, top * down, detail * across, detail * down)
    return Picture(
        whole=data_uri(whole, quality=quality),
        detail=piece,
        box=box,
        width=whole.width,
        height=whole.height,
        low=low,
        high=high,
        gamma=gamma,
        note=note,
    )


def displayed(pixels: Pixels) -> tuple[Image.Image, float, float, float]:
    """Return a plane as people see it, in full size, and the values shown as black and white with the gamma.

    Raises:
        ValueError: if there are no pixels, none is finite, or they are no real numbers.
    """
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"pixels of type {pixels.dtype} have no brightness to show")
    low, high, median = display_range(pixels)
    gamma = GAMMA if high > low and (median - low) / (high - low) < DIM_MEDIAN else 1.0
    return Image.fromarray(stretch(pixels, low=low, high=high, gamma=gamma)), low, high, gamma


def reduced(shown: Image.Image, *, edge: int) -> Image.Image:
    """Return a picture whose longest edge is `edge` at most; smaller ones keep their pixels."""
    factor = max(shown.size) / edge
    if factor <= 1:
        return shown
    size = (max(1, round(shown.width / factor)), max(1, round(shown.height / factor)))
    # Averaging whole pixels keeps what the camera saw; sharper filters would invent contrast.
    return shown.resize(size, Image.Resampling.BOX, reducing_gap=None)


def display_range(pixels: Pixels) -> tuple[float, float, float]:
    """Return the values shown as black and white (percentiles 0.5 and 99.8) and the median.

    Raises:
        ValueError: if there are no pixels or none is finite.
    """
    # Rows are skipped, not columns, so that memory is read in order.
    step = max(1, pixels.size // _SAMPLE)
    sample = np.asarray(pixels[::step], dtype=np.float64).ravel()
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        raise ValueError("no finite pixel to show")
    low, median, high = np.percentile(sample, (LOW_PERCENTILE, 50, HIGH_PERCENTILE))
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    return float(low), float(high), float(median)


def stretch(pixels: Pixels, *, low: float, high: float, gamma: float = 1.0) -> NDArray[np.uint8]:
    """Map [low, high] to 0 to 255, values beyond clipped, NaN to 0; a constant plane becomes mid-gray."""
    if high <= low:
        return np.full(pixels.shape, 96, dtype=np.uint8)
    unit = np.subtract(pixels, low, dtype=np.float32)
    unit /= np.float32(high - low)
    np.clip(unit, 0.0, 1.0, out=unit)
    if gamma != 1.0:
        np.power(unit, np.float32(gamma), out=unit)
    unit *= np.float32(255)
    return np.nan_to_num(unit, copy=False).astype(np.uint8)


def busiest(gray: NDArray[np.uint8], edge: int) -> tuple[int, int]:
    """Return (left, top) of the `edge` x `edge` piece with the greatest variance among half-overlapping ones."""
    height, width = gray.shape
    best, place = -1.0, (0, 0)
    for top in _starts(height, edge):
        for left in _starts(width, edge):
            # Every fourth pixel tells structure from emptiness; the choice needs no more.
            spread = float(gray[top : top + edge : 4, left : left + edge : 4].std())
            if spread > best:
                best, place = spread, (left, top)
    return place


def _starts(length: int, edge: int) -> list[int]:
    last = max(0, length - edge)
    return sorted({*range(0, last + 1, max(1, edge // 2)), last})


def data_uri(image: Image.Image, *, quality: int) -> str:
    """Return an image as a WebP data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
