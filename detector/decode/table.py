"""Parquet columns to an event batch: the natural types of a table, brought to `SCHEMA`'s.

Purpose: same names and same rules as the JSON records, for files that already are columns.
Invariants: a column of an impossible type is a `bad_type` of every row that has a value
in it; a row is an event or a reject, never both, never neither; nothing raises for any
batch that Arrow itself holds valid, invalid UTF-8 included.
Limits: a record's text (content) at most `RECORD_BYTES_MAX`; positions are row numbers
from 0; a time without a zone is UTC, as Parquet says.
"""

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.decode.checks import TIMES, Faults, assemble, check
from detector.decode.contents import Contents, convert_contents
from detector.decode.fields import hex8
from detector.decode.lines import NAMES, Decoded, keep_rows
from detector.decode.memory import address
from detector.decode.reasons import (
    BAD_ENCODING,
    BAD_TIME,
    BAD_TYPE,
    BAD_VALUE,
    DUPLICATE_KEY,
    IDENTIFIER_TOO_LONG,
    REASONS,
    TOO_LARGE,
    UNKNOWN_SCHEMA,
    Reject,
)
from detector.decode.times import TIME_MS_MAX, time_column
from detector.events import (
    ELICITATION,
    ELICITATION_KINDS,
    EXT_BYTES_MAX,
    FIELDS,
    FINGERPRINTS,
    IDENTIFIER_BYTES_MAX,
    RECORD_BYTES_MAX,
    SCHEMA_VERSION,
)
from detector.fingerprint import Content
from detector.hashing import opaque64, string_buffers

Bools = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_TIME_UNITS: Final = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
_LIST_TYPES: Final = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_CONTENT, _EXT, _VERSION = NAMES.index("content"), NAMES.index("ext"), NAMES.index("schema_version")


def _valid(column: pa.Array) -> Bools:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _numbers(column: pa.Array, kind: pa.DataType) -> npt.NDArray[Any]:
    """A numeric column as NumPy, 0 where null."""
    return column.fill_null(0).to_numpy(zero_copy_only=False).astype(kind.to_pandas_dtype())


def _refuse(column: pa.Array, kind: pa.DataType, number: int, faults: Faults) -> pa.Array:
    faults.mark(_valid(column), reason=BAD_TYPE, field=number)
    return pa.nulls(len(column), kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_real(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _strings(column: pa.Array, number: int, faults: Faults) -> pa.StringArray:
    """Text or UTF-8 bytes as a string column; Arrow reads Parquet text without checking it."""
    kind = column.type
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    if not (_is_text(kind) or binary):
        return _refuse(column, pa.string(), number, faults)
    try:
        text = column if pa.types.is_string(kind) else column.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowInvalid:
        raw = column.cast(pa.large_binary()).to_pylist()
        values, bad = [], np.zeros(len(raw), np.bool_)
        for row, value in enumerate(raw):
            try:
                values.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                values.append(None)
                bad[row] = True
        faults.mark(bad, reason=BAD_ENCODING, field=number)
        return pa.array(values, pa.string())
    return text


def _reals(column: pa.Array, number: int, faults: Faults) -> pa.DoubleArray:
    if not (_is_real(column.type) or pa.types.is_integer(column.type)):
        return _refuse(column, pa.float64(), number, faults)
    return column.cast(pa.float64(), safe=False)


def _integers(column: pa.Array, number: int, faults: Faults) -> pa.Int64Array:
    """Whole numbers of any width; floats where they are integral (a table with gaps often has them)."""
    if pa.types.is_uint64(column.type):
        wide = _numbers(column, pa.uint64()) > (1 << 63) - 1
        faults.mark(wide, reason=BAD_VALUE, field=number)
        return column.cast(pa.int64(), safe=False)
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    if not _is_real(column.type):
        return _refuse(column, pa.int64(), number, faults)
    values = _numbers(_reals(column, number, faults), pa.float64())
    far = ~(np.abs(values) < 9.2e18)
    faults.mark(far, reason=BAD_VALUE, field=number)
    values[far] = 0.0
    faults.mark(values != np.floor(values), reason=BAD_TYPE, field=number)
    return pa.array(values.astype(np.int64), mask=~_valid(column))


def _times(column: pa.Array, number: int, faults: Faults) -> pa.Int64Array:
    """Epoch milliseconds from timestamps of any unit and zone, dates, numbers of ms, or RFC 3339 text."""
    kind = column.type
    if _is_text(kind):
        text = _strings(column, number, faults)
        values = time_column(text)
    elif pa.types.is_timestamp(kind):
        times, over = _TIME_UNITS[kind.unit]
        ticks = _numbers(column.view(pa.int64()), pa.int64())
        values = np.clip(ticks // over, -TIME_MS_MAX, TIME_MS_MAX + 1) * times
    elif pa.types.is_date32(kind):
        values = _numbers(column.view(pa.int32()), pa.int64()) * 86_400_000
    elif pa.types.is_date64(kind):
        values = _numbers(column.view(pa.int64()), pa.int64())
    elif pa.types.is_integer(kind):
        values = _numbers(_integers(column, number, faults), pa.int64())
    elif _is_real(kind):
        real = np.floor(_numbers(_reals(column, number, faults), pa.float64()))
        far = ~(np.abs(real) < 1e15)
        faults.mark(far, reason=BAD_TIME, field=number)
        values = np.where(far, 0.0, real).astype(np.int64)
    else:
        return _refuse(column, pa.int64(), number, faults)
    return pa.array(values, pa.int64(), mask=~_valid(column))


def _bools(column: pa.Array, number: int, faults: Faults) -> pa.BooleanArray:
    if pa.types.is_boolean(column.type):
        return column
    return _refuse(column, pa.bool_(), number, faults)


@numba.njit(cache=True)
def _hex_words(base, offsets, out):  # type: ignore[no-untyped-def]
    for row in range(out.size):
        start = base + np.int64(offsets[row])
        high = hex8(start) if offsets[row + 1] - offsets[row] == 16 else np.int64(-1)
        low = hex8(start + 8) if high >= 0 else np.int64(-1)
        out[row] = np.uint64((high << 32) | low) if low >= 0 else np.uint64(0)


def _words(items: pa.Array) -> tuple[U64, npt.NDArray[np.uint8]]:
    """Fingerprints of a flat column as 64-bit words, and the reason why one is none (0: it is)."""
    kind = items.type
    fault = np.zeros(len(items), np.uint8)
    if pa.types.is_uint64(kind):
        words = np.asarray(_numbers(items, pa.uint64()), np.uint64)
    elif pa.types.is_int64(kind):
        words = np.asarray(_numbers(items, pa.int64()), np.int64).view(np.uint64)
    elif _is_text(kind):
        faults = Faults(len(items))
        text = _strings(items, 0, faults)
        fault[:] = faults.reason
        data, offsets = string_buffers(text)
        words = np.zeros(len(text), np.uint64)
        padded = np.append(data, np.zeros(16, np.uint8))  # the kernel loads whole words
        _hex_words(address(padded), offsets, words)
        sizes = np.diff(offsets)
        for row in np.flatnonzero((words == 0) & (fault == 0) & _valid(items)).tolist():
            fault[row] = 0 if 0 < sizes[row] <= IDENTIFIER_BYTES_MAX else BAD_VALUE
            fault[row] = IDENTIFIER_TOO_LONG if sizes[row] > IDENTIFIER_BYTES_MAX else fault[row]
            words[row] = opaque64(text[row].as_py().encode())
    else:
        return np.zeros(len(items), np.uint64), np.full(len(items), BAD_TYPE, np.uint8)
    words[words == 0] = opaque64(b"0" * 16)  # as the JSON reader has it
    fault[~_valid(items)] = BAD_TYPE
    return words, fault


def _lists(column: pa.Array, number: int, faults: Faults) -> pa.ListArray:
    if not any(is_list(column.type) for is_list in _LIST_TYPES):
        return _refuse(column, FINGERPRINTS, number, faults)
    items = pc.list_flatten(column)  # of any kind of list, null ones left out
    if pa.types.is_dictionary(items.type):
        items = items.dictionary_decode()
    sizes = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    words, fault = _words(items)
    rows = np.repeat(np.arange(sizes.size), sizes)
    for at in np.flatnonzero(fault).tolist():
        faults.set(int(rows[at]), reason=int(fault[at]), field=number)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(words), mask=pa.array(~_valid(column)))


def _scores(column: pa.Array, number: int, faults: Faults) -> pa.StructArray:
    kind = column.type
    if pa.types.is_map(kind):
        column = pa.array([None if v is None else dict(v) for v in column.to_pylist()]) if len(column) else column
        kind = column.type
    if not pa.types.is_struct(kind):
        return _refuse(column, ELICITATION, number, faults)
    parts = []
    for name in ELICITATION_KINDS:
        index = kind.get_field_index(name)
        if index < 0 or pa.types.is_null(kind.field(index).type):
            parts.append(pa.nulls(len(column), pa.float32()))
        else:
            parts.append(_reals(column.field(index), number, faults).cast(pa.float32(), safe=False))
    return pa.StructArray.from_arrays(parts, fields=list(ELICITATION), mask=column.is_null())


def _plain(column: pa.Array) -> pa.Array:
    """Undo encodings that change no value."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    return column


def _convert(column: pa.Array, name: str, kind: pa.DataType, number: int, faults: Faults) -> pa.Array:
    readers = {
        pa.string(): _strings,
        pa.int64(): _times if name in TIMES else _integers,
        pa.float64(): _reals,
        pa.bool_(): _bools,
        FINGERPRINTS: _lists,
        ELICITATION: _scores,
    }
    return readers[kind](column, number, faults)


def _contents(column: pa.Array, faults: Faults) -> Content | None:
    """The raw text columns of a struct column, None where no row has any."""
    if column.null_count == len(column):
        return None
    if not pa.types.is_struct(column.type):
        _refuse(column, pa.string(), _CONTENT, faults)
        return None
    names = ("system", "prompt", "output")
    kinds = {field.name: field.type for field in column.type}
    if "messages" not in kinds and all(_is_text(kinds.get(name, pa.string())) for name in names):
        nulls = pa.nulls(len(column), pa.string())
        # `flatten` applies the struct's own nulls to its fields.
        parts = dict(zip(kinds, column.flatten(), strict=True))
        contents = Contents(
            Content(*(_strings(parts[n], _CONTENT, faults) if n in parts else nulls for n in names)),
            np.zeros(len(column), np.bool_),
        )
    else:
        try:
            contents = convert_contents(column.to_pylist())
        except UnicodeDecodeError:
            faults.mark(_valid(column), reason=BAD_ENCODING, field=_CONTENT)
            return None
    faults.mark(contents.bad, reason=BAD_TYPE, field=_CONTENT)
    sizes = np.sum([_numbers(pc.binary_length(part), pa.int64()) for part in contents.columns], axis=0)
    faults.mark(sizes > RECORD_BYTES_MAX, reason=TOO_LARGE, field=_CONTENT)
    return contents.columns


def _check_extras(columns: dict[str, pa.Array], faults: Faults) -> None:
    version, ext = columns.get("schema_version"), columns.get("ext")
    if version is not None:
        text = _strings(version, _VERSION, faults)
        wrong = pc.not_equal(text, SCHEMA_VERSION).fill_null(False).to_numpy(zero_copy_only=False)
        faults.mark(wrong, reason=UNKNOWN_SCHEMA, field=_VERSION)
    if ext is None:
        return
    if _is_text(ext.type) or pa.types.is_binary(ext.type) or pa.types.is_large_binary(ext.type):
        faults.mark(_numbers(pc.binary_length(ext), pa.int64()) > EXT_BYTES_MAX, reason=TOO_LARGE, field=_EXT)
    elif not (pa.types.is_struct(ext.type) or pa.types.is_map(ext.type)):
        _refuse(ext, pa.null(), _EXT, faults)


def decode_table(batch: pa.RecordBatch) -> Decoded:
    """Decode a batch of rows of a table; `positions` and rejects count rows from 0.

    Columns that are no field are ignored; a field that stands twice refuses every row.

    >>> rows = {"event_id": ["e"], "event_time": [1_700_000_000_000], "account_id": ["a"], "request_model": ["m"]}
    >>> decode_table(pa.RecordBatch.from_pydict(rows)).batch.column("tenant").to_pylist()
    ['default']
    """
    rows = batch.num_rows
    faults = Faults(rows)
    found: dict[str, pa.Array] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in found:
            faults.mark(np.ones(rows, np.bool_), reason=DUPLICATE_KEY, field=NAMES.index(name))
        elif name in NAMES and column.null_count < rows:
            found[name] = _plain(column)
    _check_extras(found, faults)
    columns = {}
    for number, f in enumerate(FIELDS):
        if f.name in found:
            columns[f.name] = _convert(found[f.name], f.name, f.type, number, faults)
    content = _contents(found["content"], faults) if "content" in found else None
    columns = check(columns, faults=faults)
    decoded = assemble(columns, rows=rows)
    positions: I64 = np.arange(rows, dtype=np.int64)
    rejects = []
    if faults.any:
        tenants = decoded.column("tenant")
        for row in np.flatnonzero(faults.reason).tolist():
            reason, field = REASONS[faults.reason[row]], NAMES[faults.field[row]]
            rejects.append(Reject(reason, row, None, field, tenants[row].as_py()))
        decoded, positions, content = keep_rows(faults.reason == 0, decoded, positions, content)
    return Decoded(decoded, positions, content, rejects)
