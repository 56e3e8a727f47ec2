"""Histograms of token counts and sizes in octaves or half octaves, with exact moments of the logarithm.

Purpose: the shape of a row's lengths in a few integers: quantiles with certain
bounds, mean and spread of log2.
Invariants: integer counts in fixed bins, so adding and merging are order-free.
Limits: a quantile is known to its bin (an octave: factor 2; a half: 1.5 or 1.33);
the last bin is open above. Counts saturate at 2**32 - 1.

Edges. Octaves: bin 0 holds 0 and bin b from 1 holds [2**(b-1), 2**b): 0, 1, 2, 4,
8, 16 ... Half octaves split each octave in its middle: bins 0 to 3 hold 0, 1, 2
and 3, then 4, 6, 8, 12, 16, 24, 32 ...: bin 2*L + h holds [2**L + h * 2**(L-1),
...). So 40 half octaves reach 786,432 and 24 reach 6,144.

Logarithms. `log2_fixed` is floor(256 * log2(value)) in exact integer arithmetic;
sums of it and of its square are integers, hence order-free, and `moments` gives
mean and standard deviation.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from detector.sketches.columns import floor_log2, rows_column, saturating_add, weights_column
from detector.sketches.estimate import Estimates

U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]

LOG2_UNIT = 256


def empty(rows: int, *, bins: int) -> U32:
    """Make a column of empty histograms: uint32 (rows, bins), 2 <= bins <= 64.

    >>> empty(3, bins=40).shape
    (3, 40)
    """
    assert 2 <= bins <= 64, f"bins={bins} is not in 2..64"
    return np.zeros((rows, bins), np.uint32)


@numba.njit(cache=True)
def half_octave(value):  # type: ignore[no-untyped-def]
    """Number of the half octave of a value (integer; below 1 is bin 0); int64.

    >>> [half_octave(x) for x in (0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 1024)]
    [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 20]
    """
    if value < 2:
        return 1 if value == 1 else 0
    octave = floor_log2(value)
    return 2 * octave + (np.int64(value >> (octave - 1)) & 1)


@numba.njit(cache=True)
def octave(value):  # type: ignore[no-untyped-def]
    """Number of the octave of a value (integer; below 1 is bin 0); int64.

    >>> [octave(x) for x in (0, 1, 2, 3, 4, 7, 8, 1024)]
    [0, 1, 2, 2, 3, 3, 4, 11]
    """
    return floor_log2(value) + 1 if value > 0 else 0


@numba.njit(cache=True)
def add(bins, row, value, weight):  # type: ignore[no-untyped-def]
    """Add a value (int64) with its weight (integer >= 0) to the half octaves `bins[row]` (uint32 (rows, nbins))."""
    at = min(half_octave(value), bins.shape[1] - 1)
    bins[row, at] = saturating_add(bins[row, at], weight)


@numba.njit(cache=True)
def add_octave(bins, row, value, weight):  # type: ignore[no-untyped-def]
    """Add a value (int64) with its weight (integer >= 0) to the octaves `bins[row]` (uint32 (rows, nbins))."""
    at = min(octave(value), bins.shape[1] - 1)
    bins[row, at] = saturating_add(bins[row, at], weight)
