"""A fast fingerprint of pixels, for frozen frames and duplicates in whatever file format."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.features.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LANES = 64
# Odd constants with well-mixed bits: the fractional parts of the golden ratio and of sqrt(3).
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0xBB67AE8584CAA73B)


def hash_pixels(pixels: NDArray[np.generic[Any]]) -> str:
    """Return 32 hex digits that are equal for equal pixels, shape and type, on every platform.

    64 lanes of 64 bits each take every 64th word; BLAKE2b joins them with the shape, the type and the last bytes.
    It finds accidental equality only: someone who wants two planes to collide can make them.

    Args:
        pixels: Any shape and numeric type; byte order and memory layout don't matter.
    """
    plain = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    flat = plain.reshape(-1).view(np.uint8)
    whole = flat.size // (8 * _LANES) * (8 * _LANES)
    words = flat[:whole].view("<u8").astype(np.uint64, copy=False)
    digest = blake2b(digest_size=16)
    digest.update(f"{plain.dtype.str} {plain.shape}".encode())
    digest.update(_mix(words.reshape(-1, _LANES)).astype("<u8").tobytes())
    digest.update(flat[whole:].tobytes())
    return digest.hexdigest()


@compiled()
def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Fold rows of words into one row: multiply, add, and bring high bits down, so that order counts."""
    state = np.empty(words.shape[1], dtype=np.uint64)
    for k in range(state.size):
        state[k] = np.uint64(k) * _STEP
    for i in range(words.shape[0]):
        for k in range(state.size):
            v = (state[k] ^ words[i, k]) * _MULTIPLIER
            state[k] = v ^ (v >> np.uint64(32))
    return state
