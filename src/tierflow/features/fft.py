"""The low-frequency corner of a plane's 2-D Fourier transform, in single precision.

numpy's transform runs one line at a time and gives all frequencies. Here many lines are transformed side by side, so
that every loop runs on vectors, and columns are only transformed as far as their frequency is wanted; at 2160 x 2160 px
that is about five times faster. Sizes with a prime factor above 31, and planes of fewer than 32 rows, go through numpy.

Lines of length n = n1 * n2 are transformed in four steps (Bailey 1990): n2 transforms of length n1, a twist, a swap of
the two axes, n1 transforms of length n2; the short transforms are Stockham's, which need no bit reversal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.features.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Line = NDArray[np.float32]

# Complex lines side by side: four work buffers of a 2160 px line then fit a core's own cache.
_LANES = 16
_RADICES = (4, 5, 3, 2, 7, 11, 13, 17, 19, 23, 29, 31)


def low_corner(values: NDArray[Any], *, mean: float, rows: int, columns: int) -> NDArray[np.complex64]:
    """Return the transform of (values - mean) at low frequencies.

    Args:
        values: Finite pixels, shape (y, x).
        mean: Subtracted first, so that the other coefficients keep their digits.
        rows: Highest row frequency, at most height // 2.
        columns: Highest column frequency, at most width // 2.

    Returns:
        Shape (2 * rows + 1, columns + 1): row frequencies -rows..rows, column frequencies 0..columns.
    """
    height, width = values.shape
    across, down = _plan(width), _plan(height)
    if across is None or down is None or height < 2 * _LANES:
        half = np.fft.rfft(values.astype(np.float32) - np.float32(mean), axis=1)[:, : columns + 1]
        picked: NDArray[np.complex64] = np.fft.fft(half, axis=0)[np.arange(-rows, rows + 1) % height]
        return picked
    # At least as many columns as are transformed side by side.
    real = np.zeros((max(columns + 1, _LANES), height), dtype=np.float32)
    imaginary = np.zeros_like(real)
    for start in range(0, height, 2 * _LANES):
        # The last block overlaps the one before it, so that all are full.
        base = min(start, height - 2 * _LANES)
        block = values[base : base + 2 * _LANES].astype(np.float32) - np.float32(mean)
        _transform_rows(block, base, columns, real, imaginary, *across)
    return _transform_columns(real, imaginary, rows, *down)[:, : columns + 1]


_Plan = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.complex64]", "NDArray[np.complex64]"]


@lru_cache(maxsize=32)
def _plan(size: int) -> _Plan | None:
    """Return the radices of both halves, the twist between them and the roots of unity; None for sizes not covered."""
    left = size
    factors: list[int] = []
    for radix in _RADICES:
        while left % radix == 0:
            factors.append(radix)
            left //= radix
    if left != 1:
        return None
    first: list[int] = []
    second: list[int] = []
    for radix in sorted(factors, reverse=True):
        (first if np.prod(first, dtype=int) <= np.prod(second, dtype=int) else second).append(radix)
    n1, n2 = int(np.prod(first, dtype=int)), int(np.prod(second, dtype=int))
    roots = np.exp(-2j * np.pi * np.arange(size) / size)
    twist = roots[np.multiply.outer(np.arange(n1), np.arange(n2)) % size]
    return np.array(first, np.int64), np.array(second, np.int64), twist.astype(np.complex64), roots.astype(np.complex64)


@compiled(fastmath=True)
def _radix2(xr: Line, xi: Line, yr: Line, yi: Line, m: int, s: int, roots: NDArray[np.complex64], step: int) -> None:
    for p in range(m):
        w = roots[step * p]
        wr, wi = w.real, w.imag
        a, b, o = s * p, s * (p + m), 2 * s * p
        ar, br, ai, bi = xr[a : a + s], xr[b : b + s], xi[a : a + s], xi[b : b + s]
        cr, dr, ci, di = yr[o : o + s], yr[o + s : o + 2 * s], yi[o : o + s], yi[o + s : o + 2 * s]
        for q in range(s):
            ur, ui = ar[q] - br[q], ai[q] - bi[q]
            cr[q] = ar[q] + br[q]
            ci[q] = ai[q] + bi[q]
            dr[q] = ur * wr - ui * wi
            di[q] = ur * wi + ui * wr


@compiled(fastmath=True)
def _radix3(xr: Line, xi: Line, yr: Line, yi: Line, m: int, s: int, roots: NDArray[np.complex64], step: int) -> None:
    half, rise = np.float32(0.5), np.float32(0.8660254037844386)
    for p in range(m):
        v, w = roots[step * p], roots[2 * step * p]
        vr, vi, wr, wi = v.real, v.imag, w.real, w.imag
        a, b, c, o = s * p, s * (p + m), s * (p + 2 * m), 3 * s * p
        ar, br, cr = xr[a : a + s], xr[b : b + s], xr[c : c + s]
        ai, bi, ci = xi[a : a + s], xi[b : b + s], xi[c : c + s]
        dr, er, fr = yr[o : o + s], yr[o + s : o + 2 * s], yr[o + 2 * s : o + 3 * s]
        di, ei, fi = yi[o : o + s], yi[o + s : o + 2 * s], yi[o + 2 * s : o + 3 * s]
        for q in range(s):
            tr, ti = br[q] + cr[q], bi[q] + ci[q]
            ur, ui = rise * (bi[q] - ci[q]), rise * (cr[q] - br[q])
            mr, mi = ar[q] - half * tr, ai[q] - half * ti
            dr[q] = ar[q] + tr
            di[q] = ai[q] + ti
            gr, gi = mr + ur, mi + ui
            er[q] = gr * vr - gi * vi
            ei[q] = gr * vi + gi * vr
            gr, gi = mr - ur, mi - ui
            fr[q] = gr * wr - gi * wi
            fi[q] = gr * wi + gi * wr


@compiled(fastmath=True)
def _radix4(xr: Line, xi: Line, yr: Line, yi: Line, m: int, s: int, roots: NDArray[np.complex64], step: int) -> None:
    for p in range(m):
        u, v, w = roots[step * p], roots[2 * step * p], roots[3 * step * p]
        ur, ui, vr, vi, wr, wi = u.real, u.imag, v.real, v.imag, w.real, w.imag
        a, b, c, d, o = s * p, s * (p + m), s * (p + 2 * m), s * (p + 3 * m), 4 * s * p
        ar, br, cr, dr = xr[a : a + s], xr[b : b + s], xr[c : c + s], xr[d : d + s]
        ai, bi, ci, di = xi[a : a + s], xi[b : b + s], xi[c : c + s], xi[d : d + s]
        er, fr, gr, hr = yr[o : o + s], yr[o + s : o + 2 * s], yr[o + 2 * s : o + 3 * s], yr[o + 3 * s : o + 4 * s]
        ei, fi, gi, hi = yi[o : o + s], yi[o + s : o + 2 * s], yi[o + 2 * s : o + 3 * s], yi[o + 3 * s : o + 4 * s]
        for q in range(s):
            kr, ki = ar[q] + cr[q], ai[q] + ci[q]
            lr, li = ar[q] - cr[q], ai[q] - ci[q]
            mr, mi = br[q] + dr[q], bi[q] + di[q]
            nr, ni = bi[q] - di[q], dr[q] - br[q]
            er[q] = kr + mr
            ei[q] = ki + mi
            tr, ti = lr + nr, li + ni
            fr[q] = tr * ur - ti * ui
            fi[q] = tr * ui + ti * ur
            tr, ti = kr - mr, ki - mi
            gr[q] = tr * vr - ti * vi
            gi[q] = tr * vi + ti * vr
            tr, ti = lr - nr, li - ni
            hr[q] = tr * wr - ti * wi
            hi[q] = tr * wi + ti * wr


@compiled(fastmath=True)
def _radix_odd(
    xr: Line, xi: Line, yr: Line, yi: Line, m: int, s: int, roots: NDArray[np.complex64], step: int, radix: int
) -> None:
    size = roots.size
    for p in range(m):
        for j in range(radix):
            o = s * (radix * p + j)
            outr, outi = yr[o : o + s], yi[o : o + s]
            for k in range(radix):
                w = roots[(step * p * j + size // radix * ((j * k) % radix)) % size]
                wr, wi = w.real, w.imag
                a = s * (p + k * m)
                inr, ini = xr[a : a + s], xi[a : a + s]
                if k == 0:
                    for q in range(s):
                        outr[q] = inr[q] * wr - ini[q] * wi
                        outi[q] = inr[q] * wi + ini[q] * wr
                else:
                    for q in range(s):
                        outr[q] += inr[q] * wr - ini[q] * wi
                        outi[q] += inr[q] * wi + ini[q] * wr


@compiled()
def _stockham(
    xr: Line, xi: Line, yr: Line, yi: Line, radices: NDArray[np.int64], s: int, roots: NDArray[np.complex64]
) -> bool:
    """Transform the slow axis of x (n, s) with y as second buffer; return whether the result lies in y."""
    n = 1
    for radix in radices:
        n *= radix
    swapped = False
    for radix in radices:
        m = n // radix
        step = roots.size // n
        if radix == 4:
            _radix4(xr, xi, yr, yi, m, s, roots, step)
        elif radix == 3:
            _radix3(xr, xi, yr, yi, m, s, roots, step)
        elif radix == 2:
            _radix2(xr, xi, yr, yi, m, s, roots, step)
        else:
            _radix_odd(xr, xi, yr, yi, m, s, roots, step, radix)
        xr, xi, yr, yi = yr, yi, xr, xi
        swapped = not swapped
        n = m
        s *= radix
    return swapped


@compiled(fastmath=True)
def _four_steps(
    xr: Line,
    xi: Line,
    yr: Line,
    yi: Line,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    twist: NDArray[np.complex64],
    roots: NDArray[np.complex64],
) -> bool:
    """Transform x (n, lane) along n with y as second buffer; return whether the result lies in y."""
    n1, n2 = twist.shape
    lanes = xr.size // (n1 * n2)
    if _stockham(xr, xi, yr, yi, first, n2 * lanes, roots):
        xr, xi, yr, yi = yr, yi, xr, xi
        swapped = True
    else:
        swapped = False
    for k in range(n1):
        for j in range(n2):
            w = twist[k, j]
            wr, wi = w.real, w.imag
            a, b = (k * n2 + j) * lanes, (j * n1 + k) * lanes
            for q in range(lanes):
                yr[b + q] = xr[a + q] * wr - xi[a + q] * wi
                yi[b + q] = xr[a + q] * wi + xi[a + q] * wr
    return _stockham(yr, yi, xr, xi, second, n1 * lanes, roots) == swapped


@compiled(fastmath=True)
def _transform_rows(
    block: NDArray[np.float32],
    base: int,
    columns: int,
    real: NDArray[np.float32],
    imaginary: NDArray[np.float32],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    twist: NDArray[np.complex64],
    roots: NDArray[np.complex64],
) -> None:
    """Transform rows base.. , two real rows as one complex line, into (column frequency, row)."""
    width = block.shape[1]
    xr = np.empty(width * _LANES, dtype=np.float32)
    xi = np.empty_like(xr)
    yr = np.empty_like(xr)
    yi = np.empty_like(xr)
    for x in range(width):
        for lane in range(_LANES):
            xr[x * _LANES + lane] = block[lane, x]
    for x in range(width):
        for lane in range(_LANES):
            xi[x * _LANES + lane] = block[_LANES + lane, x]
    in_y = _four_steps(xr, xi, yr, yi, first, second, twist, roots)
    zr, zi = (yr, yi) if in_y else (xr, xi)
    half = np.float32(0.5)
    for k in range(columns + 1):
        a, b = k * _LANES, (width - k) % width * _LANES
        for q in range(_LANES):
            real[k, base + q] = half * (zr[a + q] + zr[b + q])
            imaginary[k, base + q] = half * (zi[a + q] - zi[b + q])
            real[k, base + _LANES + q] = half * (zi[a + q] + zi[b + q])
            imaginary[k, base + _LANES + q] = half * (zr[b + q] - zr[a + q])


@compiled(fastmath=True)
def _transform_columns(
    real: NDArray[np.float32],
    imaginary: NDArray[np.float32],
    rows: int,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    twist: NDArray[np.complex64],
    roots: NDArray[np.complex64],
) -> NDArray[np.complex64]:
    """Transform the columns and keep row frequencies -rows..rows."""
    height = real.shape[1]
    out = np.empty((2 * rows + 1, real.shape[0]), dtype=np.complex64)
    xr = np.empty(height * _LANES, dtype=np.float32)
    xi = np.empty_like(xr)
    yr = np.empty_like(xr)
    yi = np.empty_like(xr)
    for block in range(-(-real.shape[0] // _LANES)):
        base = min(block * _LANES, real.shape[0] - _LANES)
        some_real, some_imaginary = real[base : base + _LANES], imaginary[base : base + _LANES]
        for y in range(height):
            for lane in range(_LANES):
                xr[y * _LANES + lane] = some_real[lane, y]
        for y in range(height):
            for lane in range(_LANES):
                xi[y * _LANES + lane] = some_imaginary[lane, y]
        in_y = _four_steps(xr, xi, yr, yi, first, second, twist, roots)
        zr, zi = (yr, yi) if in_y else (xr, xi)
        for k in range(-rows, rows + 1):
            a = k % height * _LANES
            for q in range(_LANES):
                out[k + rows, base + q] = complex(zr[a + q], zi[a + q])
    return out
