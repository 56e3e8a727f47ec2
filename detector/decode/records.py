"""JSON records to columns: the compiled reader of whole access events.

Purpose: one pass over the bytes of many records that leaves numbers as columns and
strings as spans, so that no record ever becomes an object.
Invariants: rows of the output are the accepted records in input order; a fault that
leaves the record readable (a wrong type, a missing field) is reported only when the
whole record is sound JSON, otherwise the syntax fault is; unknown keys are checked
and ignored; a null is an absent field. A byte-order mark before a record is passed over.
Limits: those of `events.py`.
"""

from typing import Final

import numba

from detector.decode.fields import (
    BASE,
    FOLLOWS,
    KNOWN,
    NAME_BYTES,
    NAME_SIZES,
    NAME_STARTS,
    REQUIRED,
    ROWS,
    SEEN,
    SIZE,
    START,
    TENANT,
    find_name,
    read_value,
)
from detector.decode.memory import get, inner, load_i32, load_u8, put, same_bytes, store_i32
from detector.decode.reasons import DUPLICATE_KEY, MISSING_FIELD, NOT_JSON, NOT_OBJECT, TOO_LARGE
from detector.decode.scan import AT, FIELD, KEY_MASK, ODDS, REASON, SERIAL, STAMP, note_key, scan_key, skip_value
from detector.decode.text import skip_space
from detector.events import RECORD_BYTES_MAX

BLANK: Final = 255  # the status of a record of white space only
KEY_SLOTS_MIN: Final = 128
REJECT_COLUMNS: Final = 6  # record, reason, field or -1, byte, tenant's start and size or -1


@inner
def _key(i, stop, last, ctx):  # type: ignore[no-untyped-def]
    """Read a key of the record itself: `(position behind the colon, code, field or -1)`.

    Records repeat their order of keys, so the field that followed `last` in the record
    before is tried first, quotes and colon included.
    """
    field = get(get(ctx, FOLLOWS), last + 1)
    size = get(get(ctx, NAME_SIZES), field) + 3
    if i + size <= stop and same_bytes(i, get(ctx, NAME_BYTES) + get(get(ctx, NAME_STARTS), field), size):
        after = i + size
    else:
        after, code, start, end = scan_key(i, stop, ctx)
        if code < 0:
            return after, code, field * 0 - 1
        field = find_name(ctx, start, end, 0)
        if field < 0:
            code = note_key(start, end, 0, ctx)
            return (after if code == 0 else i), code, field
        put(get(ctx, FOLLOWS), last + 1, field)
    seen = get(ctx, SEEN)
    if get(seen, field) == get(ctx, STAMP):
        return i, -DUPLICATE_KEY, field
    put(seen, field, get(ctx, STAMP))
    return after, 0, field


@inner
def _record(i, stop, row, ctx):  # type: ignore[no-untyped-def]
    """Read the record whose brace is at `i`: `(position, code, field)`; code 0 may leave a fault in the state."""
    i = skip_space(i + 1, stop)
    last = -1
    closed = i < stop and load_u8(i) == 125
    while not closed:
        i, code, field = _key(i, stop, last, ctx)
        if code < 0:
            return i, code, field
        i = skip_space(i, stop)
        if i >= stop:
            return stop, -NOT_JSON, field
        if field >= 0:
            last = field
            i, code = read_value(i, stop, field, row, ctx)
        else:
            i, code = skip_value(i, stop, 1, ctx)
        if code < 0:
            return i, code, field
        i = skip_space(i, stop)
        if i >= stop:
            return stop, -NOT_JSON, -1
        closed = load_u8(i) == 125
        if not closed:
            if load_u8(i) != 44:
                return i, -NOT_JSON, -1
            i = skip_space(i + 1, stop)
    i = skip_space(i + 1, stop)
    return i, -NOT_JSON if i < stop else 0, -1


@inner
def _size(ctx, field, row):  # type: ignore[no-untyped-def]
    return load_i32(get(ctx, SIZE) + 4 * (field * get(ctx, ROWS) + row))


@inner
def _line(start, stop, row, ctx):  # type: ignore[no-untyped-def]
    """Read the bytes of one record: `(reason or 0 or BLANK, field, position)`."""
    if stop - start > RECORD_BYTES_MAX:
        return TOO_LARGE, -1, start + RECORD_BYTES_MAX
    i = start
    if i + 3 <= stop and load_u8(i) == 0xEF and load_u8(i + 1) == 0xBB and load_u8(i + 2) == 0xBF:
        i += 3
    i = skip_space(i, stop)
    if i >= stop:
        return BLANK, -1, start
    slots = KEY_SLOTS_MIN
    while slots < (stop - start) // 2:
        slots *= 2
    put(ctx, KEY_MASK, slots - 1)
    put(ctx, SERIAL, 0)
    put(ctx, REASON, 0)
    if load_u8(i) != 123:
        first = i
        i, code = skip_value(i, stop, 0, ctx)
        if code == 0 and skip_space(i, stop) == stop:
            return NOT_OBJECT, -1, first
        return (-code if code < 0 else NOT_JSON), -1, i
    i, code, field = _record(i, stop, row, ctx)
    if code < 0:
        return -code, field, i
    if get(ctx, REASON) != 0:
        return get(ctx, REASON), get(ctx, FIELD), get(ctx, AT)
    for field in range(get(ctx, KNOWN)):
        if get(get(ctx, REQUIRED), field) != 0 and _size(ctx, field, row) < 0:
            return MISSING_FIELD, field, start
    return 0, -1, i


@numba.njit(cache=True, nogil=True)  # others may fetch and send meanwhile
def read_records(ctx, starts, stops, blank, lines, rejects):  # type: ignore[no-untyped-def]
    """Read the records between `starts[k]` and `stops[k]` (int64, bytes behind BASE): `(rows, rejects)`.

    Writes what the state at address `ctx` names, the record of each row to `lines`
    (int64) and (int64, REJECT_COLUMNS) a reject to `rejects`; with `blank`, records of
    white space are passed over.
    """
    base = get(ctx, BASE)
    rows = refused = 0
    for k in range(starts.size):
        put(ctx, STAMP, k + 1)
        odds = get(ctx, ODDS)
        reason, field, at = _line(base + starts[k], base + stops[k], rows, ctx)
        if reason == 0:
            lines[rows] = k
            rows += 1
            continue
        if reason == BLANK:
            if blank:
                continue
            reason = NOT_JSON
        rejects[refused, 0], rejects[refused, 1], rejects[refused, 2] = k, reason, field
        rejects[refused, 3] = at - base - starts[k]
        tenant = get(ctx, TENANT) * get(ctx, ROWS) + rows
        rejects[refused, 4] = load_i32(get(ctx, START) + 4 * tenant)
        rejects[refused, 5] = load_i32(get(ctx, SIZE) + 4 * tenant)
        refused += 1
        put(ctx, ODDS, odds)
        for field in range(get(ctx, KNOWN)):
            store_i32(get(ctx, SIZE) + 4 * (field * get(ctx, ROWS) + rows), -1)
    return rows, refused
