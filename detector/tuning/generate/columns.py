"""Columns made at speed: opaque identifiers, mixed integers, ragged lists.

Purpose: the few array tricks that keep the generator near the speed of its writer.
Invariants: identifiers are drawn, never counted, so that they carry no order; equal seeds
give equal columns.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def mix64(values: U64, *, seed: U64) -> U64:
    """Spread pairs of integers over 64 bits (SplitMix64); element by element, wrapping."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15) * (seed + np.uint64(1))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)


def hex_strings(words: U64, *, prefix: str = "", digits: int = 16) -> pa.StringArray:
    """Write words as `prefix` + hexadecimal digits; `words` is (rows,) or (rows, k) for up to 16 k digits.

    >>> hex_strings(np.array([255, 0], np.uint64), prefix="a_", digits=4).to_pylist()
    ['a_ff00', 'a_0000']
    """
    rows = words.shape[0]
    raw = np.ascontiguousarray(words).view(np.uint8).reshape(rows, -1)
    nibbles = np.empty((rows, raw.shape[1] * 2), np.uint8)
    nibbles[:, 0::2] = raw >> 4
    nibbles[:, 1::2] = raw & 15
    head = np.frombuffer(prefix.encode(), np.uint8)
    text = np.empty((rows, head.size + digits), np.uint8)
    text[:, : head.size] = head
    text[:, head.size :] = _HEX[nibbles[:, :digits]]
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(text.shape[1])
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text.reshape(-1)))


def ids(rng: np.random.Generator, *, count: int, prefix: str = "", digits: int = 16) -> pa.StringArray:
    """Draw opaque identifiers."""
    words = rng.integers(0, 1 << 64, (count, -(-digits // 16)), dtype=np.uint64)
    return hex_strings(words, prefix=prefix, digits=digits)


def masked(column: pa.Array, *, keep: Mask) -> pa.Array:
    """The column with nulls where `keep` is false."""
    return column.take(pa.array(np.arange(len(column)), mask=~keep))


def numbers(values: npt.NDArray[np.generic], *, keep: Mask | None = None) -> pa.Array:
    """An Arrow column of numbers, null where `keep` is false."""
    return pa.array(values) if keep is None else pa.array(values, mask=~keep)


def pick(rng: np.random.Generator, *, weights: Sequence[float], count: int) -> I64:
    """Draw indices with the given weights, which need not sum to one."""
    share = np.cumsum(np.asarray(weights, float))
    return np.searchsorted(share / share[-1], rng.random(count), side="right").astype(np.int64)


def ranks_within(groups: I64) -> I64:
    """Position of each row among the rows of its group, where equal groups stand together.

    >>> ranks_within(np.array([7, 7, 3, 3, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    if groups.size == 0:
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    return np.arange(groups.size) - np.repeat(first, np.diff(np.r_[first, groups.size]))


def sums_before(values: I64, *, ranks: I64) -> I64:
    """Sum of the earlier values of the same run, where `ranks` counts from 0 in each run.

    >>> sums_before(np.array([5, 2, 1, 4]), ranks=np.array([0, 1, 2, 0])).tolist()
    [0, 5, 7, 0]
    """
    running = np.cumsum(values) - values
    first = np.flatnonzero(ranks == 0)
    return np.asarray(running - np.repeat(running[first], np.diff(np.r_[first, values.size])), np.int64)


def uint64_lists(matrix: U64, *, counts: I64) -> pa.ListArray:
    """Rows of a padded matrix as lists of their first `counts` entries."""
    held = np.arange(matrix.shape[1])[None, :] < counts[:, None]
    offsets = np.zeros(counts.size + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix[held], pa.uint64()))


def masked_lists(matrix: U64, *, counts: I64) -> pa.Array:
    """As `uint64_lists`, null where a row has no entry."""
    lists = uint64_lists(matrix, counts=counts)
    return masked(lists, keep=counts > 0)


def padded(column: pa.ListArray, *, width: int) -> tuple[U64, I64]:
    """A list column as (rows, width) matrix and its counts; null lists have count 0."""
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    counts = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.uint64)
    matrix = np.zeros((counts.size, width), np.uint64)
    matrix[np.arange(width)[None, :] < counts[:, None]] = flat
    return matrix, counts
