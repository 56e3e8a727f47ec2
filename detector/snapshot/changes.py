"""Which rows changed: a digest of every row of every table, kept from one generation to the next.

Purpose: send what the last generation does not hold, without the fold having to say what it touched.
Invariants: a row whose content differs from what a generation saw is found, whatever changed
it (a fold, an eviction, a discovery), but for a chance of 2**-64 for each changed row; rows
that nobody ever used have the digest of an empty row, so tables grow without a special case.
Limits: 8 bytes a row; all used rows are read, at memory's pace.
Source: `hashing.absorb_rows`, under the operator's key.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from detector import hashing
from detector.judge import Judge
from detector.snapshot.state import Table, empty_table, tables_of

U64 = npt.NDArray[np.uint64]
RowDigests = dict[str, U64]  # table -> uint64 of all its rows, used or not

_KIND = b"snapshot row"


def _words(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The rows of a column as (rows, n) unsigned words, as wide as they can be."""
    flat = array.reshape(len(array), -1)
    width = next(w for w in (8, 4, 2, 1) if flat.shape[1] * flat.itemsize % w == 0)
    return flat.view(f"u{width}")


def digests_of(table: Table, first: int, stop: int, *, key: bytes) -> U64:
    """Digest the rows `[first, stop)` of a table: uint64."""
    start, odd = hashing.subkey(key, _KIND)
    out = np.full(stop - first, start, np.uint64)
    for array in table.columns.values():
        hashing.absorb_rows(_words(array), first, odd | np.uint64(1), out)
    return out


def blank_digests(judge: Judge, *, key: bytes, allocate: Callable[[int], U64]) -> RowDigests:
    """The digests of an empty judge; `allocate(rows)` gives the memory, uint64."""
    out = {}
    for table in tables_of(judge):
        held = allocate(len(next(iter(table.columns.values()))))
        held[:] = digests_of(empty_table(table), 0, 1, key=key)[0]
        out[table.name] = held
    return out


def take_digests(judge: Judge, into: RowDigests, *, key: bytes) -> None:
    """Digest every used row as it is now."""
    for table in tables_of(judge):
        into[table.name][: table.used] = digests_of(table, 0, table.used, key=key)
