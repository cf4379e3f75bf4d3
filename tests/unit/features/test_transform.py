"""The low corner of the transform against numpy's, and bands against Moisan's decomposition done plainly."""

import numpy as np
import pytest

from tierflow.features.fft import low_corner
from tierflow.features.residual import residual_of
from tierflow.features.spectrum import Band, band_power, spectrum_of

# All radices up to 31 alone and mixed, primes above (numpy's way), few rows, odd and even.
SIZES = [
    (32, 32),
    (33, 35),
    (45, 64),
    (121, 169),
    (289, 38),
    (46, 58),
    (62, 93),
    (77, 41),
    (37, 74),
    (8, 100),
    (1, 64),
    (520, 696),
]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_equals_numpy(shape, dtype):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    rows, columns = min(shape[0] // 2, 20), min(shape[1] // 2, 30)
    mean = float(values.mean())
    found = low_corner(values, mean=mean, rows=rows, columns=columns)
    expected = np.fft.fft2(values.astype(np.float64) - mean)[np.arange(-rows, rows + 1) % shape[0]][:, : columns + 1]
    assert found.shape == (2 * rows + 1, columns + 1)
    expected[rows, 0] = found[rows, 0] = 0
    assert np.abs(found - expected).max() <= 3e-6 * np.abs(expected).max() + 1e-6


def smooth_component(values):
    """Moisan's smooth component, by the full transform of the image of its border jumps."""
    height, width = values.shape
    lines = max(1, min(8, min(values.shape) // 16))
    down = values[-lines:].mean(axis=0) - values[:lines].mean(axis=0)
    across = values[:, -lines:].mean(axis=1) - values[:, :lines].mean(axis=1)
    jumps = np.zeros(values.shape)
    jumps[0] += down
    jumps[-1] -= down
    jumps[:, 0] += across
    jumps[:, -1] -= across
    turns = (2 * np.pi * np.fft.fftfreq(size) for size in (height, width))
    down, across = np.meshgrid(*turns, indexing="ij")
    laplace = 2 * np.cos(down) + 2 * np.cos(across) - 4
    laplace[0, 0] = 1
    found = np.fft.fft2(jumps) / laplace
    found[0, 0] = 0
    return np.fft.ifft2(found).real


@pytest.mark.parametrize("shape", [(8, 8), (40, 51), (33, 64), (9, 200), (128, 100)])
def test_bands_are_those_of_the_periodic_component(shape):
    values = np.random.default_rng(1).integers(0, 4000, shape).astype(np.uint16)
    mean = float(values.mean())
    bands = (Band(0.03, 0.15), Band(1e-9, 0.16), Band(0.04, 0.08))
    power = np.abs(np.fft.fft2(values - smooth_component(values.astype(float)))) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), indexing="ij"))
    for band, found in zip(bands, band_power(spectrum_of(values, mean=mean, highest_px=0.16), bands), strict=True):
        inside = (frequency >= band.low) & (frequency < band.high)
        inside[0] = inside[:, 0] = False
        assert found.number == inside.sum()
        assert found.total == pytest.approx(power[inside].sum(), rel=1e-5)
    assert residual_of(values, mean=mean).energy == pytest.approx(((values - mean) ** 2).sum(), rel=1e-5)


def test_ramps_vignetting_and_stripes_have_no_power_in_the_bands():
    y, x = np.arange(200.0), np.arange(300.0)
    stripes = np.random.default_rng(0).integers(0, 500, 300)
    for pattern in (
        np.add.outer(y * 7, x * 3),
        np.add.outer((y - 90) ** 2, (x - 120) ** 2),
        np.add.outer(y * 0, stripes),
    ):
        values = pattern.astype(np.uint16)
        mean = float(values.mean())
        (found,) = band_power(spectrum_of(values, mean=mean, highest_px=0.16), (Band(0.03, 0.15),))
        assert found.total < 1e-4 * residual_of(values, mean=mean).energy * values.size
