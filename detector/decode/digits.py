"""JSON numbers: compiled, exact where they are short, handed on where they are not.

Invariants: an integer within 64 bits is exact; a decimal of at most 2**53 with a power
of ten of at most 22 is correctly rounded; every other number is valid but left to
`float`. A leading zero, a bare point or sign is no number.
Source: RFC 8259 section 6; Clinger, "How to read floating point numbers accurately"
(PLDI 1990), the fast case.
"""

from typing import Final

import numpy as np

from detector.decode.memory import inner, load_f64, load_u8

NUMBER_INT: Final = 0  # fits int64
NUMBER_REAL: Final = 1  # a float64, correctly rounded
NUMBER_SLOW: Final = 2  # to be read by `float`
NUMBER_WIDE: Final = 3  # an integer beyond 64 bits
POWER_MAX: Final = 22  # 10**22 is the last power of ten that a float64 holds exactly


@inner
def _digits(i, stop, mantissa, counted):  # type: ignore[no-untyped-def]
    """Append decimal digits to a mantissa of at most 19: `(position, mantissa, digits counted, digits dropped)`."""
    dropped = 0
    while i < stop and 48 <= load_u8(i) <= 57:
        if counted < 19:
            mantissa = mantissa * np.uint64(10) + np.uint64(load_u8(i) - 48)
            if mantissa != 0:
                counted += 1
        else:
            dropped += 1
        i += 1
    return i, mantissa, counted, dropped


@inner
def _exponent(i, stop):  # type: ignore[no-untyped-def]
    """Read the exponent behind `e`: `(position, value cut to +-9999, valid)`."""
    sign = 1
    if i < stop and (load_u8(i) == 43 or load_u8(i) == 45):
        sign = -1 if load_u8(i) == 45 else 1
        i += 1
    first = i
    value = 0
    while i < stop and 48 <= load_u8(i) <= 57:
        value = min(value * 10 + load_u8(i) - 48, 9999)
        i += 1
    return i, sign * value, i > first


@inner
def scan_number(i, stop, powers):  # type: ignore[no-untyped-def]
    """Scan a number: `(end, kind, int64 value, float64 value)`; kind -1 is no number.

    Only the value that the kind names is meaningful.
    `powers` is the address of 10**0 to 10**POWER_MAX (float64).
    """
    negative = load_u8(i) == 45
    if negative:
        i += 1
    first = i
    i, mantissa, counted, dropped = _digits(i, stop, np.uint64(0), 0)
    if i == first or (load_u8(first) == 48 and i > first + 1):
        return i, -1, 0, 0.0
    if i >= stop or (load_u8(i) != 46 and (load_u8(i) | 32) != 101):
        limit = np.uint64(1 << 63)
        if dropped > 0 or mantissa > limit or (mantissa == limit and not negative):
            return i, NUMBER_WIDE, 0, 0.0
        value = np.int64(mantissa)
        return i, NUMBER_INT, -value if negative else value, 0.0
    power = dropped
    if load_u8(i) == 46:
        first = i + 1
        i, mantissa, counted, more = _digits(first, stop, mantissa, counted)
        if i == first:
            return i, -1, 0, 0.0
        dropped += more
        power -= i - first - more
    if i < stop and (load_u8(i) | 32) == 101:
        i, exponent, valid = _exponent(i + 1, stop)
        if not valid:
            return i, -1, 0, 0.0
        power += exponent
    if dropped > 0 or mantissa > np.uint64(1 << 53) or power > POWER_MAX or power < -POWER_MAX:
        return i, NUMBER_SLOW, 0, 0.0
    value_real = np.float64(mantissa)
    scale = load_f64(powers + 8 * abs(power))
    value_real = value_real * scale if power >= 0 else value_real / scale
    return i, NUMBER_REAL, 0, -value_real if negative else value_real
