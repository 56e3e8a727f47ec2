"""Count-min: how often an item was seen, never under, in a fixed table.

Purpose: the admission gate and other counts over more keys than rows exist.
Invariants: plain update (conservative update would break merging), so a table is
an order-free sum and merging adds; `truth <= query` always, unless a cell has
saturated at 2**32 - 1.
Limits: with width w, depth d and total weight N, `query <= truth + epsilon * N`
except with probability delta, epsilon = e/w, delta = exp(-d), over the hashing
key. Every depth reads the same keyed digest: one multiplication each gives the
next index, so the adversary, who has not the key, cannot aim.
Source: Cormode and Muthukrishnan, "An improved data stream summary: the count-min
sketch" (J. Algorithms 2005); multiplier: Steele and Vigna, "Computationally easy,
spectrally good multipliers" (Software: Practice and Experience 2022).
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from detector.sketches.columns import COUNT_MAX, digests_column, kernel, saturating_add, weights_column
from detector.sketches.estimate import Estimates

U32 = npt.NDArray[np.uint32]

DEPTH_MAX = 16
# Two digests share all cells only if the walk of their difference under this
# multiplier stays near zero depth times; a good lattice makes that as rare as
# with independent hashes.
_MULTIPLIER = np.uint64(0xD1342543DE82EF95)
_HALF = np.uint64(32)


def empty(*, depth: int, width: int) -> U32:
    """Make an empty table: uint32 (depth, width).

    >>> empty(depth=4, width=2048).shape
    (4, 2048)
    """
    assert 1 <= depth <= DEPTH_MAX, f"depth={depth} is not in 1..{DEPTH_MAX}"
    assert 1 <= width < 1 << 31, f"width={width} is not in 1..2**31 - 1"
    return np.zeros((depth, width), np.uint32)


def dimensions(*, epsilon: float, delta: float) -> tuple[int, int]:
    """Choose (depth, width) for an over-count above `epsilon * N` with probability at most `delta`.

    >>> dimensions(epsilon=0.0014, delta=0.02)
    (4, 1942)
    """
    assert 0 < epsilon < 1, f"epsilon={epsilon} is not between 0 and 1"
    assert 0 < delta < 1, f"delta={delta} is not between 0 and 1"
    return max(1, math.ceil(math.log(1 / delta))), math.ceil(math.e / epsilon)


@kernel
def add(cells, digest, weight):  # type: ignore[no-untyped-def]
    """Add a weight (integer >= 0) for one digest (uint64; 0 is absent) to `cells` (uint32 (depth, width)).

    Returns the new count (uint32), as `query` would.
    """
    if digest == np.uint64(0):
        return np.uint32(0)
    width = np.uint64(cells.shape[1])
    least = np.uint32(COUNT_MAX)
    walk = digest
    for depth in range(cells.shape[0]):
        # The high 32 bits as a fraction of the width: no division, any width.
        at = ((walk >> _HALF) * width) >> _HALF
        count = saturating_add(cells[depth, at], weight)
        cells[depth, at] = count
        least = min(least, count)
        walk *= _MULTIPLIER
    return least


@kernel
def query(cells, digest):  # type: ignore[no-untyped-def]
    """Count of one digest (uint64; 0 is absent) in `cells` (uint32 (depth, width)); uint32, never too low."""
    if digest == np.uint64(0):
        return np.uint32(0)
    width = np.uint64(cells.shape[1])
    least = np.uint32(COUNT_MAX)
    walk = digest
    for depth in range(cells.shape[0]):
        least = min(least, cells[depth, ((walk >> _HALF) * width) >> _HALF])
        walk *= _MULTIPLIER
    return least


def merge(cells: U32, other: U32) -> None:
    """Add the table `other` into `cells` in place; equal shapes, saturating.

    >>> a, b = empty(depth=2, width=8), empty(depth=2, width=8)
    >>> _ = add(a, np.uint64(7), 3), add(b, np.uint64(7), 4)
    >>> merge(a, b)
    >>> int(query(a, np.uint64(7)))
    7
    """
    assert cells.shape == other.shape, f"tables of {cells.shape} and {other.shape} do not merge"
    # What is left up to the maximum bounds the addend, so the sum cannot wrap.
    cells += np.minimum(other, np.uint32(COUNT_MAX) - cells)


@numba.njit(cache=True)
def _add_many(cells, digests, weights):  # type: ignore[no-untyped-def]
    for i in range(digests.size):
        add(cells, digests[i], weights[i])


@numba.njit(cache=True)
def _query_many(cells, digests, counts):  # type: ignore[no-untyped-def]
    for i in range(digests.size):
        counts[i] = query(cells, digests[i])


def add_column(cells: U32, *, digests: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> None:
    """Add `weights[i]` (whole, >= 0; absent: 1) for `digests[i]` (uint64) for every i, in place."""
    column = digests_column(digests)
    _add_many(cells, column, weights_column(weights, size=column.size))


def estimate(cells: U32, *, digests: npt.ArrayLike) -> Estimates:
    """Estimate the weight of each digest (uint64); three float64 arrays.

    Value and upper bound are the count, which is never too low; the lower bound
    is `count - epsilon * N` and fails with probability `exp(-depth)`.

    >>> cells = empty(depth=4, width=64)
    >>> add_column(cells, digests=np.array([9, 9, 8], np.uint64))
    >>> estimate(cells, digests=np.array([9, 7], np.uint64)).value.tolist()
    [2.0, 0.0]
    """
    column = digests_column(digests)
    counts = np.zeros(column.size, np.uint32)
    _query_many(cells, column, counts)
    # Each row of the table holds the whole weight, so any one sums to N.
    total = float(cells[0].sum(dtype=np.uint64))
    value = counts.astype(np.float64)
    lower = np.maximum(value - math.e / cells.shape[1] * total, 0.0)
    return Estimates(value, lower, value)
