"""JSON strings: compiled scanning, UTF-8 checking and removal of escapes.

Purpose: find the end of a string eight bytes at a time, and make its text plain.
Invariants: positions are addresses (`memory.py`); nothing is decided by a byte at or
past `stop`. A string with a lone surrogate, escaped or not, is no text: bad_encoding.
Source: RFC 8259 section 7, RFC 3629; "determine if a word has a byte less than n" from
Sean Anderson, "Bit twiddling hacks" (exact for the lowest such byte, which is used).
"""

from typing import Final

import numpy as np

from detector.decode.memory import inner, load_u8, load_u64, low_zeros, store_u8
from detector.decode.reasons import BAD_ENCODING, NOT_JSON

PLAIN: Final = 0
ESCAPED: Final = 1

_ONES: Final = np.uint64(0x0101010101010101)
_TOPS: Final = np.uint64(0x8080808080808080)
_QUOTES: Final = np.uint64(0x2222222222222222)
_BACKSLASHES: Final = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES: Final = np.uint64(0x2020202020202020)


@inner
def skip_space(i, stop):  # type: ignore[no-untyped-def]
    """Position of the first byte at or after `i` that is not JSON white space."""
    while i < stop and (load_u8(i) == 32 or load_u8(i) == 10 or load_u8(i) == 13 or load_u8(i) == 9):
        i += 1
    return i


@inner
def utf8_size(i, stop):  # type: ignore[no-untyped-def]
    """Bytes of the well-formed multi-byte UTF-8 character at `i` (2 to 4), or 0."""
    c = load_u8(i)
    if c < 0xC2 or c > 0xF4:
        return 0
    size = 2 if c < 0xE0 else (3 if c < 0xF0 else 4)
    if i + size > stop:
        return 0
    low, high = 0x80, 0xBF
    if c == 0xE0:
        low = 0xA0  # shorter forms exist
    elif c == 0xED:
        high = 0x9F  # surrogates
    elif c == 0xF0:
        low = 0x90
    elif c == 0xF4:
        high = 0x8F  # beyond U+10FFFF
    if load_u8(i + 1) < low or load_u8(i + 1) > high:
        return 0
    for k in range(2, size):
        if load_u8(i + k) < 0x80 or load_u8(i + k) > 0xBF:
            return 0
    return size


@inner
def _hex4(i, stop):  # type: ignore[no-untyped-def]
    if i + 4 > stop:
        return -1
    value = 0
    for k in range(i, i + 4):
        c = load_u8(k)
        if 48 <= c <= 57:
            value = value * 16 + c - 48
        elif 97 <= (c | 32) <= 102:
            value = value * 16 + (c | 32) - 87
        else:
            return -1
    return value


@inner
def _escape_end(i, stop):  # type: ignore[no-untyped-def]
    """Check the escape whose backslash is at `i`: `(position after it, code)`."""
    if i + 1 >= stop:
        return stop, -NOT_JSON
    c = load_u8(i + 1)
    if c != 117:  # u
        simple = c == 34 or c == 92 or c == 47 or c == 98 or c == 102 or c == 110 or c == 114 or c == 116
        return (i + 2, 0) if simple else (i, -NOT_JSON)
    unit = _hex4(i + 2, stop)
    if unit < 0:
        return i, -NOT_JSON
    if unit < 0xD800 or unit > 0xDFFF:
        return i + 6, 0
    if unit < 0xDC00 and i + 12 <= stop and load_u8(i + 6) == 92 and load_u8(i + 7) == 117:
        second = _hex4(i + 8, stop)
        if 0xDC00 <= second <= 0xDFFF:
            return i + 12, 0
    return i, -BAD_ENCODING


@inner
def scan_string(i, stop):  # type: ignore[no-untyped-def]
    """Scan a string from behind its opening quote: `(position of the closing quote, PLAIN or ESCAPED)`."""
    code = PLAIN
    while i < stop:
        # Eight bytes at once: stop at the first quote, backslash, control character or byte of UTF-8.
        word = load_u64(i)
        quote, backslash = word ^ _QUOTES, word ^ _BACKSLASHES
        special = ((quote - _ONES) & ~quote) | ((backslash - _ONES) & ~backslash) | ((word - _SPACES) & ~word) | word
        special &= _TOPS
        if special == 0:
            i += 8
            continue
        i += low_zeros(special) >> 3
        if i >= stop:
            break
        c = load_u8(i)
        if c == 34:
            return i, code
        if c == 92:
            i, fault = _escape_end(i, stop)
            if fault < 0:
                return i, fault
            code = ESCAPED
        elif c < 32:
            return i, -NOT_JSON
        else:
            size = utf8_size(i, stop)
            if size == 0:
                return i, -BAD_ENCODING
            i += size
    return stop, -NOT_JSON


@inner
def _put_utf8(at, point):  # type: ignore[no-untyped-def]
    if point < 0x80:
        store_u8(at, point)
        return at + 1
    if point < 0x800:
        store_u8(at, 0xC0 | (point >> 6))
        store_u8(at + 1, 0x80 | (point & 63))
        return at + 2
    if point < 0x10000:
        store_u8(at, 0xE0 | (point >> 12))
        store_u8(at + 1, 0x80 | ((point >> 6) & 63))
        store_u8(at + 2, 0x80 | (point & 63))
        return at + 3
    store_u8(at, 0xF0 | (point >> 18))
    store_u8(at + 1, 0x80 | ((point >> 12) & 63))
    store_u8(at + 2, 0x80 | ((point >> 6) & 63))
    store_u8(at + 3, 0x80 | (point & 63))
    return at + 4


@inner
def unescape(i, stop, at):  # type: ignore[no-untyped-def]
    """Write the scanned string from `i` to `stop` without its escapes to `at`; returns the end.

    The text never grows: the longest result of an escape is 3 bytes for its 6.
    """
    while i < stop:
        c = load_u8(i)
        if c != 92:
            store_u8(at, c)
            at += 1
            i += 1
            continue
        c = load_u8(i + 1)
        if c == 117:
            point = _hex4(i + 2, stop)
            i += 6
            if 0xD800 <= point <= 0xDBFF:
                point = 0x10000 + ((point - 0xD800) << 10) + _hex4(i + 2, stop) - 0xDC00
                i += 6
            at = _put_utf8(at, point)
            continue
        if c == 98:
            c = 8
        elif c == 102:
            c = 12
        elif c == 110:
            c = 10
        elif c == 114:
            c = 13
        elif c == 116:
            c = 9
        store_u8(at, c)
        at += 1
        i += 2
    return at
