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

from detector.sketches.columns import digests_column, rows_column, saturating_add, weights_column
from detector.sketches.estimate import SIGMAS, Estimate, Estimates, pick, share

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


@numba.njit(cache=True)
def add(hashes, counts, sizes, thetas, row, digest, weight):  # type: ignore[no-untyped-def]
    """Add one digest (uint64; 0 is absent) with its weight (integer >= 0) to one row.

    Returns (int64) the slot if the digest was there already; `-(slot + 2)` if it
    was placed now, perhaps over a larger one, so a caller's parallel columns start
    afresh in that slot (`slot = -answer - 2`); `REFUSED` (-1) if it is not sampled.
    """
    if digest >= thetas[row] or digest == np.uint64(0):
        return REFUSED
    size = np.int64(sizes[row])
    for slot in range(size):
        if hashes[row, slot] == digest:
            counts[row, slot] = saturating_add(counts[row, slot], weight)
            return slot
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
