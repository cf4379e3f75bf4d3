"""tierflow's own measures: values that follow from how the plane was made."""

import math

import numpy as np
import pytest

from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ABOUT, ImageQuality
from tierflow.features.measure import MID_BAND_PX, mid_band
from tierflow.io.plane import Plane


def measured(pixels, settings=None, **facts):
    return ImageQuality(settings or FeatureSettings()).measure(Plane(np.asarray(pixels), **facts)).features


def noise(shape, *, sd=8.0, level=100.0, seed=0):
    return np.round(np.random.default_rng(seed).normal(level, sd, shape)).astype(np.uint16)


def cells(shape=(256, 320), *, light=1.0, blur=1.5, read_noise=8.0, seed=0):
    """Bright discs with soft edges on an empty background, with photon and read noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    signal = np.zeros(shape)
    for cy, cx in rng.uniform(0.1, 0.9, (12, 2)) * shape:
        signal += 1500 / (1 + np.exp((np.hypot(y - cy, x - cx) - 9) / blur))
    return np.clip(np.round(rng.poisson(signal * light) + rng.normal(100, read_noise, shape)), 0, 65535).astype(
        np.uint16
    )


class TestNoise:
    @pytest.mark.parametrize("shape", [(64, 64), (128, 300), (520, 696), (1024, 1024)])
    @pytest.mark.parametrize("seed", range(4))
    def test_pure_noise_shows_no_signal(self, shape, seed):
        found = measured(noise(shape, seed=seed))
        assert found["structure_z"] < 5
        assert found["object_z"] < 5.5
        assert found["structure_snr"] < 0.25
        assert found["noise_sigma"] == pytest.approx(8, rel=0.05)
        assert found["snr"] == pytest.approx(3.09, abs=0.5)

    @pytest.mark.parametrize("level", [0.5, 5, 100, 3000])
    def test_photon_noise_shows_no_signal(self, level):
        found = measured(np.random.default_rng(1).poisson(level, (520, 696)).astype(np.uint16))
        assert found["structure_z"] < 5
        assert found["object_z"] < 5.5
        if level > 1:
            assert found["noise_sigma"] == pytest.approx(math.sqrt(level), rel=0.05)

    def test_hot_pixels_are_no_objects(self):
        rng = np.random.default_rng(2)
        hot = (rng.random((520, 696)) < 0.001) * rng.exponential(500, (520, 696))
        found = measured((noise((520, 696)) + hot).astype(np.uint16))
        assert found["structure_z"] < 5
        assert found["object_z"] < 5.5

    def test_uneven_light_is_no_object(self):
        y, x = np.mgrid[-1:1:520j, -1:1:696j]
        light = 500 * (1 - 0.15 * (x**2 + y**2))
        found = measured(np.random.default_rng(3).poisson(light).astype(np.uint16))
        assert found["structure_z"] < 5
        assert found["object_z"] < 5.5
        assert found["illumination_ratio"] == pytest.approx(light.max() / light.min(), rel=0.15)

    @pytest.mark.parametrize("seed", range(5))
    def test_cells_at_two_percent_of_the_light_show_a_signal(self, seed):
        found = measured(cells(light=0.02, seed=seed))
        assert found["object_z"] > 8
        assert found["structure_z"] > 8

    def test_a_single_faint_object_in_an_empty_field_is_found(self):
        pixels = noise((520, 696)).astype(int)
        pixels[200:225, 300:325] += 10
        found = measured(pixels.astype(np.uint16))
        assert found["object_z"] > 12

    def test_negative_values_and_shifts_do_not_matter(self):
        pixels = cells()
        shifted = measured((pixels.astype(np.int32) - 400).astype(np.int16))
        plain = measured(pixels)
        for name in ("noise_sigma", "snr", "structure_z", "object_z", "mid_band_share", "sharpness", "dynamic_range"):
            assert shifted[name] == pytest.approx(plain[name], rel=1e-3), name
        assert shifted["background"] == pytest.approx(plain["background"] - 400, abs=0.05)


class TestFocus:
    def test_blur_lowers_both_focus_measures(self):
        shares = [measured(cells(blur=b)) for b in (1.0, 3.0, 6.0)]
        for name in ("mid_band_share", "sharpness"):
            values = [found[name] for found in shares]
            assert values == sorted(values, reverse=True)
            assert values[0] > 2 * values[-1]

    def test_sharpness_is_the_same_at_a_tenth_and_a_fiftieth_of_the_light(self):
        bright, dim, dimmer = (measured(cells((520, 696), light=light)) for light in (1, 0.1, 0.02))
        assert dim["sharpness"] == pytest.approx(bright["sharpness"], rel=0.1)
        assert dimmer["sharpness"] == pytest.approx(bright["sharpness"], rel=0.35)
        assert dimmer["mid_band_share"] != pytest.approx(bright["mid_band_share"], rel=0.35)

    def test_white_noise_has_the_share_of_the_band_s_area(self):
        # Ring from .03 to .15 cycles per px over the square from -.5 to .5.
        area = math.pi * (0.15**2 - 0.03**2)
        assert measured(noise((1024, 1024)))["mid_band_share"] == pytest.approx(area, rel=0.03)

    def test_a_wave_inside_the_band_has_all_its_energy_there(self):
        # Neither a pattern of rows nor of columns, and a whole number of periods.
        diagonal = np.add.outer(np.arange(512), np.arange(512)) / 512
        inside = measured((1000 + 500 * np.cos(2 * np.pi * 30 * diagonal)).astype(np.uint16))
        outside = measured((1000 + 500 * np.cos(2 * np.pi * 4 * diagonal)).astype(np.uint16))
        assert inside["mid_band_share"] > 0.98
        assert outside["mid_band_share"] < 0.01

    @pytest.mark.parametrize(
        ("size", "low", "high"),
        [
            (None, 0.03, 0.15),
            (0.65, 0.03, 0.15),
            (0.5, 0.0231, 0.1154),
            (0.1, 0.02, 0.1),
            (3.0, 0.03, 0.15),
            (0.0, 0.03, 0.15),
        ],
    )
    def test_band_follows_the_pixel_size_within_limits(self, size, low, high):
        band = mid_band(size)
        assert (band.low, band.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))

    def test_the_plane_s_pixel_size_comes_before_the_configured_one(self):
        pixels = cells()
        fine = measured(pixels, pixel_size_um=0.3)["mid_band_share"]
        assert fine != measured(pixels)["mid_band_share"]
        assert measured(pixels, FeatureSettings(pixel_size_um=0.3))["mid_band_share"] == fine
        assert (
            measured(pixels, FeatureSettings(pixel_size_um=0.3), pixel_size_um=0.65)["mid_band_share"]
            == (measured(pixels)["mid_band_share"])
        )
        assert mid_band(None) == MID_BAND_PX


class TestSaturation:
    def plane(self, limit, share=0.02, dtype=np.uint16):
        pixels = np.random.default_rng(0).integers(0, limit // 2, (100, 100)).astype(dtype)
        pixels.ravel()[: int(share * pixels.size)] = limit
        return pixels

    @pytest.mark.parametrize("limit", [255, 1023, 4095, 16383, 65520, 65535])
    def test_limits_are_found_by_content(self, limit):
        assert measured(self.plane(limit))["saturated_share"] == pytest.approx(0.02)

    def test_a_dim_image_is_not_saturated_at_its_own_maximum(self):
        assert measured(self.plane(900))["saturated_share"] == 0

    def test_a_stated_bit_depth_decides(self):
        assert measured(self.plane(1023), FeatureSettings(bit_depth=12))["saturated_share"] == 0
        assert measured(self.plane(1023), significant_bits=12)["saturated_share"] == 0
        assert measured(self.plane(1023), full_scale=4095.0)["saturated_share"] == 0
        assert measured(self.plane(4095), significant_bits=12)["saturated_share"] == pytest.approx(0.02)

    def test_significant_bits_that_only_repeat_the_pixel_type_say_nothing(self):
        assert measured(self.plane(4095), significant_bits=16)["saturated_share"] == pytest.approx(0.02)

    def test_a_stated_limit_below_the_highest_pixel_is_passed_over(self):
        assert measured(self.plane(16383), significant_bits=12)["saturated_share"] == pytest.approx(0.02)

    def test_rgb_counts_pixels_with_any_sample_at_the_limit(self):
        pixels = np.full((10, 10, 3), 100, np.uint8)
        pixels[0, :5, 0] = 255
        pixels[0, 5:, 2] = 255
        assert measured(pixels)["saturated_share"] == pytest.approx(0.1)

    def test_floats_saturate_at_one(self):
        pixels = np.linspace(0, 0.5, 100, dtype=np.float32).reshape(10, 10)
        assert measured(pixels)["saturated_share"] == 0
        pixels[0, :3] = 1
        assert measured(pixels)["saturated_share"] == pytest.approx(0.03)

    def test_black_pixels(self):
        pixels = np.ones((10, 10), np.uint16)
        pixels[:3] = 0
        assert measured(pixels)["black_share"] == pytest.approx(0.3)


class TestLevels:
    @pytest.mark.parametrize("bits", [0, 1, 3, 8])
    def test_entropy_of_equally_frequent_values(self, bits):
        pixels = np.tile(np.arange(2**bits, dtype=np.uint16), 64).reshape(32, -1)
        assert measured(pixels)["entropy_bits"] == pytest.approx(bits)

    def test_background_is_the_empty_part_whether_dark_or_bright(self):
        pixels = noise((200, 200), level=200, sd=3).astype(int)
        pixels[50:110, 50:110] = 900
        assert measured(pixels.astype(np.uint16))["background"] == pytest.approx(200, abs=1.5)
        assert measured((1000 - pixels).astype(np.uint16))["background"] == pytest.approx(800, abs=1.5)

    def test_foreground_share(self):
        pixels = noise((200, 200), level=200, sd=3).astype(int)
        pixels[50:110, 50:110] = 900
        assert measured(pixels.astype(np.uint16))["foreground_share"] == pytest.approx(0.09, abs=0.002)
        assert measured(noise((200, 200)))["foreground_share"] < 0.001

    def test_histogram_holds_every_pixel_between_minimum_and_maximum(self):
        pixels = cells()
        found = ImageQuality(FeatureSettings()).measure(Plane(pixels)).histogram
        expected, _ = np.histogram(pixels, bins=256, range=(pixels.min(), pixels.max()))
        assert found.dtype == np.uint32
        assert np.abs(np.cumsum(found.astype(int)) - np.cumsum(expected)).max() <= np.bincount(pixels.ravel()).max()
        assert found.sum() == pixels.size

    def test_histogram_of_a_constant_plane_lies_in_the_first_bin(self):
        found = ImageQuality(FeatureSettings()).measure(Plane(np.full((10, 10), 7, np.uint8))).histogram
        assert found[0] == 100
        assert found[1:].sum() == 0

    def test_dynamic_range_of_a_ramp(self):
        pixels = np.tile(np.linspace(0, 40000, 200), (200, 1)) + noise((200, 200), sd=10)
        found = measured(pixels.astype(np.uint16))
        assert found["dynamic_range"] == pytest.approx(math.log2(40000 / 10), abs=0.1)


class TestDegenerate:
    @pytest.mark.parametrize("value", [0, 300])
    def test_a_constant_plane_holds_nothing(self, value):
        found = measured(np.full((64, 64), value, np.uint16))
        for name in (
            "mid_band_share",
            "sharpness",
            "structure_snr",
            "object_z",
            "snr",
            "noise_sigma",
            "foreground_share",
        ):
            assert found[name] == 0, name
        assert found["background"] == value

    @pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (3, 3), (7, 7), (8, 8), (31, 500)])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16", "bool"])
    def test_no_size_or_type_gives_infinity_or_a_crash(self, shape, dtype):
        pixels = (np.arange(math.prod(shape)) * 7 % 11).reshape(shape).astype(dtype)
        assert not any(math.isinf(value) for value in measured(pixels).values())

    @pytest.mark.parametrize("factor", [1e-30, 1e-12, 1.0, 1e12, 1e30])
    def test_tiny_and_huge_floats_have_the_same_shape_features(self, factor):
        pixels = cells().astype(np.float64)
        found, plain = measured(pixels * factor), measured(pixels)
        for name in ("mid_band_share", "sharpness", "structure_z", "object_z", "snr", "ImageQuality_PowerLogLogSlope"):
            assert found[name] == pytest.approx(plain[name], rel=1e-3), name
        assert found["noise_sigma"] == pytest.approx(plain["noise_sigma"] * factor, rel=1e-4)

    def test_about_and_units_cover_every_feature_in_order(self):
        extractor = ImageQuality(FeatureSettings(scales_px=(20, 10, 20)))
        found = extractor.measure(Plane(cells())).features
        assert list(found) == list(extractor.units())
        assert [n for n in found if "Correlation" in n] == [
            "ImageQuality_Correlation_10",
            "ImageQuality_Correlation_20",
        ]
        templates = {name.removesuffix("_10").removesuffix("_20") for name in found}
        assert {name.removesuffix("_{N}") for name in ABOUT} == templates
