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

from detector.sketches.columns import digests_column, rows_column, saturating_add, weights_column
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


@numba.njit(cache=True)
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
        if counts[row, slot] < counts[row, place] or (counts[row, slot] == counts[row, place] and key < keys[row, place]):
            place = slot
    keys[row, place] = digest
    errors[row, place] = counts[row, place]
    counts[row, place] = saturating_add(counts[row, place], weight)
