"""The pixel hash: equal for equal pixels, and for nothing else that happens in practice."""

import numpy as np
import pytest

from tierflow.features.pixel_hash import hash_pixels


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 4096, (123, 77)).astype(np.uint16)


def test_is_the_same_on_every_machine():
    plane = (np.arange(64 * 50) * 7919 % 4096).astype(np.uint16).reshape(64, 50)
    assert hash_pixels(plane) == "56b952da301d2e2f523f68240fe35dae"


def test_one_changed_pixel_anywhere_changes_it(pixels):
    seen = {hash_pixels(pixels)}
    for place in [(0, 0), (0, 1), (60, 30), (122, 75), (122, 76)]:
        other = pixels.copy()
        other[place] ^= 1
        seen.add(hash_pixels(other))
    assert len(seen) == 6


def test_order_counts(pixels):
    variants = [
        pixels,
        pixels[::-1],
        pixels[:, ::-1],
        np.roll(pixels, 256, axis=0),
        np.roll(pixels.ravel(), 256).reshape(pixels.shape),
    ]
    assert len({hash_pixels(v) for v in variants}) == len(variants)


def test_shape_and_type_count():
    flat = np.zeros(512 * 4, np.uint8)
    variants = [
        flat.reshape(32, 64),
        flat.reshape(64, 32),
        flat.view(np.uint16).reshape(32, 32),
        flat.view(np.int8).reshape(32, 64),
    ]
    assert len({hash_pixels(v) for v in variants}) == len(variants)


def test_swapped_words_in_one_lane_change_it():
    words = np.arange(64 * 8, dtype=np.uint64).reshape(8, 64)
    other = words.copy()
    other[[2, 5], 7] = other[[5, 2], 7]
    assert hash_pixels(words) != hash_pixels(other)


def test_byte_order_and_memory_layout_do_not_count(pixels):
    assert hash_pixels(pixels.astype(">u2")) == hash_pixels(pixels)
    assert hash_pixels(np.asfortranarray(pixels)) == hash_pixels(pixels)
    assert hash_pixels(np.repeat(pixels, 2, axis=1)[:, ::2]) == hash_pixels(pixels)
