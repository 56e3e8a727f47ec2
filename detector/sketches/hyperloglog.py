"""HyperLogLog: distinct items per row in one byte per register.

Purpose: how many different prompts, slots, subnets a row has seen, from any
number of events, in m = 2**p bytes.
Invariants: a register is the largest rank seen, so adding is idempotent and
order-free, and merging is the element-wise maximum. The index is the digest's
low p bits, the rank one more than the number of leading zeros of the other
64 - p bits (at most 65 - p).
Limits: standard error 1.04/sqrt(m) (m = 64: 13 %, 256: 6.5 %, 1024: 3.3 %,
4096: 1.6 %), less while n is below m; m from 16 to 65,536. Bounds are
statistical, at two standard errors; the number of non-zero registers is a
certain lower bound and is used where it is better. Of very few items one may be
lost to a shared register (ten in 4,096: once in 91), which is more than the upper
bound allows for.
Source: Flajolet, Fusy, Gandouet and Meunier (AofA 2007); estimator: Ertl, "New
cardinality estimation algorithms for HyperLogLog sketches" (arXiv 1702.01284),
algorithm 6, which needs no bias table and no switch to linear counting.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from detector.sketches.columns import digests_column, kernel, rows_column
from detector.sketches.estimate import SIGMAS, Estimates

U8 = npt.NDArray[np.uint8]

REGISTERS_MIN = 16
REGISTERS_MAX = 1 << 16
RANK_MAX = 64
_DIGESTS = 2.0**64
_ALPHA_INFINITE = 0.5 / math.log(2.0)


def empty(rows: int, *, registers: int) -> U8:
    """Make a column of empty sketches: uint8 (rows, registers); `registers` a power of two.

    >>> empty(3, registers=64).shape
    (3, 64)
    """
    fits = REGISTERS_MIN <= registers <= REGISTERS_MAX and registers & (registers - 1) == 0
    assert fits, f"registers={registers} is no power of two from {REGISTERS_MIN} to {REGISTERS_MAX}"
    return np.zeros((rows, registers), np.uint8)


@kernel
def add(registers, row, digest):  # type: ignore[no-untyped-def]
    """Add one digest (uint64; 0 is absent) to `registers[row]` (uint8 (rows, m), m a power of two).

    A full sketch rarely changes: whether the rank can exceed the register is one
    shift and one comparison, and only then is the rank counted out.
    """
    one = np.uint64(1)
    zero = np.uint64(0)
    if digest == zero:
        return
    m = np.uint64(registers.shape[1])
    at = digest & (m - one)
    present = np.uint64(registers[row, at])
    # As many leading zeros as the register's rank mean a higher rank.
    if present == zero or digest >> (np.uint64(64) - present) == zero:
        rank = one
        bit = one << np.uint64(63)
        # Bits below m are the index's.
        while bit >= m and digest & bit == zero:
            bit >>= one
            rank += one
        # Not higher only where the register is at its last rank already.
        if rank > present:
            registers[row, at] = rank


@kernel
def place(digest, registers):  # type: ignore[no-untyped-def]
    """The register and the rank of a digest (uint64) in a sketch of so many registers; rank 0 for 0, which is absent.

    For who adds one digest to many rows: `raise_to` is then all there is to do for each.
    """
    one = np.uint64(1)
    m = np.uint64(registers)
    at = np.int64(digest & (m - one))
    if digest == np.uint64(0):
        return at, np.uint8(0)
    rank = 1
    bit = one << np.uint64(63)
    while bit >= m and digest & bit == np.uint64(0):
        bit >>= one
        rank += 1
    return at, np.uint8(rank)


@kernel
def raise_to(registers, row, at, rank):  # type: ignore[no-untyped-def]
    """Add what `place` placed to `registers[row]`."""
    registers[row, at] = max(registers[row, at], rank)


@kernel
def merge(registers, row, other, other_row):  # type: ignore[no-untyped-def]
    """Merge `other[other_row]` into `registers[row]`; both uint8 (rows, m) of the same m."""
    for at in range(registers.shape[1]):
        registers[row, at] = max(registers[row, at], other[other_row, at])


@numba.njit(cache=True)
def _add_many(registers, rows, digests):  # type: ignore[no-untyped-def]
    for i in range(rows.size):
        add(registers, rows[i], digests[i])


def add_column(registers: U8, *, rows: npt.ArrayLike, digests: npt.ArrayLike) -> None:
    """Add `digests[i]` (uint64) to `registers[rows[i]]` for every i, in place.

    >>> registers = empty(2, registers=1024)
    >>> add_column(registers, rows=[0, 1, 1], digests=np.array([2**63, 5, 2**62 + 3], np.uint64))
    >>> estimate(registers).value.round().tolist()
    [1.0, 2.0]
    """
    at = rows_column(rows, rows_max=registers.shape[0])
    _add_many(registers, at, digests_column(digests, size=at.size))


@numba.njit(cache=True)
def _sigma(x):  # type: ignore[no-untyped-def]
    """Ertl's sigma for 0 <= x < 1: the share of empty registers."""
    y = 1.0
    z = x
    before = -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


@numba.njit(cache=True)
def _tau(x):  # type: ignore[no-untyped-def]
    """Ertl's tau for 0 <= x <= 1: one less the share of registers at the last rank."""
    if x == 0.0 or x == 1.0:
        return 0.0
    y = 1.0
    z = 1.0 - x
    before = -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1.0 - x) * (1.0 - x) * y
    return z / 3.0


@numba.njit(cache=True)
def _estimate_rows(registers, value, nonzero):  # type: ignore[no-untyped-def]
    rows, m = registers.shape
    ranks = 64
    while 1 << (64 - ranks) < m:
        ranks -= 1
    # ranks is now 64 - p, the number of bits that give the rank
    histogram = np.zeros(RANK_MAX + 2, np.int64)
    for row in range(rows):
        histogram[:] = 0
        for at in range(m):
            histogram[registers[row, at]] += 1
        nonzero[row] = m - histogram[0]
        if histogram[0] == m:
            value[row] = 0.0
            continue
        z = m * _tau(1.0 - histogram[ranks + 1] / m)
        for rank in range(ranks, 0, -1):
            z = 0.5 * (z + histogram[rank])
        z += m * _sigma(histogram[0] / m)
        # All registers at the last rank, z = 0, mean more than there are digests.
        value[row] = min(_ALPHA_INFINITE * m * m / z, _DIGESTS) if z > 0.0 else _DIGESTS


def estimate(registers: U8) -> Estimates:
    """Estimate the distinct items of each row of `registers` (uint8 (rows, m)); float64 (rows,).

    Bounds at two standard errors of 1.04/sqrt(m); the lower one is never below
    the number of non-zero registers, which is certain.

    >>> registers = empty(1, registers=1024)
    >>> digests = np.random.default_rng(1).integers(1, 2**64, 100_000, np.uint64)
    >>> add_column(registers, rows=np.zeros(100_000, int), digests=digests)
    >>> e = estimate(registers)
    >>> bool(e.lower[0] < 100_000 < e.upper[0])
    True
    """
    rows, m = registers.shape
    raw = np.zeros(rows)
    nonzero = np.zeros(rows)
    _estimate_rows(registers, raw, nonzero)
    reach = SIGMAS * 1.04 / math.sqrt(m)
    # An estimate just below the certain count is rounding of the estimator: lift it.
    value = np.maximum(raw, nonzero)
    lower = np.maximum(value / (1.0 + reach), nonzero)
    return Estimates(value, lower, value / (1.0 - reach))
