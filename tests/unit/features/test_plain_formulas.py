"""Features against the definitions written down plainly in float64, on sizes and types that the real images lack."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.io.plane import Plane

FULL_SCALE = {"uint8": 255, "uint16": 65535, "int16": 65535, "uint32": 2**32, "float32": 1, "float64": 1}


def plain_slope(p):
    height, width = p.shape
    spread = np.median(np.abs(p - p.mean()))
    if spread == 0:
        return 0.0
    power = np.abs(np.fft.fft2(p / spread - (p / spread).mean())) ** 2
    i, j = np.arange(height), np.arange(width)
    mirrored = np.minimum(i, height - 1 - i)[:, None] ** 2 + np.minimum(j, width - 1 - j)[None, :] ** 2
    ring = np.floor(np.sqrt(mirrored)).astype(int) + 1
    radii = np.arange(2, int(np.floor(min(height, width) / 8)))
    sums = np.array([power[ring == r].sum() for r in radii])
    radii = radii[sums > 0]
    return np.polyfit(np.log(radii), np.log(sums[sums > 0]), 1)[0] if radii.size > 1 else 0.0


def plain_local_focus(p, scale):
    tiles = [-(-size // scale) for size in p.shape]
    label = (np.arange(p.shape[0]) * tiles[0] // p.shape[0])[:, None] * tiles[1] + (
        np.arange(p.shape[1]) * tiles[1] // p.shape[1]
    )[None, :]
    parts = [p[label == k] for k in np.unique(label)]
    values = np.array([part.var() / part.mean() for part in parts if part.mean() != 0])
    return values.var() / np.median(values) if values.size and np.median(values) > 0 else 0.0


def plain_correlation(p, offset):
    p = p.astype(np.float32)
    if offset >= p.shape[1] or p.max() == p.min():
        return 0.0
    level = np.clip(np.floor((p - p.min()).astype(float) / float(p.max() - p.min()) / 0.125), 0, 7)
    a, b = level[:, :-offset].ravel(), level[:, offset:].ravel()
    return np.corrcoef(a, b)[0, 1] if a.std() > 0 and b.std() > 0 else 0.0


def plain_otsu(p):
    x = np.sort(p[p >= 0].astype(np.float32).ravel())
    floor = x[0] + (x[-1] - x[0]) / 256 + np.finfo(np.float32).eps
    logs = np.log(np.maximum(x, np.float32(floor))).astype(float)
    if logs[0] == logs[-1]:
        return float(np.exp(logs[0]))
    z = (logs - logs[0]) / (logs[-1] - logs[0])
    n = z.size
    step = n // min(256, n)
    cuts, scores = [], []
    for i in range(0, n - 1, step):
        low = z[: i + 1].var(ddof=1) if i else 0.0
        high = z[i + 1 :].var(ddof=1) if n - i - 1 > 1 else 0.0
        cuts.append(z[i + 1])
        scores.append(low * i + high * (n - i - 1))
    best = int(np.argmin(scores))
    cut = (cuts[max(best - 1, 0)] + cuts[min(best + 1, len(cuts) - 1)]) / 2
    return float(np.exp(cut * (logs[-1] - logs[0]) + logs[0]))


def plain_features(p, scales):
    median = np.median(p)
    return {
        "ImageQuality_FocusScore": p.var() / p.mean() if p.mean() > 0 else 0.0,
        "ImageQuality_PowerLogLogSlope": plain_slope(p),
        "ImageQuality_PercentMaximal": 100 * np.mean(p == p.max()),
        "ImageQuality_PercentMinimal": 100 * np.mean(p == p.min()),
        "ImageQuality_TotalArea": p.size,
        "ImageQuality_TotalIntensity": p.sum(),
        "ImageQuality_MeanIntensity": p.mean(),
        "ImageQuality_MedianIntensity": median,
        "ImageQuality_StdIntensity": p.std(),
        "ImageQuality_MADIntensity": np.median(np.abs(p - median)),
        "ImageQuality_MaxIntensity": p.max(),
        "ImageQuality_MinIntensity": p.min(),
        "ImageQuality_ThresholdOtsu_2W": plain_otsu(p),
        **{f"ImageQuality_LocalFocusScore_{n}": plain_local_focus(p, n) for n in scales},
        **{f"ImageQuality_Correlation_{n}": plain_correlation(p, n) for n in scales},
    }


def blobs(shape, dtype, seed=3):
    """Smooth structure plus noise, on a scale that fits the type."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    smooth = 0.4 + 0.3 * np.sin(x / 4.1) * np.cos(y / 6.3)
    values = np.clip(smooth + rng.normal(0, 0.03, shape), 0.001, 1)
    return (values * {"int16": 32767, "uint32": 3e9}.get(dtype, FULL_SCALE[dtype])).astype(dtype)


def assert_agrees(found, expected):
    for name, value in expected.items():
        if "Correlation" in name:
            assert found[name] == pytest.approx(value, abs=1e-3), name
        else:
            assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-12), name


@pytest.mark.parametrize("dtype", sorted(FULL_SCALE))
@pytest.mark.parametrize("shape", [(48, 64), (33, 97), (64, 37), (37, 41), (7, 90), (1, 64), (64, 1), (2, 2)])
def test_sizes_and_types(shape, dtype):
    pixels = blobs(shape, dtype)
    scales = (3, 7, 14, 100)
    found = ImageQuality(FeatureSettings(scales_px=scales)).measure(Plane(pixels)).features
    p = (pixels.astype(np.float32) / np.float32(FULL_SCALE[dtype])).astype(np.float64)
    assert_agrees(found, plain_features(p, scales))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 60), st.integers(1, 25), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_small_planes_of_few_values(height, width, values, scale, seed):
    pixels = np.random.default_rng(seed).integers(1, values, (height, width)).astype(np.uint16)
    found = ImageQuality(FeatureSettings(scales_px=(scale,))).measure(Plane(pixels)).features
    expected = plain_features((pixels.astype(np.float32) / np.float32(65535)).astype(float), (scale,))
    # With few equal values the best cut is a tie that rounding decides, the deviation half a count, and the spread 0.
    for name in ("ImageQuality_ThresholdOtsu_2W", "ImageQuality_MADIntensity", "ImageQuality_PowerLogLogSlope"):
        del expected[name]
    del expected[f"ImageQuality_LocalFocusScore_{scale}"]
    assert_agrees(found, expected)


def test_sums_of_a_large_plane_are_exact():
    pixels = np.full((2160, 2160), 65535, np.uint16)
    pixels[::2] = 65533
    found = ImageQuality(FeatureSettings()).measure(Plane(pixels)).features
    total = int(pixels.astype(np.int64).sum())
    assert found["ImageQuality_TotalIntensity"] == pytest.approx(total / 65535, rel=1e-14)
    assert found["ImageQuality_StdIntensity"] == pytest.approx(1 / 65535, rel=1e-12)


@pytest.mark.parametrize("scales", [(10, 20), (20, 30), (7,), (50, 100, 200)])
def test_scales_that_are_joined_from_finer_tiles_equal_those_measured_alone(scales):
    pixels = blobs((217, 301), "uint16")
    together = ImageQuality(FeatureSettings(scales_px=scales)).measure(Plane(pixels)).features
    for scale in scales:
        alone = ImageQuality(FeatureSettings(scales_px=(scale,))).measure(Plane(pixels)).features
        for name in alone:
            assert together[name] == pytest.approx(alone[name], rel=1e-12, nan_ok=True), name
