"""Client addresses: is a text an IPv4 or IPv6 address or prefix? Compiled.

Invariants: accepts what Python's `ipaddress.ip_network(text, strict=False)` accepts
as text with an optional prefix length, zone identifiers aside, which never name a
client of a public service.
Source: RFC 4291 section 2.2 (text forms), RFC 4632 section 3.1 (prefix lengths).
"""

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.hashing import string_buffers


@numba.njit(cache=True)
def _decimal(data, i, stop, limit):  # type: ignore[no-untyped-def]
    """Read a number without leading zeros, at most `limit`: the position after it, or -1."""
    first = i
    value = 0
    while i < stop and 48 <= data[i] <= 57 and i - first < 4:
        value = value * 10 + (data[i] - 48)
        i += 1
    if i == first or value > limit or (data[first] == 48 and i - first > 1):
        return -1
    return i


@numba.njit(cache=True)
def _is_v4(data, i, stop):  # type: ignore[no-untyped-def]
    for part in range(4):
        if part > 0:
            if i >= stop or data[i] != 46:
                return False
            i += 1
        i = _decimal(data, i, stop, 255)
        if i < 0:
            return False
    return i == stop


@numba.njit(cache=True)
def _hex_end(data, i, stop):  # type: ignore[no-untyped-def]
    while i < stop:
        c = data[i]
        if not (48 <= c <= 57 or 97 <= (c | 32) <= 102):
            break
        i += 1
    return i


@numba.njit(cache=True)
def _is_v6(data, i, stop):  # type: ignore[no-untyped-def]
    groups = 0
    gap = False
    if stop - i >= 2 and data[i] == 58:
        if data[i + 1] != 58:
            return False
        gap = True
        i += 2
    while i < stop:
        end = _hex_end(data, i, stop)
        if end < stop and data[end] == 46:  # the last 32 bits written as IPv4
            return _is_v4(data, i, stop) and (groups == 6 or (gap and groups < 6))
        if end == i or end - i > 4:
            return False
        groups += 1
        i = end
        if i == stop:
            break
        if data[i] != 58:
            return False
        i += 1
        if i < stop and data[i] == 58:
            if gap:
                return False
            gap = True
            i += 1
        elif i == stop:
            return False
    return groups < 8 if gap else groups == 8


@numba.njit(cache=True)
def _bad_addresses(data, offsets, out):  # type: ignore[no-untyped-def]
    for row in range(out.size):
        start, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        slash = start
        six = False
        while slash < stop and data[slash] != 47:
            six = six or data[slash] == 58
            slash += 1
        good = _is_v6(data, start, slash) if six else _is_v4(data, start, slash)
        if good and slash < stop:
            good = _decimal(data, slash + 1, stop, 128 if six else 32) == stop
        out[row] = not good


def bad_addresses(column: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Mark the rows whose text is no address or prefix (null rows count as bad).

    >>> bad_addresses(pa.array(["203.0.113.9", "2001:db8::/48", "10.0.0.256"])).tolist()
    [False, False, True]
    """
    data, offsets = string_buffers(column)
    out = np.empty(len(column), np.bool_)
    _bad_addresses(data, offsets, out)
    return out
