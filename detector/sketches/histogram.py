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

import decimal
import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from detector.sketches.columns import COUNT_MAX, floor_log2, kernel, rows_column, saturating_add, weights_column
from detector.sketches.estimate import F64, Estimates

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


@kernel
def half_octave(value):  # type: ignore[no-untyped-def]
    """Number of the half octave of a value (integer; below 1 is bin 0); int64.

    >>> [half_octave(x) for x in (0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 1024)]
    [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 20]
    """
    if value < 2:
        return 1 if value == 1 else 0
    octave = floor_log2(value)
    return 2 * octave + (np.int64(value >> (octave - 1)) & 1)


@kernel
def octave(value):  # type: ignore[no-untyped-def]
    """Number of the octave of a value (integer; below 1 is bin 0); int64.

    >>> [octave(x) for x in (0, 1, 2, 3, 4, 7, 8, 1024)]
    [0, 1, 2, 2, 3, 3, 4, 11]
    """
    return floor_log2(value) + 1 if value > 0 else 0


@kernel
def add(bins, row, value, weight):  # type: ignore[no-untyped-def]
    """Add a value (int64) with its weight (integer >= 0) to the half octaves `bins[row]` (uint32 (rows, nbins))."""
    at = min(half_octave(value), bins.shape[1] - 1)
    bins[row, at] = saturating_add(bins[row, at], weight)


@kernel
def add_octave(bins, row, value, weight):  # type: ignore[no-untyped-def]
    """Add a value (int64) with its weight (integer >= 0) to the octaves `bins[row]` (uint32 (rows, nbins))."""
    at = min(octave(value), bins.shape[1] - 1)
    bins[row, at] = saturating_add(bins[row, at], weight)


@kernel
def merge(bins, row, other, other_row):  # type: ignore[no-untyped-def]
    """Add the histogram `other[other_row]` to `bins[row]`; both uint32 (rows, nbins) of equal edges."""
    for at in range(bins.shape[1]):
        bins[row, at] = saturating_add(bins[row, at], other[other_row, at])


@numba.njit(cache=True)
def _add_many(bins, rows, values, weights):  # type: ignore[no-untyped-def]
    for i in range(rows.size):
        add(bins, rows[i], values[i], weights[i])


@numba.njit(cache=True)
def _add_many_octaves(bins, rows, values, weights):  # type: ignore[no-untyped-def]
    for i in range(rows.size):
        add_octave(bins, rows[i], values[i], weights[i])


def add_column(
    bins: U32,
    *,
    rows: npt.ArrayLike,
    values: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    octaves: bool = False,
) -> None:
    """Add `values[i]` (int64) to `bins[rows[i]]` with `weights[i]` (whole, >= 0; absent: 1), in place.

    Half octaves, or octaves if asked.

    >>> bins = empty(1, bins=8)
    >>> add_column(bins, rows=[0, 0, 0], values=[0, 5, 900])
    >>> bins.tolist()
    [[1, 0, 0, 0, 1, 0, 0, 1]]
    """
    at = rows_column(rows, rows_max=bins.shape[0])
    what = np.require(values, np.int64, ["C", "W"])
    assert what.shape == at.shape, f"{what.size} values for {at.size} rows"
    add_many = _add_many_octaves if octaves else _add_many
    add_many(bins, at, what, weights_column(weights, size=at.size))


def half_octave_edges(bins: int) -> F64:
    """Lower edges of `bins` half octaves and the end of the last, which is open; float64 (bins + 1,).

    >>> half_octave_edges(9).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, inf]
    """
    octaves, halves = np.divmod(np.arange(bins), 2)
    edges = np.ldexp(1.0 + 0.5 * halves, octaves)
    edges[:2] = 0.0, 1.0
    return np.append(edges, np.inf)


def octave_edges(bins: int) -> F64:
    """Lower edges of `bins` octaves and the end of the last, which is open; float64 (bins + 1,).

    >>> octave_edges(6).tolist()
    [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, inf]
    """
    return np.concatenate(([0.0], np.ldexp(1.0, np.arange(bins - 1)), [np.inf]))


def to_octaves(bins: U32) -> U32:
    """Fold half octaves, uint32 (rows, an even number), into pairs: 0 and 1, 2 and 3, 4 to 7 ...

    The first octave has 0 and 1 together, so it has no bin of its own for zero.

    >>> to_octaves(np.array([[1, 2, 3, 4]], np.uint32)).tolist()
    [[3, 7]]
    """
    assert bins.shape[1] % 2 == 0, f"{bins.shape[1]} half octaves are no whole octaves"
    pairs = bins.reshape(bins.shape[0], -1, 2).sum(axis=2, dtype=np.uint64)
    folded: U32 = np.minimum(pairs, np.uint64(COUNT_MAX)).astype(np.uint32)
    return folded


def quantile(bins: U32, *, q: float, edges: F64) -> Estimates:
    """Estimate each row's value of rank ceil(q * n) from below, 0 < q <= 1; float64 (rows,).

    `edges` are `half_octave_edges` or `octave_edges` of `bins` (uint32 (rows, nbins)).
    The bounds are certain: the bin's least and greatest whole number, infinite in
    the last bin; an empty row gives (0, 0, inf). The value interpolates by rank.

    >>> bins = empty(1, bins=12)
    >>> add_column(bins, rows=[0] * 4, values=[9, 10, 13, 40])
    >>> [float(x[0]) for x in quantile(bins, q=0.5, edges=half_octave_edges(12))]
    [10.25, 8.0, 11.0]
    """
    assert 0.0 < q <= 1.0, f"q={q} is not in (0, 1]"
    assert edges.shape == (bins.shape[1] + 1,), f"{edges.size} edges for {bins.shape[1]} bins"
    upto = np.cumsum(bins, axis=1, dtype=np.uint64)
    total = upto[:, -1]
    rank = np.clip(np.ceil(q * total.astype(np.float64)), 1.0, None)
    # The first bin whose cumulated count reaches the rank.
    at = np.minimum((upto < rank[:, None]).sum(axis=1), bins.shape[1] - 1)
    held = np.take_along_axis(bins, at[:, None], axis=1)[:, 0].astype(np.float64)
    through = np.take_along_axis(upto, at[:, None], axis=1)[:, 0].astype(np.float64)
    lower, upper = edges[at], edges[at + 1] - 1.0
    within = np.clip((rank - (through - held) - 0.5) / np.maximum(held, 1.0), 0.0, 1.0)
    width = np.where(np.isinf(upper), 0.0, upper - lower)
    known = total > 0
    return Estimates(
        np.where(known, lower + within * width, 0.0),
        np.where(known, lower, 0.0),
        np.where(known, upper, np.inf),
    )


def _log2_thresholds() -> npt.NDArray[np.uint64]:
    """Least 64-bit mantissas (highest bit set) at or above 2**63 * 2**(j/256), j = 0..255."""
    # 19 digits are needed; 60 leave no doubt about which side of a whole number.
    with decimal.localcontext(prec=60):
        step = decimal.Decimal(2)
        for _ in range(8):  # 2**8 = LOG2_UNIT
            step = step.sqrt()
        power = decimal.Decimal(2**63)
        thresholds = []
        for _ in range(LOG2_UNIT):
            thresholds.append(math.ceil(power))
            power *= step
    return np.array(thresholds, np.uint64)


_THRESHOLDS = _log2_thresholds()
# For each leading eight bits after the first: the last threshold not above them.
_FIRST_GUESS = np.searchsorted(_THRESHOLDS, np.arange(256, 512, dtype=np.uint64) << np.uint64(55), side="right") - 1


@kernel
def log2_fixed(value):  # type: ignore[no-untyped-def]
    """floor(256 * log2(value)) of a value (int64, or uint64), exactly; values below 1 count as 1; int64.

    Comparing the shifted value with rounded-up powers of 2**(1/256) decides as
    exactly as with the irrational ones, since the value is whole.

    >>> [log2_fixed(x) for x in (0, 1, 2, 3, 1024, 1025)]
    [0, 0, 256, 405, 2560, 2560]
    """
    if value < 2:
        return 0
    whole = floor_log2(value)
    mantissa = np.uint64(value) << np.uint64(63 - whole)
    part = _FIRST_GUESS[(mantissa >> np.uint64(55)) & np.uint64(255)]
    # At most twice: 256 thresholds over 256 leading parts, at most 1.44 to a part.
    while part < LOG2_UNIT - 1 and mantissa >= _THRESHOLDS[part + 1]:
        part += 1
    return whole * LOG2_UNIT + part


@numba.njit(cache=True)
def _log2_many(values, logs):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        logs[i] = log2_fixed(values[i])


def log2_column(values: npt.ArrayLike) -> I64:
    """`log2_fixed` of each value (int64): int64 of the same length, in 1/256 octaves."""
    column = np.require(values, np.int64, ["C", "W"])
    logs = np.zeros(column.size, np.int64)
    _log2_many(column, logs)
    return logs


class Moments(NamedTuple):
    """Mean and standard deviation of log2, in octaves: float64 (rows,) each."""

    mean: F64
    deviation: F64


def moments(*, counts: I64, sums: I64, squares: I64) -> Moments:
    """Mean and (population) deviation of log2 from each row's sums of `log2_fixed` and of its square.

    Counts, sums, squares: int64 (rows,). An empty row gives zeros. The sum of squares
    stays below 2**63 for 2**34 events of up to 2**40 each.

    >>> logs = log2_column([4, 16])
    >>> m = moments(counts=np.array([2]), sums=logs.sum(keepdims=True), squares=(logs**2).sum(keepdims=True))
    >>> float(m.mean[0]), float(m.deviation[0])
    (3.0, 1.0)
    """
    n = np.maximum(counts, 1).astype(np.float64)
    mean = sums / n
    # Cancellation costs 1e-16 of the mean square, some 1e-6 of a 1/256 octave squared.
    variance = np.maximum(squares / n - mean * mean, 0.0)
    return Moments(mean / LOG2_UNIT, np.sqrt(variance) / LOG2_UNIT)
