"""What the sketch kernels share: saturating counts, bit lengths, checked argument columns.

Purpose: one place for the integer primitives of detector.sketches.
`kernel` compiles a leaf that allocates nothing and is inlined into its caller.
Invariants: exact integer arithmetic only; equal on every platform.
Limits: weights are whole and not negative, below 2**63.
"""

import numba
import numpy as np
import numpy.typing as npt

COUNT_MAX = 2**32 - 1
_COUNT_MAX = np.uint64(COUNT_MAX)

# How every leaf kernel here is compiled. Numba counts references to each array
# argument at each call, four atomic pairs or some 40 ns for bottom-k, unless told
# that nothing in the function allocates; and LLVM does not inline a loop by itself.
kernel = numba.njit(cache=True, forceinline=True, _nrt=False)


@kernel
def saturating_add(count, weight):  # type: ignore[no-untyped-def]
    """Add a weight (integer >= 0) to a uint32 count; uint32, at most `COUNT_MAX`.

    Saturation, unlike wrapping, keeps a count a lower bound of the truth, and
    `min(a + b, max)` is still commutative and associative.

    >>> int(saturating_add(np.uint32(7), 5)), int(saturating_add(np.uint32(2**32 - 1), 5)) == COUNT_MAX
    (12, True)
    """
    total = np.uint64(count) + np.uint64(weight)
    return np.uint32(min(_COUNT_MAX, total))


@kernel
def floor_log2(value):  # type: ignore[no-untyped-def]
    """Position of the highest set bit of a value >= 1 (uint64 or int64 >= 1); int64, 0 to 63.

    >>> [floor_log2(x) for x in (1, 2, 3, 4, 1023, 1024)]
    [0, 1, 1, 2, 9, 10]
    """
    x = np.uint64(value)
    position = 0
    # Six halvings: always the same six steps, so there is no branch to mispredict.
    for half in (32, 16, 8, 4, 2, 1):
        if x >> np.uint64(half):
            x >>= np.uint64(half)
            position += half
    return position


def rows_column(rows: npt.ArrayLike, *, rows_max: int) -> npt.NDArray[np.int64]:
    """Check row numbers against a column of `rows_max` sketches; writable contiguous int64."""
    column = np.require(rows, np.int64, ["C", "W"])
    assert column.ndim == 1, f"rows has {column.ndim} dimensions, expected 1"
    if column.size:
        low, high = int(column.min()), int(column.max())
        assert 0 <= low <= high < rows_max, f"rows {low}..{high} outside 0..{rows_max - 1}"
    return column


def digests_column(digests: npt.ArrayLike, *, size: int | None = None) -> npt.NDArray[np.uint64]:
    """Check a column of digests, of a given size if any; writable contiguous uint64.

    Read-only views (frames) are copied: a second compiled specialisation costs more.
    """
    column = np.require(digests, np.uint64, ["C", "W"])
    assert column.ndim == 1, f"digests has {column.ndim} dimensions, expected 1"
    assert size is None or column.size == size, f"{column.size} digests for {size} rows"
    return column


def weights_column(weights: npt.ArrayLike | None, *, size: int) -> npt.NDArray[np.int64]:
    """Check a column of whole weights >= 0; absent weights are ones. Writable contiguous int64."""
    if weights is None:
        return np.ones(size, np.int64)
    column = np.require(weights, np.int64, ["C", "W"])
    assert column.shape == (size,), f"{column.size} weights for {size} items"
    assert size == 0 or int(column.min()) >= 0, f"weight {int(column.min())} is negative"
    return column
