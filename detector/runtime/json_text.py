"""Event batches as JSON lines: compiled, column by column.

Purpose: the text of a batch without a Python object per value.
Invariants: keys stand in the order of `FIELDS`, null fields are left out; a number reads
back as the number it was; strings are UTF-8, only what RFC 8259 demands is escaped.
Limits: numbers must be finite, times between the years 0 and 9999: decoded batches are.
Source: RFC 8259; civil dates after Howard Hinnant, "chrono-compatible low-level date algorithms".
"""

from typing import Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.decode.checks import TIMES
from detector.decode.memory import PAD, address, get, inner, load_u8, load_u64, store_i64, store_u8
from detector.events import ELICITATION_KINDS, FIELDS, FINGERPRINTS, SCHEMA_VERSION, EventBatch
from detector.hashing import string_buffers

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

_TIME_BYTES: Final = 26  # "2026-11-21T14:03:27.418Z", quotes included
_WHOLE_BYTES_MAX: Final = 20  # -9223372036854775808
_PRINT_BYTES: Final = 19  # 16 digits, quotes, comma
_HEAD: Final = f'{{"schema_version":"{SCHEMA_VERSION}"'.encode()


class Texts(NamedTuple):
    """JSON text of a column: bytes, int64 offsets (rows + 1), and which rows have a value (uint8)."""

    data: U8
    offsets: I64
    valid: U8


@inner
def _copy(source, target, size):  # type: ignore[no-untyped-def]
    """Copy by whole words, up to 7 bytes too many: what follows is written later. Returns the end."""
    end = target + size
    while target < end:
        store_i64(target, np.int64(load_u64(source)))
        source, target = source + 8, target + 8
    return end


@inner
def _copy_exactly(source, target, size):  # type: ignore[no-untyped-def]
    """Copy without touching a byte behind either end. Returns the end."""
    while size >= 8:
        store_i64(target, np.int64(load_u64(source)))
        source, target, size = source + 8, target + 8, size - 8
    for k in range(size):
        store_u8(target + k, load_u8(source + k))
    return target + size


@inner
def _digits(target, value, count):  # type: ignore[no-untyped-def]
    """Write a number with `count` decimal digits; returns the end."""
    for k in range(count - 1, -1, -1):
        store_u8(target + k, 48 + value % 10)
        value //= 10
    return target + count


@inner
def _escape(target, c):  # type: ignore[no-untyped-def]
    """Write one byte of a string as JSON wants it; returns the end."""
    if c == 34 or c == 92:
        store_u8(target, 92)
        target += 1
    elif c < 32:
        for digit in (92, 117, 48, 48, 48 + (c >> 4)):
            store_u8(target, digit)
            target += 1
        c = 48 + (c & 15) if (c & 15) < 10 else 87 + (c & 15)
    store_u8(target, c)
    return target + 1


@numba.njit(cache=True)
def _strings(base, offsets, valid, quote, escape, out, starts):  # type: ignore[no-untyped-def]
    at = out
    for row in range(valid.size):
        starts[row] = at - out
        if valid[row] == 0:
            continue
        first, stop = base + np.int64(offsets[row]), base + np.int64(offsets[row + 1])
        if quote:
            store_u8(at, 34)
            at += 1
        if escape:
            for i in range(first, stop):
                at = _escape(at, load_u8(i))
        else:
            at = _copy_exactly(first, at, stop - first)
        if quote:
            store_u8(at, 34)
            at += 1
    starts[valid.size] = at - out


@numba.njit(cache=True)
def _wholes(values, valid, out, starts):  # type: ignore[no-untyped-def]
    at = out
    for row in range(valid.size):
        starts[row] = at - out
        if valid[row] == 0:
            continue
        value = np.uint64(values[row])
        if values[row] < 0:
            store_u8(at, 45)
            at += 1
            value = np.uint64(0) - value
        count = 1
        rest = value // np.uint64(10)
        while rest > 0:
            rest //= np.uint64(10)
            count += 1
        for k in range(count - 1, -1, -1):
            store_u8(at + k, np.int64(48 + value % np.uint64(10)))
            value //= np.uint64(10)
        at += count
    starts[valid.size] = at - out


@numba.njit(cache=True)
def _times(values, valid, out, starts):  # type: ignore[no-untyped-def]
    at = out
    for row in range(valid.size):
        starts[row] = at - out
        if valid[row] == 0:
            continue
        days, ms = values[row] // 86_400_000, values[row] % 86_400_000
        z = days + 719_468  # from 0000-03-01, the start of an era of 400 years
        era = z // 146_097
        day = z - era * 146_097
        year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
        day -= 365 * year + year // 4 - year // 100
        month = (5 * day + 2) // 153
        day -= (153 * month + 2) // 5
        month = month + 3 if month < 10 else month - 9
        parts = (year + era * 400 + (1 if month <= 2 else 0), month, day + 1, ms // 3_600_000)
        store_u8(at, 34)
        at = _digits(at + 1, parts[0], 4)
        store_u8(at, 45)
        at = _digits(at + 1, parts[1], 2)
        store_u8(at, 45)
        at = _digits(at + 1, parts[2], 2)
        store_u8(at, 84)
        at = _digits(at + 1, parts[3], 2)
        store_u8(at, 58)
        at = _digits(at + 1, ms // 60_000 % 60, 2)
        store_u8(at, 58)
        at = _digits(at + 1, ms // 1000 % 60, 2)
        store_u8(at, 46)
        at = _digits(at + 1, ms % 1000, 3)
        store_u8(at, 90)
        store_u8(at + 1, 34)
        at += 2
    starts[valid.size] = at - out


@numba.njit(cache=True)
def _prints(words, offsets, valid, out, starts):  # type: ignore[no-untyped-def]
    at = out
    for row in range(valid.size):
        starts[row] = at - out
        if valid[row] == 0:
            continue
        store_u8(at, 91)
        at += 1
        for item in range(offsets[row], offsets[row + 1]):
            if item > offsets[row]:
                store_u8(at, 44)
                at += 1
            store_u8(at, 34)
            word = words[item]
            for k in range(16):
                nibble = np.int64((word >> np.uint64(60 - 4 * k)) & np.uint64(15))
                store_u8(at + 1 + k, 48 + nibble if nibble < 10 else 87 + nibble)
            store_u8(at + 17, 34)
            at += 18
        store_u8(at, 93)
        at += 1
    starts[valid.size] = at - out


@numba.njit(cache=True)
def _objects(columns, names, valid, out, starts):  # type: ignore[no-untyped-def]
    """Interleave columns to one object a row.

    `columns` (int64, n x 3): addresses of each column's data, offsets and valid bytes.
    `names` (int64, n + 3): addresses of the opening text, each `,"name":`, the closing text, its end.
    """
    at = out
    count = columns.shape[0]
    for row in range(valid.size):
        starts[row] = at - out
        if valid[row] == 0:
            continue
        at = _copy(names[0], at, names[1] - names[0])
        for column in range(count):
            if load_u8(columns[column, 2] + row) == 0:
                continue
            bare = 1 if load_u8(at - 1) == 123 else 0  # no comma behind the brace
            at = _copy(names[column + 1] + bare, at, names[column + 2] - names[column + 1] - bare)
            first = get(columns[column, 1], row)
            at = _copy(columns[column, 0] + first, at, get(columns[column, 1], row + 1) - first)
        at = _copy(names[count + 1], at, names[count + 2] - names[count + 1])
    starts[valid.size] = at - out


def _valid(column: pa.Array) -> U8:
    if column.null_count == 0:
        return np.ones(len(column), np.uint8)
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.uint8)


def _room(size: int, rows: int) -> tuple[U8, I64]:
    return np.empty(size + PAD, np.uint8), np.empty(rows + 1, np.int64)


def _string_texts(column: pa.StringArray, *, quote: bool) -> Texts:
    source, offsets = string_buffers(column)
    rows, used = len(column), source[offsets[0] : offsets[-1]]
    controls = int((used < 32).sum()) if quote else 0
    special = int(((used == 34) | (used == 92)).sum()) if quote else 0
    data, starts = _room(used.size + 2 * rows + special + 5 * controls, rows)
    valid = _valid(column)
    _strings(address(source), offsets, valid, quote, special + controls > 0, address(data), starts)
    return Texts(data, starts, valid)


def _whole_texts(column: pa.Int64Array, *, times: bool) -> Texts:
    rows, valid = len(column), _valid(column)
    values = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + rows]
    data, starts = _room(rows * (_TIME_BYTES if times else _WHOLE_BYTES_MAX), rows)
    (_times if times else _wholes)(values, valid, address(data), starts)
    return Texts(data, starts, valid)


def _print_texts(column: pa.ListArray) -> Texts:
    rows, valid = len(column), _valid(column)
    words = np.asarray(column.values.to_numpy(zero_copy_only=False), np.uint64)
    offsets = np.asarray(column.offsets.to_numpy(), np.int32)
    data, starts = _room(int(offsets[-1] - offsets[0]) * _PRINT_BYTES + 2 * rows, rows)
    _prints(words, offsets, valid, address(data), starts)
    return Texts(data, starts, valid)


def _object_texts(columns: dict[str, Texts], *, head: bytes, close: bytes, valid: U8) -> Texts:
    parts = [head, *(f',"{name}":'.encode() for name in columns), close]
    text = np.frombuffer(b"".join(parts) + bytes(PAD), np.uint8)
    names = address(text) + np.cumsum([0, *map(len, parts)])
    size = sum(int(c.offsets[-1]) for c in columns.values()) + valid.size * sum(map(len, parts))
    data, starts = _room(size, valid.size)
    table = np.array([[address(part) for part in c] for c in columns.values()], np.int64).reshape(-1, 3)
    _objects(table, names, valid, address(data), starts)
    return Texts(data, starts, valid)


def _score_texts(column: pa.StructArray) -> Texts:
    parts = dict(zip(ELICITATION_KINDS, column.flatten(), strict=True))
    texts = {k: _string_texts(v.cast(pa.string()), quote=False) for k, v in parts.items() if v.null_count < len(v)}
    return _object_texts(texts, head=b"{", close=b"}", valid=_valid(column))


def json_lines(batch: EventBatch) -> memoryview:
    r"""The events of a batch as JSON objects, one a line.

    >>> from detector.events import event_batch
    >>> bytes(json_lines(event_batch({"event_id": pa.array(["e"]), "n": pa.array([2])}, rows=1)))
    b'{"schema_version":"access.v1","event_id":"e","n":2}\n'
    """
    texts: dict[str, Texts] = {}
    for f, column in zip(FIELDS, batch.columns, strict=True):
        if column.null_count == batch.num_rows:
            continue
        if f.type == pa.string():
            texts[f.name] = _string_texts(column, quote=True)
        elif f.type == pa.int64():
            texts[f.name] = _whole_texts(column, times=f.name in TIMES)
        elif f.type == FINGERPRINTS:
            texts[f.name] = _print_texts(column)
        elif f.name == "elicitation":
            texts[f.name] = _score_texts(column)
        else:  # booleans and reals, whose shortest text Arrow knows
            texts[f.name] = _string_texts(column.cast(pa.string()), quote=False)
    lines = _object_texts(texts, head=_HEAD, close=b"}\n", valid=np.ones(batch.num_rows, np.uint8))
    return lines.data[: int(lines.offsets[-1])].data
