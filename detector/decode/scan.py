"""JSON values: compiled scanners for literals, keys and whole values.

Purpose: one strict reading of RFC 8259 that reports where and why it stopped, at
about a nanosecond per byte and without an object per value.
Invariants: positions are addresses (`memory.py`); a scanner returns `(position, code)`
where a negative code is minus a reason of `reasons.py` and the position is the
offending byte. No recursion: nesting is a counter.
Limits: at most `NESTING_MAX` levels; a duplicate key is found at every level; a key
that collides with more than `PROBES_MAX` others in the key table is refused as too
large, so that crafted keys cannot make reading quadratic.
Source: RFC 8259.
"""

from typing import Final

import numpy as np

from detector.decode.digits import scan_number
from detector.decode.memory import get, inner, load_i64, load_u8, load_u64, put, same_bytes
from detector.decode.reasons import DUPLICATE_KEY, NOT_JSON, TOO_DEEP, TOO_LARGE
from detector.decode.text import ESCAPED, scan_string, skip_space, unescape
from detector.events import NESTING_MAX

PROBES_MAX: Final = 256
_TRUE, _NULL, _FALS = (int.from_bytes(word, "little") for word in (b"true", b"null", b"fals"))
KEY_COLUMNS: Final = 5  # of the key table: stamp, hash, object serial, start, size

# Slots of the reader's state: int64 words at the address `ctx`.
SIDE_AT: Final = 0  # first free byte behind the input, where text without its escapes goes
ODDS: Final = 1  # entries in the list of values left to Python
SERIAL: Final = 2  # objects opened so far in this record
STAMP: Final = 3  # number of the record, from 1: marks its entries of the key table
KEY_MASK: Final = 4  # slots of the key table used for this record, less one
REASON: Final = 5  # the record's first fault that leaves it readable: reason, field, position
FIELD: Final = 6
AT: Final = 7
KEYS: Final = 8  # address of the key table: KEY_COLUMNS words a slot
POWERS: Final = 9  # address of the powers of ten
SERIALS: Final = 10  # serial of the open object at each depth, 0 for an array: NESTING_MAX + 1 words
SCAN_SLOTS: Final = SERIALS + NESTING_MAX + 1


@inner
def scan_literal(i, stop):  # type: ignore[no-untyped-def]
    """Scan `true` (1), `false` (2) or `null` (3): `(end, which)`; which 0 is none of them."""
    # Compared as little-endian words: "true", "null", then "fals" and its "e".
    word = np.int64(load_u64(i) & np.uint64(0xFFFFFFFF))
    if word == _TRUE and i + 4 <= stop:
        return i + 4, 1
    if word == _NULL and i + 4 <= stop:
        return i + 4, 3
    if word == _FALS and i + 5 <= stop and load_u8(i + 4) == 101:
        return i + 5, 2
    return i, 0


@inner
def key_hash(start, stop):  # type: ignore[no-untyped-def]
    """Hash a key for table look-ups only (FNV-1a): it orders nothing and leaves no trace in any output."""
    h = np.uint64(0xCBF29CE484222325)
    for i in range(start, stop):
        h = (h ^ np.uint64(load_u8(i))) * np.uint64(0x100000001B3)
    return h ^ (h >> np.uint64(29))


def hash_key(key: bytes) -> int:
    """The Python twin of `key_hash`.

    >>> hex(hash_key(b"event_id"))[:6]
    '0x462d'
    """
    h = 0xCBF29CE484222325
    for byte in key:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h ^ (h >> 29)


@inner
def note_key(start, stop, serial, ctx):  # type: ignore[no-untyped-def]
    """Enter a key of object `serial` into the key table: 0, or minus the reason when it was there."""
    h = key_hash(start, stop) + np.uint64(serial) * np.uint64(0x9E3779B97F4A7C15)
    mask = get(ctx, KEY_MASK)
    short = np.int64(h >> np.uint64(33))
    slot = np.int64(h & np.uint64(0x7FFFFFFF)) & mask
    for _ in range(PROBES_MAX):
        entry = get(ctx, KEYS) + 8 * KEY_COLUMNS * slot
        if load_i64(entry) != get(ctx, STAMP):
            put(entry, 0, get(ctx, STAMP))
            put(entry, 1, short)
            put(entry, 2, serial)
            put(entry, 3, start)
            put(entry, 4, stop - start)
            return 0
        fits = get(entry, 1) == short and get(entry, 2) == serial and get(entry, 4) == stop - start
        if fits and same_bytes(start, get(entry, 3), stop - start):
            return -DUPLICATE_KEY
        slot = (slot + 1) & mask
    return -TOO_LARGE


@inner
def scan_key(i, stop, ctx):  # type: ignore[no-untyped-def]
    """Scan `"key" :` at `i`: `(position after the colon, code, key start, key stop)`, escapes removed."""
    i = skip_space(i, stop)
    if i >= stop or load_u8(i) != 34:
        return i, -NOT_JSON, 0, 0
    start = i + 1
    end, code = scan_string(start, stop)
    if code < 0:
        return end, code, 0, 0
    i = skip_space(end + 1, stop)
    if i >= stop or load_u8(i) != 58:
        return i, -NOT_JSON, 0, 0
    if code == ESCAPED:
        raw, start = start, get(ctx, SIDE_AT)
        end = unescape(raw, end, start)
        put(ctx, SIDE_AT, end)
    return i + 1, 0, start, end


@inner
def _skip_scalar(i, stop, ctx):  # type: ignore[no-untyped-def]
    c = load_u8(i)
    if c == 34:
        i, code = scan_string(i + 1, stop)
        return (i + 1, 0) if code >= 0 else (i, code)
    if c == 45 or 48 <= c <= 57:
        i, kind, _whole, _real = scan_number(i, stop, get(ctx, POWERS))
        return i, 0 if kind >= 0 else -NOT_JSON
    i, which = scan_literal(i, stop)
    return i, 0 if which > 0 else -NOT_JSON


@inner
def skip_value(i, stop, depth, ctx):  # type: ignore[no-untyped-def]
    """Check any value inside `depth` open containers and step over it: `(end, 0 or minus the reason)`."""
    serials = ctx + 8 * SERIALS
    put(serials, depth, 0)
    base = depth
    while True:
        i = skip_space(i, stop)
        if i >= stop:
            return stop, -NOT_JSON
        c = load_u8(i)
        if c == 123 or c == 91:
            if depth >= NESTING_MAX:
                return i, -TOO_DEEP
            depth += 1
            put(ctx, SERIAL, get(ctx, SERIAL) + 1)
            put(serials, depth, get(ctx, SERIAL) if c == 123 else 0)
            i = skip_space(i + 1, stop)
            if i >= stop:
                return stop, -NOT_JSON
            opened = load_u8(i) != c + 2  # the closing bracket is two code points on
        else:
            i, code = _skip_scalar(i, stop, ctx)
            if code < 0:
                return i, code
            opened = False
        while not opened:
            if depth == base:
                return i, 0
            i = skip_space(i, stop)
            if i >= stop:
                return stop, -NOT_JSON
            if load_u8(i) == 44:
                i += 1
                opened = True
            elif load_u8(i) == (125 if get(serials, depth) > 0 else 93):
                i += 1
                depth -= 1
            else:
                return i, -NOT_JSON
        if get(serials, depth) > 0:
            at = i
            i, code, start, end = scan_key(i, stop, ctx)
            if code == 0:
                code = note_key(start, end, get(serials, depth), ctx)
                i = i if code == 0 else at
            if code < 0:
                return i, code
