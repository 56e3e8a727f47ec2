"""Times as text: RFC 3339 to epoch milliseconds, compiled.

Invariants: offsets are converted, digits finer than a millisecond are cut (towards
the past), a leap second counts as the first moment of the next minute.
Limits: years 0 to 9999; a time without a zone is no time, since guessing it would
move events by hours.
Source: RFC 3339 section 5.6; days from civil dates after Howard Hinnant,
"chrono-compatible low-level date algorithms".
"""

from typing import Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.decode.memory import address, inner, load_u8
from detector.hashing import string_buffers

BAD_TIME_MS: Final = -(1 << 62)  # the kernel's answer to text that is no time
TIME_MS_MAX: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


@inner
def _two(i):  # type: ignore[no-untyped-def]
    tens, ones = load_u8(i) - 48, load_u8(i + 1) - 48
    if 0 <= tens <= 9 and 0 <= ones <= 9:
        return tens * 10 + ones
    return -1


@inner
def _days(year, month, day):  # type: ignore[no-untyped-def]
    """Days from 1970-01-01 to a civil date, or BAD_TIME_MS where there is no such date."""
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    length = 31
    if month == 4 or month == 6 or month == 9 or month == 11:
        length = 30
    elif month == 2:
        length = 29 if leap else 28
    if month < 1 or month > 12 or day < 1 or day > length:
        return BAD_TIME_MS
    y = year - (1 if month <= 2 else 0)
    era = y // 400
    year_of_era = y - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


@inner
def _offset_ms(i, stop):  # type: ignore[no-untyped-def]
    """Read `Z` or `+hh:mm`, which must end the text: the offset, or BAD_TIME_MS."""
    if i + 1 == stop and (load_u8(i) | 32) == 122:
        return 0
    if i + 6 != stop or load_u8(i + 3) != 58 or (load_u8(i) != 43 and load_u8(i) != 45):
        return BAD_TIME_MS
    hours, minutes = _two(i + 1), _two(i + 4)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return BAD_TIME_MS
    offset = (hours * 60 + minutes) * 60_000
    return offset if load_u8(i) == 43 else -offset


@inner
def time_ms(start, stop):  # type: ignore[no-untyped-def]
    """Epoch milliseconds of the RFC 3339 text between two addresses, or BAD_TIME_MS."""
    bad = BAD_TIME_MS
    if stop - start < 20 or load_u8(start + 4) != 45 or load_u8(start + 7) != 45:
        return bad
    separator = load_u8(start + 10)
    if (separator | 32) != 116 and separator != 32:
        return bad
    if load_u8(start + 13) != 58 or load_u8(start + 16) != 58:
        return bad
    high, low = _two(start), _two(start + 2)
    month, day = _two(start + 5), _two(start + 8)
    hour, minute, second = _two(start + 11), _two(start + 14), _two(start + 17)
    if high < 0 or low < 0 or hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 60:
        return bad
    days = _days(high * 100 + low, month, day)
    if days == bad:
        return bad
    i = start + 19
    millis = 0
    if load_u8(i) == 46:
        i += 1
        first = i
        scale = 100
        while i < stop and 48 <= load_u8(i) <= 57:
            millis += scale * (load_u8(i) - 48)
            scale //= 10
            i += 1
        if i == first:
            return bad
    if i >= stop:
        return bad
    offset = _offset_ms(i, stop)
    if offset == bad:
        return bad
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis - offset


@numba.njit(cache=True)
def _time_column(base, offsets, out):  # type: ignore[no-untyped-def]
    for row in range(out.size):
        out[row] = time_ms(base + np.int64(offsets[row]), base + np.int64(offsets[row + 1]))


def time_column(column: pa.StringArray) -> npt.NDArray[np.int64]:
    """Epoch milliseconds of a string column, BAD_TIME_MS where it holds no RFC 3339 time.

    >>> time_column(pa.array(["2026-11-21T14:00:00.1239+02:00", "yesterday"])).tolist()
    [1795262400123, -4611686018427387904]
    """
    data, offsets = string_buffers(column)
    out = np.empty(len(column), np.int64)
    _time_column(address(data), offsets, out)
    return out
