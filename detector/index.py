"""Key index: 64-bit digest -> table row, as two arrays, with bulk removal.

Purpose: the one hash map of the engine; a compiled loop can look up, insert and
rebuild it without Python objects.
Invariants: open addressing with linear probing at a load of at most one half; the
rows handed out depend only on the order of insertions and removals.
Limits: keys are keyed digests (never 0), so an adversary cannot aim at one probe
sequence; capacity is fixed by `rows_max`, the slots grow by doubling.
Source: Knuth, The Art of Computer Programming, vol. 3, section 6.4, algorithm L.
"""

from collections.abc import Callable

import numba
import numpy as np
import numpy.typing as npt

from detector.sketches.columns import kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
NamesOf = Callable[[U64, I64], list[bytes | None]]  # of keys, each shown by the pane's row beside it
Pinned = Callable[[], I64]  # rows that may not be evicted; asked only when room is short

_SLOTS_MIN = 4_096


@kernel
def find(slot_keys, slot_rows, key):  # type: ignore[no-untyped-def]
    """Return the row of `key`, or -1."""
    mask = np.uint64(slot_keys.size - 1)
    at = key & mask
    while True:
        held = slot_keys[at]
        if held == key:
            return slot_rows[at]
        if held == 0:
            return -1
        at = (at + np.uint64(1)) & mask


@kernel
def place(slot_keys, slot_rows, key, row):  # type: ignore[no-untyped-def]
    """Insert `key`, which must be absent."""
    mask = np.uint64(slot_keys.size - 1)
    at = key & mask
    while slot_keys[at] != 0:
        at = (at + np.uint64(1)) & mask
    slot_keys[at] = key
    slot_rows[at] = row


@numba.njit(cache=True)
def find_all(slot_keys, slot_rows, keys, out):  # type: ignore[no-untyped-def]
    """Look up a column of keys; -1 where absent."""
    for i in range(keys.size):
        out[i] = find(slot_keys, slot_rows, keys[i]) if keys[i] != 0 else -1


@numba.njit(cache=True)
def _rebuild(slot_keys, slot_rows, keys, used):  # type: ignore[no-untyped-def]
    slot_keys[:] = 0
    for row in range(used):
        if keys[row] != 0:
            place(slot_keys, slot_rows, keys[row], row)


class KeyIndex:
    """Rows of a bounded table: which key sits where, which rows are free, what each is called."""

    def __init__(self, rows_max: int) -> None:
        """Start empty; `rows_max` rows at most."""
        self.rows_max = rows_max
        self.keys: U64 = np.zeros(rows_max, np.uint64)  # row -> key, 0 when free
        self.names: list[bytes | None] = []
        self.free: list[int] = []
        self.used = 0  # rows ever handed out; rows beyond are untouched memory
        self.slot_keys: U64 = np.zeros(_SLOTS_MIN, np.uint64)
        self.slot_rows = np.zeros(_SLOTS_MIN, np.int32)

    def live(self) -> int:
        """Count the rows in use."""
        return self.used - len(self.free)

    def find(self, keys: U64) -> I64:
        """Look up a column of keys: int64 rows, -1 where absent or 0."""
        out = np.empty(keys.size, np.int64)
        find_all(self.slot_keys, self.slot_rows, keys, out)
        return out

    def room(self) -> int:
        """Count the rows that can still be handed out."""
        return self.rows_max - self.live()

    def add(self, keys: U64, names: list[bytes | None]) -> I64:
        """Give rows to distinct absent keys, in their order. The caller has made room."""
        assert keys.size <= self.room(), "the table is full: evict first"
        rows = np.empty(keys.size, np.int64)
        for i in range(keys.size):
            if self.free:
                rows[i] = self.free.pop()
                self.names[rows[i]] = names[i]
            else:
                rows[i] = self.used
                self.used += 1
                self.names.append(names[i])
        self.keys[rows] = keys
        if 2 * self.live() > self.slot_keys.size:
            size = self.slot_keys.size
            while size < 4 * self.live():
                size *= 2
            self.slot_keys, self.slot_rows = np.zeros(size, np.uint64), np.zeros(size, np.int32)
            _rebuild(self.slot_keys, self.slot_rows, self.keys, self.used)
        else:
            _place_all(self.slot_keys, self.slot_rows, keys, rows)
        return rows

    def remove(self, rows: I64) -> None:
        """Free rows in bulk; the cost is one rebuild, so callers remove many at a time."""
        self.keys[rows] = 0
        for row in sorted(rows.tolist(), reverse=True):
            self.free.append(row)
            self.names[row] = None
        _rebuild(self.slot_keys, self.slot_rows, self.keys, self.used)

    def rebuild(self) -> None:
        """Make the slots anew from `keys`, `used` and `free`."""
        size = _SLOTS_MIN
        while size < 4 * self.live():
            size *= 2
        self.slot_keys, self.slot_rows = np.zeros(size, np.uint64), np.zeros(size, np.int32)
        _rebuild(self.slot_keys, self.slot_rows, self.keys, self.used)

    def name(self, row: int) -> str:
        """Give the event's own string for a row."""
        name = self.names[row]
        return "" if name is None else name.decode()


@numba.njit(cache=True)
def _place_all(slot_keys, slot_rows, keys, rows):  # type: ignore[no-untyped-def]
    for i in range(keys.size):
        place(slot_keys, slot_rows, keys[i], rows[i])
