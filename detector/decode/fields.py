"""Values of the access event's fields: compiled readers, one for each form of value.

Purpose: given a field and the first byte of its value, read it into the columns.
Invariants: positions are addresses (`memory.py`). A value of the wrong type, an
impossible time or a number out of range is a *fault* of the record, kept in the state
while reading goes on; only what is not JSON at all ends it with a negative code.
Limits: at most `LIST_ITEMS_MAX` fingerprints a list, `EXT_BYTES_MAX` bytes of `ext`;
numbers of more than about 16 digits and fingerprints that are not 16 hex digits are
left to Python as *odds*, which records made by our own tools never need.
"""

from typing import Final

import numpy as np

from detector.decode.digits import NUMBER_INT, NUMBER_REAL, NUMBER_SLOW, NUMBER_WIDE, scan_number
from detector.decode.memory import get, inner, load_u8, load_u64, put, same_bytes, store_f64, store_i32
from detector.decode.reasons import BAD_TIME, BAD_TYPE, BAD_VALUE, NOT_JSON, TOO_LARGE
from detector.decode.scan import (
    AT,
    FIELD,
    ODDS,
    POWERS,
    REASON,
    SCAN_SLOTS,
    SERIAL,
    SIDE_AT,
    key_hash,
    note_key,
    scan_key,
    scan_literal,
    skip_value,
)
from detector.decode.text import ESCAPED, scan_string, skip_space, unescape
from detector.decode.times import BAD_TIME_MS, time_ms
from detector.events import ELICITATION_KINDS, EXT_BYTES_MAX, LIST_ITEMS_MAX

# Forms of value.
STRING: Final = 0
INTEGER: Final = 1
REAL: Final = 2
BOOLEAN: Final = 3
TIME: Final = 4
PRINTS: Final = 5  # a list of fingerprints
SCORES: Final = 6  # the elicitation map
RAW: Final = 7  # an object that is handed on as a span (content)
ANY: Final = 8  # an object that is only measured (ext)

# State words behind the scanner's: addresses of what is written (first axis the field, second the row) ...
BASE: Final = SCAN_SLOTS  # address of the input; spans count from here
ROWS: Final = SCAN_SLOTS + 1  # length of the row axis
START: Final = SCAN_SLOTS + 2  # int32: where each value begins
SIZE: Final = SCAN_SLOTS + 3  # int32: its bytes (lists: items; numbers: 0), -1 for null
WHOLE: Final = SCAN_SLOTS + 4  # int64
NUMBER: Final = SCAN_SLOTS + 5  # float64
LISTED: Final = SCAN_SLOTS + 6  # uint64: lists, rows, LIST_ITEMS_MAX
SCORED: Final = SCAN_SLOTS + 7  # float64: kinds, rows
ODD: Final = SCAN_SLOTS + 8  # int64: ODD_COLUMNS a row: field, row, item, start, size
SEEN: Final = SCAN_SLOTS + 9  # int64: the last record that had the field
FOLLOWS: Final = SCAN_SLOTS + 10  # int64: the field that came after field - 1 last time
# ... and what is known about names: bytes padded to PAD, and words.
KNOWN: Final = SCAN_SLOTS + 11  # how many fields there are; elicitation kinds are numbered on from there
TENANT: Final = SCAN_SLOTS + 12  # number of the field `tenant`
NAME_BYTES: Final = SCAN_SLOTS + 13  # `"name":` one after another
NAME_STARTS: Final = SCAN_SLOTS + 14  # int64: where each begins
NAME_SIZES: Final = SCAN_SLOTS + 15  # int64: bytes of the name itself
KINDS: Final = SCAN_SLOTS + 16  # int64: form of each field
REQUIRED: Final = SCAN_SLOTS + 17  # int64
LISTS: Final = SCAN_SLOTS + 18  # int64: which of LISTED a field is
NAME_TABLE: Final = SCAN_SLOTS + 19  # int64: name numbers at their hash, -1 where free
STATE_SLOTS: Final = SCAN_SLOTS + 20

ODD_COLUMNS: Final = 5
NAME_TABLE_SLOTS: Final = 512
_KIND_COUNT: Final = len(ELICITATION_KINDS)

_LOW_BITS: Final = np.uint64(0x0101010101010101)
_LOW_NIBBLES: Final = np.uint64(0x0F0F0F0F0F0F0F0F)
_TOPS: Final = np.uint64(0x8080808080808080)


@inner
def fault(ctx, reason, field, at):  # type: ignore[no-untyped-def]
    """Keep the record's first fault."""
    if get(ctx, REASON) == 0:
        put(ctx, REASON, reason)
        put(ctx, FIELD, field)
        put(ctx, AT, at)


@inner
def span(ctx, field, row, start, size):  # type: ignore[no-untyped-def]
    """Write where a field's value stands."""
    cell = 4 * (field * get(ctx, ROWS) + row)
    store_i32(get(ctx, START) + cell, start - get(ctx, BASE))
    store_i32(get(ctx, SIZE) + cell, size)


@inner
def _whole(ctx, field, row, value):  # type: ignore[no-untyped-def]
    put(get(ctx, WHOLE), field * get(ctx, ROWS) + row, value)


@inner
def _real(ctx, field, row, value):  # type: ignore[no-untyped-def]
    store_f64(get(ctx, NUMBER) + 8 * (field * get(ctx, ROWS) + row), value)


@inner
def _score_put(ctx, kind, row, value):  # type: ignore[no-untyped-def]
    store_f64(get(ctx, SCORED) + 8 * (kind * get(ctx, ROWS) + row), value)


@inner
def _odd(ctx, field, row, item, start, size):  # type: ignore[no-untyped-def]
    entry = get(ctx, ODD) + 8 * ODD_COLUMNS * get(ctx, ODDS)
    put(entry, 0, field)
    put(entry, 1, row)
    put(entry, 2, item)
    put(entry, 3, start - get(ctx, BASE))
    put(entry, 4, size)
    put(ctx, ODDS, get(ctx, ODDS) + 1)


@inner
def find_name(ctx, start, stop, first):  # type: ignore[no-untyped-def]
    """Number of the name that stands from `start` to `stop`: a field (`first` 0) or a kind (`first` KNOWN); or -1."""
    known = get(ctx, KNOWN)
    slot = np.int64(key_hash(start, stop) & np.uint64(NAME_TABLE_SLOTS - 1))
    while True:
        name = get(get(ctx, NAME_TABLE), slot)
        if name < 0:
            return name
        fits = (name >= known) == (first > 0) and get(get(ctx, NAME_SIZES), name) == stop - start
        if fits and same_bytes(start, get(ctx, NAME_BYTES) + get(get(ctx, NAME_STARTS), name) + 1, stop - start):
            return name
        slot = (slot + 1) & (NAME_TABLE_SLOTS - 1)


@inner
def _text(i, stop, ctx):  # type: ignore[no-untyped-def]
    """Read the string whose quote is at `i`: `(end, code, start, size)`, escapes removed."""
    start = i + 1
    end, code = scan_string(start, stop)
    if code < 0:
        return end, code, 0, 0
    i = end + 1
    if code == ESCAPED:
        raw, start = start, get(ctx, SIDE_AT)
        end = unescape(raw, end, start)
        put(ctx, SIDE_AT, end)
    return i, 0, start, end - start


@inner
def _number(i, stop, field, kind, row, ctx):  # type: ignore[no-untyped-def]
    """Read a number into a number or time field: `(end, code)`."""
    begin = i
    i, form, whole, real = scan_number(i, stop, get(ctx, POWERS))
    if form < 0:
        return i, -NOT_JSON
    if kind != INTEGER and kind != REAL and kind != TIME:
        fault(ctx, BAD_TYPE, field, begin)
        return i, 0
    span(ctx, field, row, begin, 0)
    if form == NUMBER_SLOW or (form == NUMBER_WIDE and kind == REAL):
        _odd(ctx, field, row, 0, begin, i - begin)
    elif form == NUMBER_WIDE:
        fault(ctx, BAD_TIME if kind == TIME else BAD_VALUE, field, begin)
    elif kind == REAL:
        _real(ctx, field, row, np.float64(whole) if form == NUMBER_INT else real)
    elif form == NUMBER_INT:
        _whole(ctx, field, row, whole)
    elif kind == TIME:
        if abs(real) < 1e15:
            _whole(ctx, field, row, np.int64(np.floor(real)))
        else:
            fault(ctx, BAD_TIME, field, begin)
    elif abs(real) >= 9.2e18:
        fault(ctx, BAD_VALUE, field, begin)
    elif real != np.floor(real):
        fault(ctx, BAD_TYPE, field, begin)
    else:
        _whole(ctx, field, row, np.int64(real))
    return i, 0


@inner
def _string(i, stop, field, kind, row, ctx):  # type: ignore[no-untyped-def]
    """Read a string into a string or time field: `(end, code)`."""
    begin = i
    i, code, start, size = _text(i, stop, ctx)
    if code < 0:
        return i, code
    if kind == STRING:
        span(ctx, field, row, start, size)
    elif kind == TIME:
        moment = time_ms(start, start + size)
        if moment == BAD_TIME_MS:
            fault(ctx, BAD_TIME, field, begin)
        span(ctx, field, row, begin, 0)
        _whole(ctx, field, row, moment)
    else:
        fault(ctx, BAD_TYPE, field, begin)
    return i, 0


@inner
def hex8(i):  # type: ignore[no-untyped-def]
    """The 32-bit number that the 8 lower-case hex digits at `i` spell, or -1: all eight at once."""
    word = load_u64(i)
    letters = (word >> np.uint64(6)) & _LOW_BITS  # 1 in the bytes from 0x40 on
    value = (word & _LOW_NIBBLES) + letters * np.uint64(9)
    spelt = value + letters * np.uint64(0x27) + _LOW_BITS * np.uint64(0x30)
    tens = ((value + _LOW_BITS * np.uint64(0x76)) >> np.uint64(7)) & _LOW_BITS  # 1 where the value is 10 or more
    over = (value + _LOW_BITS * np.uint64(0x70)) & _TOPS  # set where it is 16 or more
    if spelt != word or tens != letters or over != 0:
        return np.int64(-1)
    pairs = ((value << np.uint64(4)) | (value >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    high = ((pairs & np.uint64(255)) << np.uint64(24)) | (((pairs >> np.uint64(16)) & np.uint64(255)) << np.uint64(16))
    low = (((pairs >> np.uint64(32)) & np.uint64(255)) << np.uint64(8)) | (pairs >> np.uint64(48))
    return np.int64(high | low)


@inner
def _prints(i, stop, field, row, ctx):  # type: ignore[no-untyped-def]
    """Read a list of fingerprints whose bracket is at `i`: `(end, code)`."""
    begin = i
    count = 0
    cell = (get(get(ctx, LISTS), field) * get(ctx, ROWS) + row) * LIST_ITEMS_MAX
    i = skip_space(i + 1, stop)
    closed = i < stop and load_u8(i) == 93
    while not closed:
        i = skip_space(i, stop)
        if i >= stop:
            return stop, -NOT_JSON
        if load_u8(i) == 34:
            i, code, start, size = _text(i, stop, ctx)
            if code == 0 and count < LIST_ITEMS_MAX:
                high = hex8(start) if size == 16 else np.int64(-1)
                low = hex8(start + 8) if high >= 0 else np.int64(-1)
                if low < 0 or (high == 0 and low == 0):  # 0 stands for "absent" wherever digests go
                    _odd(ctx, field, row, count, start, size)
                else:
                    put(get(ctx, LISTED), cell + count, (high << 32) | low)
        else:
            fault(ctx, BAD_TYPE, field, i)
            i, code = skip_value(i, stop, 2, ctx)
        if code < 0:
            return i, code
        count += 1
        i = skip_space(i, stop)
        if i >= stop:
            return stop, -NOT_JSON
        closed = load_u8(i) == 93
        if not closed:
            if load_u8(i) != 44:
                return i, -NOT_JSON
            i += 1
    if count > LIST_ITEMS_MAX:
        fault(ctx, BAD_VALUE, field, begin)
    span(ctx, field, row, begin, min(count, LIST_ITEMS_MAX))
    return i + 1, 0


@inner
def _scores(i, stop, field, row, ctx):  # type: ignore[no-untyped-def]
    """Read the elicitation map whose brace is at `i`: `(end, code)`."""
    span(ctx, field, row, i, 0)
    for kind in range(_KIND_COUNT):
        _score_put(ctx, kind, row, np.nan)
    serial = get(ctx, SERIAL) + 1
    put(ctx, SERIAL, serial)
    i = skip_space(i + 1, stop)
    closed = i < stop and load_u8(i) == 125
    while not closed:
        at = i
        i, code, start, end = scan_key(i, stop, ctx)
        if code < 0:
            return i, code
        code = note_key(start, end, serial, ctx)
        if code < 0:
            return at, code
        kind = find_name(ctx, start, end, get(ctx, KNOWN)) - get(ctx, KNOWN)
        i = begin = skip_space(i, stop)
        if i >= stop:
            return stop, -NOT_JSON
        c = load_u8(i)
        if kind >= 0 and (c == 45 or 48 <= c <= 57):
            i, form, whole, real = scan_number(i, stop, get(ctx, POWERS))
            if form == NUMBER_REAL or form == NUMBER_INT:
                _score_put(ctx, kind, row, real if form == NUMBER_REAL else np.float64(whole))
            else:
                _odd(ctx, field, row, kind, begin, i - begin)
            code = -NOT_JSON if form < 0 else 0
        else:
            if kind >= 0 and c != 110:
                fault(ctx, BAD_TYPE, field, begin)
            i, code = skip_value(i, stop, 2, ctx)
        if code < 0:
            return i, code
        i = skip_space(i, stop)
        if i >= stop:
            return stop, -NOT_JSON
        closed = load_u8(i) == 125
        if not closed:
            if load_u8(i) != 44:
                return i, -NOT_JSON
            i = skip_space(i + 1, stop)
    return i + 1, 0


@inner
def read_value(i, stop, field, row, ctx):  # type: ignore[no-untyped-def]
    """Read the value of a known field at `i`: `(end, code)`."""
    kind = get(get(ctx, KINDS), field)
    c = load_u8(i)
    if c == 34:
        return _string(i, stop, field, kind, row, ctx)
    if c == 45 or 48 <= c <= 57:
        return _number(i, stop, field, kind, row, ctx)
    if kind == PRINTS and c == 91:
        return _prints(i, stop, field, row, ctx)
    if kind == SCORES and c == 123:
        return _scores(i, stop, field, row, ctx)
    begin = i
    if c == 123 or c == 91:
        i, code = skip_value(i, stop, 1, ctx)
        if (kind != RAW and kind != ANY) or c != 123:
            fault(ctx, BAD_TYPE, field, begin)
        elif kind == ANY and i - begin > EXT_BYTES_MAX:
            fault(ctx, TOO_LARGE, field, begin)
        else:
            span(ctx, field, row, begin, i - begin)
        return i, code
    i, which = scan_literal(i, stop)
    if which == 0:
        return i, -NOT_JSON
    if which < 3:
        if kind == BOOLEAN:
            span(ctx, field, row, begin, 0)
            _whole(ctx, field, row, 1 if which == 1 else 0)
        else:
            fault(ctx, BAD_TYPE, field, begin)
    return i, 0
