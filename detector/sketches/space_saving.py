"""Space-Saving: the heaviest items of a row, with guaranteed bounds.

Purpose: which few templates, models or subnets carry most of a row's weight.
Invariants: an item's true weight lies in [count - error, count]; an item that is
not held has at most the smallest count of a full row, 0 otherwise; any item
heavier than N/k is held. Ties are broken by digest, never by slot, so the slots'
order has no meaning.
Limits: depends on the order of additions: touch it at discovery only, over sorted
keys. Merging is commutative to the byte and keeps the bounds, but is not
associative. The bounds are certain until a count saturates at 2**32 - 1. Key 0
marks an unused slot.
Source: Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and
top-k elements in data streams" (ICDT 2005); merging: Agarwal, Cormode, Huang,
Phillips, Wei and Yi, "Mergeable summaries" (PODS 2012).
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from detector.sketches.columns import COUNT_MAX, digests_column, kernel, rows_column, saturating_add, weights_column
from detector.sketches.estimate import Estimate, Estimates

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]


class SpaceSaving(NamedTuple):
    """A column of Space-Saving sketches, arrays of shape (rows, k); pass them with `*column`."""

    keys: U64
    counts: U32
    errors: U32


def empty(rows: int, *, k: int) -> SpaceSaving:
    """Make a column of empty sketches of k slots, k >= 1.

    >>> empty(2, k=8).keys.shape
    (2, 8)
    """
    assert k >= 1, f"k={k} is not positive"
    return SpaceSaving(
        keys=np.zeros((rows, k), np.uint64),
        counts=np.zeros((rows, k), np.uint32),
        errors=np.zeros((rows, k), np.uint32),
    )


@kernel
def add(keys, counts, errors, row, digest, weight):  # type: ignore[no-untyped-def]
    """Add one digest (uint64; 0 is absent) with its weight (integer >= 0) to one row.

    A full row gives up the item of the smallest count, of equal ones the smallest digest.
    """
    zero = np.uint64(0)
    if digest == zero:
        return
    place = 0
    for slot in range(keys.shape[1]):
        key = keys[row, slot]
        if key == digest:
            counts[row, slot] = saturating_add(counts[row, slot], weight)
            return
        if key == zero:
            # Used slots come first, so the digest is not in the row.
            keys[row, slot] = digest
            counts[row, slot] = saturating_add(np.uint32(0), weight)
            return
        if counts[row, slot] < counts[row, place] or (
            counts[row, slot] == counts[row, place] and key < keys[row, place]
        ):
            place = slot
    keys[row, place] = digest
    errors[row, place] = counts[row, place]
    counts[row, place] = saturating_add(counts[row, place], weight)


@numba.njit(cache=True)
def _add_many(keys, counts, errors, rows, digests, weights):  # type: ignore[no-untyped-def]
    for i in range(rows.size):
        add(keys, counts, errors, rows[i], digests[i], weights[i])


def add_column(
    column: SpaceSaving,
    *,
    rows: npt.ArrayLike,
    digests: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> None:
    """Add `digests[i]` (uint64) to row `rows[i]` with `weights[i]` (whole, >= 0; absent: 1), in order, in place.

    >>> column = empty(1, k=2)
    >>> add_column(column, rows=[0, 0, 0, 0], digests=np.array([5, 5, 6, 7], np.uint64))
    >>> column.keys.tolist(), column.counts.tolist(), column.errors.tolist()
    ([[5, 7]], [[2, 2]], [[0, 1]])
    """
    at = rows_column(rows, rows_max=column.keys.shape[0])
    _add_many(*column, at, digests_column(digests, size=at.size), weights_column(weights, size=at.size))


@kernel
def floor_count(keys, counts, row):  # type: ignore[no-untyped-def]
    """The most an item that `row` does not hold can weigh: its smallest count if it is full, else 0; uint32."""
    least = np.uint32(COUNT_MAX)
    for slot in range(keys.shape[1]):
        if keys[row, slot] == np.uint64(0):
            return np.uint32(0)
        least = min(least, counts[row, slot])
    return least


@kernel
def _slot_of(keys, row, digest):  # type: ignore[no-untyped-def]
    for slot in range(keys.shape[1]):
        if keys[row, slot] == digest:
            return slot
    return -1


@numba.njit(cache=True)
def merge(keys, counts, errors, row, other_keys, other_counts, other_errors, other_row):  # type: ignore[no-untyped-def]
    """Merge a row of another column of the same k into `row`; slots end up by falling count, then digest.

    What one side does not hold may have weighed its smallest count there: that is
    added to count and error alike. The k heaviest stay, of equal ones the larger digests.
    """
    k = keys.shape[1]
    item = np.zeros(2 * k, np.uint64)
    count = np.zeros(2 * k, np.uint32)
    error = np.zeros(2 * k, np.uint32)
    floor = floor_count(keys, counts, row)
    other_floor = floor_count(other_keys, other_counts, other_row)
    n = 0
    for slot in range(k):
        digest = keys[row, slot]
        if digest != np.uint64(0):
            at = _slot_of(other_keys, other_row, digest)
            item[n] = digest
            count[n] = saturating_add(counts[row, slot], other_counts[other_row, at] if at >= 0 else other_floor)
            error[n] = saturating_add(errors[row, slot], other_errors[other_row, at] if at >= 0 else other_floor)
            n += 1
    for slot in range(k):
        digest = other_keys[other_row, slot]
        if digest != np.uint64(0) and _slot_of(keys, row, digest) < 0:
            item[n] = digest
            count[n] = saturating_add(other_counts[other_row, slot], floor)
            error[n] = saturating_add(other_errors[other_row, slot], floor)
            n += 1
    # Select the k first in order; k is small.
    for slot in range(k):
        best = slot
        for at in range(slot + 1, n):
            if count[at] > count[best] or (count[at] == count[best] and item[at] > item[best]):
                best = at
        item[slot], item[best] = item[best], item[slot]
        count[slot], count[best] = count[best], count[slot]
        error[slot], error[best] = error[best], error[slot]
        keys[row, slot] = item[slot]
        counts[row, slot] = count[slot]
        errors[row, slot] = error[slot]


def estimate(column: SpaceSaving) -> Estimates:
    """Estimate the weight of every held item: three float64 arrays (rows, k), zero in unused slots.

    Value and upper bound are the count; the lower, certain too, is count - error.
    """
    value = column.counts.astype(np.float64)
    # A saturated count must not pull the lower bound below zero.
    return Estimates(value, np.maximum(value - column.errors, 0.0), value)


def query(column: SpaceSaving, *, row: int, digest: int) -> Estimate:
    """Estimate the weight of one digest in one row; the bounds are certain.

    >>> column = empty(1, k=2)
    >>> add_column(column, rows=[0, 0, 0, 0], digests=np.array([5, 5, 6, 7], np.uint64))
    >>> query(column, row=0, digest=7), query(column, row=0, digest=6)
    (Estimate(value=2.0, lower=1.0, upper=2.0), Estimate(value=0.0, lower=0.0, upper=2.0))
    """
    slot = int(_slot_of(column.keys, row, np.uint64(digest)))
    if slot < 0:
        return Estimate(0.0, 0.0, float(floor_count(column.keys, column.counts, row)))
    count = float(column.counts[row, slot])
    return Estimate(count, max(count - float(column.errors[row, slot]), 0.0), count)
