"""Bottom-k: a coordinated sample of a row's distinct items, with exact weights.

Purpose: one small structure that is a distinct count, a Jaccard similarity and a
list of sampled members (accounts of a link, slots of a template) at once.
Invariants: a row holds exactly the distinct digests below `theta`, each with the
whole weight it ever had; `theta` (exclusive) starts at 2**64 - 1 and is lowered
to the smallest digest that found no room, that is, to the (k + 1)th smallest. So
a row is a function of the multiset added, whatever the order; an item enters at
its first occurrence or never; and a row copied into more slots is the same sample.
Slots are unsorted and an item never changes its slot, so a caller may keep
parallel columns by slot; `canonical_order` sorts a column for its snapshot.
Limits: relative standard error of the distinct count about 1/sqrt(k - 1)
(k = 16: 26 %, 128: 9 %); exact up to k. Unused slots are zero. Digest 2**64 - 1
is not sampled.
Source: Beyer, Haas, Reinwald, Sismanis and Gemulla, "On synopses for
distinct-value estimation under multiset operations" (SIGMOD 2007); Dasgupta,
Lang, Rhodes and Thaler, "A framework for estimating stream expression
cardinalities" (ICDT 2016), whose theta this is.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from detector.sketches.columns import digests_column, kernel, rows_column, saturating_add, weights_column
from detector.sketches.estimate import SIGMAS, Estimates, share

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
U16 = npt.NDArray[np.uint16]

THETA_MAX = 2**64 - 1
REFUSED = -1


class BottomK(NamedTuple):
    """A column of bottom-k sketches; pass its arrays to the kernels with `*column`.

    Shapes: hashes and counts (rows, k), sizes and thetas (rows,).
    """

    hashes: U64
    counts: U32
    sizes: U16
    thetas: U64


def empty(rows: int, *, k: int) -> BottomK:
    """Make a column of empty sketches of k slots, 2 <= k < 65,536.

    >>> empty(2, k=16).hashes.shape
    (2, 16)
    """
    assert 2 <= k < 1 << 16, f"k={k} is not in 2..65535"
    return BottomK(
        hashes=np.zeros((rows, k), np.uint64),
        counts=np.zeros((rows, k), np.uint32),
        sizes=np.zeros(rows, np.uint16),
        thetas=np.full(rows, THETA_MAX, np.uint64),
    )


@kernel
def add(hashes, counts, sizes, thetas, row, digest, weight):  # type: ignore[no-untyped-def]
    """Add one digest (uint64; 0 is absent) with its weight (integer >= 0) to one row.

    Returns (int64) the slot if the digest was there already; `-(slot + 2)` if it
    was placed now, perhaps over a larger one, so a caller's parallel columns start
    afresh in that slot (`slot = -answer - 2`); `REFUSED` (-1) if it is not sampled.
    """
    if digest >= thetas[row] or digest == np.uint64(0):
        return REFUSED
    size = int(sizes[row])
    # All slots, without a way out in between: so the comparisons go several at a time.
    held = np.int64(-1)
    for slot in range(size):
        held = max(held, np.int64(slot) if hashes[row, slot] == digest else np.int64(-1))
    if held >= 0:
        counts[row, held] = saturating_add(counts[row, held], weight)
        return held
    place = size
    if size == hashes.shape[1]:
        place = 0
        largest = hashes[row, 0]
        for slot in range(1, size):
            if hashes[row, slot] > largest:
                largest = hashes[row, slot]
                place = slot
        if digest > largest:
            thetas[row] = digest
            return REFUSED
        thetas[row] = largest
    else:
        sizes[row] = size + 1
    hashes[row, place] = digest
    counts[row, place] = saturating_add(np.uint32(0), weight)
    return -(place + 2)


@numba.njit(cache=True)
def _add_many(hashes, counts, sizes, thetas, rows, digests, weights, answers):  # type: ignore[no-untyped-def]
    for i in range(rows.size):
        answers[i] = add(hashes, counts, sizes, thetas, rows[i], digests[i], weights[i])


def add_column(
    column: BottomK,
    *,
    rows: npt.ArrayLike,
    digests: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> npt.NDArray[np.int64]:
    """Add `digests[i]` (uint64) to row `rows[i]` with `weights[i]` (whole, >= 0; absent: 1), in place.

    Returns `add`'s answers, int64 of the same length.

    >>> column = empty(1, k=2)
    >>> add_column(column, rows=[0] * 5, digests=np.array([30, 20, 20, 10, 30], np.uint64)).tolist()
    [-2, -3, 1, -2, -1]
    >>> column.hashes.tolist(), column.counts.tolist(), column.thetas.tolist()
    ([[10, 20]], [[1, 2]], [30])
    """
    at = rows_column(rows, rows_max=column.sizes.size)
    answers = np.zeros(at.size, np.int64)
    _add_many(*column, at, digests_column(digests, size=at.size), weights_column(weights, size=at.size), answers)
    return answers


@kernel
def _slot_of(hashes, size, row, digest):  # type: ignore[no-untyped-def]
    for slot in range(size):
        if hashes[row, slot] == digest:
            return slot
    return -1


@numba.njit(cache=True)
def merge(  # type: ignore[no-untyped-def]
    hashes,
    counts,
    sizes,
    thetas,
    row,
    other_hashes,
    other_counts,
    other_sizes,
    other_thetas,
    other_row,
    origins,
):
    """Merge a row of another column (any k) into `row`, leaving its slots sorted by digest.

    `origins` (int32 (k, 2)) is filled with the slots each item had in `row` and in
    the other row, -1 where it was in none, so that parallel columns can follow.
    """
    k = hashes.shape[1]
    size = np.int64(sizes[row])
    other_size = np.int64(other_sizes[other_row])
    theta = min(thetas[row], other_thetas[other_row])
    digests = np.zeros(size + other_size, np.uint64)
    weights = np.zeros(size + other_size, np.uint32)
    slots = np.zeros((size + other_size, 2), np.int32)
    n = 0
    for side in range(2):
        for slot in range(other_size if side else size):
            digest = other_hashes[other_row, slot] if side else hashes[row, slot]
            weight = other_counts[other_row, slot] if side else counts[row, slot]
            first = _slot_of(hashes, size, row, digest) if side else -1
            if digest >= theta:
                continue
            # Insertion sort: at most two times k items, at discovery only.
            at = n
            while at > 0 and digests[at - 1] >= digest:
                at -= 1
            if first < 0:
                for later in range(n, at, -1):
                    digests[later] = digests[later - 1]
                    weights[later] = weights[later - 1]
                    slots[later, 0] = slots[later - 1, 0]
                    slots[later, 1] = slots[later - 1, 1]
                n += 1
                digests[at] = digest
                weights[at] = np.uint32(0)
                slots[at, 0] = -1
                slots[at, 1] = -1
            weights[at] = saturating_add(weights[at], weight)
            slots[at, side] = slot
    if n > k:
        theta = digests[k]
        n = k
    thetas[row] = theta
    sizes[row] = n
    # Plain loops: slice assignments compile for seconds.
    for slot in range(k):
        used = slot < n
        hashes[row, slot] = digests[slot] if used else np.uint64(0)
        counts[row, slot] = weights[slot] if used else np.uint32(0)
        origins[slot, 0] = slots[slot, 0] if used else -1
        origins[slot, 1] = slots[slot, 1] if used else -1


@kernel
def copy(  # type: ignore[no-untyped-def]
    hashes,
    counts,
    sizes,
    thetas,
    row,
    other_hashes,
    other_counts,
    other_sizes,
    other_thetas,
    other_row,
):
    """Replace `row` by a row of another column with no more slots than this one; slots keep their numbers.

    This is promotion: theta comes along, so the larger row is the same sample and
    goes on as such (it fills up only once theta has been passed from below).
    """
    size = np.int64(other_sizes[other_row])
    for slot in range(hashes.shape[1]):
        hashes[row, slot] = other_hashes[other_row, slot] if slot < size else np.uint64(0)
        counts[row, slot] = other_counts[other_row, slot] if slot < size else np.uint32(0)
    sizes[row] = size
    thetas[row] = other_thetas[other_row]


def canonical_order(column: BottomK) -> npt.NDArray[np.int64]:
    """Slots of each row by digest, unused ones last: int64 (rows, k), for `numpy.take_along_axis`."""
    used = np.arange(column.hashes.shape[1]) < column.sizes[:, None]
    return np.argsort(np.where(used, column.hashes, np.uint64(THETA_MAX)), axis=1, kind="stable")


def canonical(column: BottomK) -> BottomK:
    """Copy a column with its slots sorted: equal multisets give equal bytes.

    >>> column = empty(1, k=3)
    >>> _ = add_column(column, rows=[0, 0], digests=np.array([30, 20], np.uint64))
    >>> canonical(column).hashes.tolist()
    [[20, 30, 0]]
    """
    order = canonical_order(column)
    return BottomK(
        hashes=np.take_along_axis(column.hashes, order, axis=1),
        counts=np.take_along_axis(column.counts, order, axis=1),
        sizes=column.sizes.copy(),
        thetas=column.thetas.copy(),
    )


def estimate(*, sizes: npt.NDArray[np.integer], thetas: U64) -> Estimates:
    """Estimate the distinct digests of each row from sizes and thetas (rows,); float64 (rows,).

    Exact while theta was never lowered. Else the sample is the share p = theta/2**64
    of the distinct digests: size/p, with Wilson bounds at `SIGMAS` on size = n * p.

    >>> e = estimate(sizes=np.array([3, 16]), thetas=np.array([THETA_MAX, 2**60], np.uint64))
    >>> [x.round(1).tolist() for x in e]
    [[3.0, 256.0], [3.0, 158.5], [3.0, 413.5]]
    """
    size = sizes.astype(np.float64)
    p = thetas.astype(np.float64) / 2.0**64
    z2 = SIGMAS * SIGMAS
    centre = size + z2 * (1.0 - p) / 2.0
    reach = SIGMAS * np.sqrt((1.0 - p) * (size + z2 * (1.0 - p) / 4.0))
    lower = np.maximum((centre - reach) / p, size)
    return Estimates(size / p, np.minimum(lower, size / p), (centre + reach) / p)


@kernel
def overlap(  # type: ignore[no-untyped-def]
    hashes, sizes, thetas, row, other_hashes, other_sizes, other_thetas, other_row
):
    """Count, below both rows' thetas, the digests in both, in `row` and in the other: three int64.

    Coordinated samples: both rows have seen all their digests below the smaller
    theta, so shares among these estimate shares among all.
    """
    theta = min(thetas[row], other_thetas[other_row])
    other_size = np.int64(other_sizes[other_row])
    both = 0
    mine = 0
    theirs = 0
    for slot in range(np.int64(sizes[row])):
        digest = hashes[row, slot]
        if digest < theta:
            mine += 1
            both += _slot_of(other_hashes, other_size, other_row, digest) >= 0
    for slot in range(other_size):
        theirs += other_hashes[other_row, slot] < theta
    return both, mine, theirs


@numba.njit(cache=True)
def _overlap_many(  # type: ignore[no-untyped-def]
    hashes, sizes, thetas, rows, other_hashes, other_sizes, other_thetas, other_rows, out
):
    for i in range(rows.size):
        both, mine, theirs = overlap(
            hashes, sizes, thetas, rows[i], other_hashes, other_sizes, other_thetas, other_rows[i]
        )
        out[i, 0] = both
        out[i, 1] = mine
        out[i, 2] = theirs


def jaccard(column: BottomK, *, rows: npt.ArrayLike, other: BottomK, other_rows: npt.ArrayLike) -> Estimates:
    """Estimate the Jaccard similarity of row `rows[i]` and row `other_rows[i]` of `other`; float64 each.

    Shared over all digests below the smaller theta, with Wilson bounds; exact if
    neither theta was lowered; (0, 0, 1) for two empty rows.

    >>> column = empty(2, k=4)
    >>> digests = np.array([10, 20, 20, 30], np.uint64)
    >>> _ = add_column(column, rows=[0, 0, 1, 1], digests=digests)
    >>> [round(float(x[0]), 3) for x in jaccard(column, rows=[0], other=column, other_rows=[1])]
    [0.333, 0.333, 0.333]
    """
    at = rows_column(rows, rows_max=column.sizes.size)
    other_at = rows_column(other_rows, rows_max=other.sizes.size)
    assert at.size == other_at.size, f"{at.size} rows against {other_at.size}"
    found = np.zeros((at.size, 3), np.int64)
    _overlap_many(
        column.hashes,
        column.sizes,
        column.thetas,
        at,
        other.hashes,
        other.sizes,
        other.thetas,
        other_at,
        found,
    )
    both = found[:, 0].astype(np.float64)
    union = (found[:, 1] + found[:, 2] - found[:, 0]).astype(np.float64)
    estimated = share(hits=both, trials=union)
    whole = (column.thetas[at] == THETA_MAX) & (other.thetas[other_at] == THETA_MAX) & (union > 0)
    return Estimates(
        estimated.value,
        np.where(whole, estimated.value, estimated.lower),
        np.where(whole, estimated.value, estimated.upper),
    )
