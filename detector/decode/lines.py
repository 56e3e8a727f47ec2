"""JSON records to an event batch: what surrounds the compiled reader.

Invariants: nothing raises for any bytes; a record is a row or a reject, never both,
never neither (blank lines of files aside). Rejects carry positions, never content.
Limits: a call takes at most 512 MiB of records (int32 offsets into a work buffer of
twice the size); callers hand over blocks of about 1 MiB.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.decode import fields as kernel
from detector.decode.checks import FIELD_NUMBER, Faults, assemble, check
from detector.decode.contents import read_contents
from detector.decode.digits import POWER_MAX
from detector.decode.memory import PAD, address, load_i64, store_i64
from detector.decode.reasons import (
    BAD_TIME,
    BAD_TYPE,
    BAD_VALUE,
    IDENTIFIER_TOO_LONG,
    REASONS,
    UNKNOWN_SCHEMA,
    Reject,
)
from detector.decode.records import KEY_SLOTS_MIN, REJECT_COLUMNS, read_records
from detector.decode.scan import KEY_COLUMNS, KEYS, ODDS, POWERS, SIDE_AT, hash_key
from detector.events import (
    ELICITATION,
    ELICITATION_KINDS,
    FIELDS,
    FINGERPRINTS,
    IDENTIFIER_BYTES_MAX,
    LIST_ITEMS_MAX,
    RECORD_BYTES_MAX,
    SCHEMA_VERSION,
    EventBatch,
)
from detector.fingerprint import Content
from detector.hashing import opaque64

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

BYTES_MAX: Final = 1 << 29
ROW_BYTES_MIN: Final = 64  # the required fields with the shortest values that the kernel lets through take 65
ODDS_MAX: Final = len(FIELDS) + 3 * LIST_ITEMS_MAX + len(ELICITATION_KINDS)  # of one record; each takes 3 bytes or more
_EXTRA: Final = ("schema_version", "content", "ext")
NAMES: Final = (*(f.name for f in FIELDS), *_EXTRA)
_VERSION, _CONTENT = NAMES.index("schema_version"), NAMES.index("content")
_LIST_OF: Final = {FIELD_NUMBER[name]: which for which, name in enumerate(("anchor_fps", "run_fps", "output_run_fps"))}


class Decoded(NamedTuple):
    """The outcome of decoding: rows, where each came from, raw text if any, and what was refused.

    `positions` (int64) has the index of each row's record in the input; `content` is
    None where no record carried any, else three string columns aligned with the batch. `passed` counts
    records of a foreign format that hold no model call.
    """

    batch: EventBatch
    positions: npt.NDArray[np.int64]
    content: Content | None
    rejects: list[Reject]
    passed: int = 0


def _form(name: str, kind: pa.DataType | None) -> int:
    if name in ("event_time", "account_created_at"):
        return kernel.TIME
    by_type = {pa.string(): kernel.STRING, pa.int64(): kernel.INTEGER, pa.float64(): kernel.REAL}
    by_type |= {pa.bool_(): kernel.BOOLEAN, FINGERPRINTS: kernel.PRINTS, ELICITATION: kernel.SCORES}
    by_name = {"schema_version": kernel.STRING, "content": kernel.RAW, "ext": kernel.ANY}
    return by_name[name] if kind is None else by_type[kind]


def _name_table() -> dict[int, npt.NDArray[Any]]:
    """What the kernel knows about names, by the state word that points at it."""
    words = [name.encode() for name in (*NAMES, *ELICITATION_KINDS)]
    quoted = [b'"' + word + b'":' for word in words]
    text = np.frombuffer(b"".join(quoted) + bytes(PAD), np.uint8).copy()
    starts = np.cumsum([0, *map(len, quoted[:-1])]).astype(np.int64)
    table = np.full(kernel.NAME_TABLE_SLOTS, -1, np.int64)
    for number, word in enumerate(words):
        slot = hash_key(word) % table.size
        while table[slot] >= 0:
            slot = (slot + 1) % table.size
        table[slot] = number
    return {
        kernel.NAME_BYTES: text,
        kernel.NAME_STARTS: starts,
        kernel.NAME_SIZES: np.array([len(word) for word in words], np.int64),
        kernel.NAME_TABLE: table,
        kernel.KINDS: _FORMS,
        kernel.REQUIRED: np.array([*(f.required for f in FIELDS), False, False, False], np.int64),
        kernel.LISTS: np.array([_LIST_OF.get(number, 0) for number in range(len(NAMES))], np.int64),
        POWERS: np.array([float(10**power) for power in range(POWER_MAX + 1)]),
    }


_FORMS: Final = np.array([*(_form(f.name, f.type) for f in FIELDS), *(_form(n, None) for n in _EXTRA)], np.int64)
_NAME_TABLE: Final = _name_table()


class Out(NamedTuple):
    """What the kernel writes; the first axis of the wide arrays is the field, the second the row.

    `start`, `size`: where each value stands in the work buffer, size -1 where null;
    `whole`, `real`: numbers; `prints` (lists, rows, items); `scores` (kinds, rows);
    `line`: record of each row; `rejects`: REJECT_COLUMNS each; `odds`: values left to Python.
    """

    work: U8
    start: I32
    size: I32
    whole: I64
    real: npt.NDArray[np.float64]
    prints: npt.NDArray[np.uint64]
    scores: npt.NDArray[np.float64]
    line: I64
    rejects: I64
    odds: I64


def _outputs(data: bytes, *, records: int) -> Out:
    """Allocate for `records` records in `data`; memory that is never written costs nothing."""
    length = len(data)
    rows = min(records, length // ROW_BYTES_MIN + 1) + 1
    work = np.empty(2 * length + PAD, np.uint8)
    work[:length] = np.frombuffer(data, np.uint8)
    return Out(
        work=work,
        start=np.empty((len(NAMES), rows), np.int32),
        size=np.full((len(NAMES), rows), -1, np.int32),
        whole=np.empty((len(NAMES), rows), np.int64),
        real=np.empty((len(NAMES), rows), np.float64),
        prints=np.empty((len(_LIST_OF), rows, LIST_ITEMS_MAX), np.uint64),
        scores=np.empty((len(ELICITATION_KINDS), rows), np.float64),
        line=np.empty(rows, np.int64),
        rejects=np.empty((records, REJECT_COLUMNS), np.int64),
        odds=np.empty((min(length // 3, rows * ODDS_MAX) + 8, kernel.ODD_COLUMNS), np.int64),
    )


def _read(out: Out, starts: I64, stops: I64, *, blank: bool) -> tuple[int, int, int]:
    """Run the kernel: the number of rows, rejects and odds that it wrote to `out`."""
    longest = min(int((stops - starts).max(initial=0)), RECORD_BYTES_MAX)
    keys = np.zeros((max(KEY_SLOTS_MIN, 1 << (longest // 2).bit_length()), KEY_COLUMNS), np.int64)
    seen = np.zeros(len(NAMES), np.int64)
    follows = np.minimum(np.arange(len(NAMES) + 1), len(NAMES) - 1)
    state = np.zeros(kernel.STATE_SLOTS, np.int64)
    written: dict[int, npt.NDArray[Any]] = {
        kernel.START: out.start,
        kernel.SIZE: out.size,
        kernel.WHOLE: out.whole,
        kernel.NUMBER: out.real,
    }
    written |= {kernel.LISTED: out.prints, kernel.SCORED: out.scores, kernel.ODD: out.odds, KEYS: keys}
    written |= {kernel.SEEN: seen, kernel.FOLLOWS: follows, kernel.BASE: out.work}
    for slot, array in (written | _NAME_TABLE).items():
        state[slot] = address(array)
    state[kernel.ROWS] = out.start.shape[1]
    state[kernel.KNOWN], state[kernel.TENANT] = len(NAMES), NAMES.index("tenant")
    state[SIDE_AT] = address(out.work) + (out.work.size - PAD) // 2
    rows, refused = read_records(address(state), starts, stops, blank, out.line, out.rejects)
    return rows, refused, int(state[ODDS])


@numba.njit(cache=True, nogil=True)
def _gather(data, start, size):  # type: ignore[no-untyped-def]
    """Copy spans to one buffer: `(bytes, int32 offsets, rows without a span)`.

    Words, not bytes: what a word brings too many the next span overwrites, or the padding takes.
    """
    rows = start.size
    offsets = np.empty(rows + 1, np.int32)
    total = 0
    nulls = 0
    for row in range(rows):
        offsets[row] = total
        if size[row] < 0:
            nulls += 1
        else:
            total += size[row]
    offsets[rows] = total
    out = np.empty(total + PAD, np.uint8)
    source, target = np.int64(data.ctypes.data), np.int64(out.ctypes.data)
    for row in range(rows):
        at, first = target + offsets[row], source + start[row]
        for k in range(0, size[row], 8):
            store_i64(at + k, load_i64(first + k))
    return out[:total], offsets, nulls


def _bitmap(size: npt.NDArray[np.int32]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(size >= 0, bitorder="little"))


def _string_column(out: Out, field: int, rows: int) -> pa.StringArray:
    size = out.size[field, :rows]
    data, offsets, nulls = _gather(out.work, out.start[field, :rows], size)
    bitmap = _bitmap(size) if nulls else None
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data), bitmap, nulls)


def _flat_column(values: npt.NDArray[np.generic], out: Out, field: int, rows: int, kind: pa.DataType) -> pa.Array:
    size = out.size[field, :rows]
    nulls = int((size < 0).sum())
    buffers = [_bitmap(size) if nulls else None, pa.py_buffer(values[field, :rows].copy())]
    return pa.Array.from_buffers(kind, rows, buffers, nulls)


def _list_column(out: Out, field: int, rows: int) -> pa.ListArray:
    size = out.size[field, :rows]
    counts = np.maximum(size, 0)
    items = out.prints[_LIST_OF[field], :rows]
    flat = items[np.arange(LIST_ITEMS_MAX) < counts[:, None]]
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    nulls = int((size < 0).sum())
    return pa.Array.from_buffers(
        FINGERPRINTS,
        rows,
        [_bitmap(size) if nulls else None, pa.py_buffer(offsets)],
        nulls,
        children=[pa.array(flat, pa.uint64())],
    )


def _score_column(out: Out, field: int, rows: int) -> pa.StructArray:
    absent = out.size[field, :rows] < 0
    parts = []
    for kind in range(len(ELICITATION_KINDS)):
        # Rows without the map were never written; what lies outside 0..1 is refused later, however far.
        scores = np.clip(np.where(absent, np.nan, out.scores[kind, :rows]), -1.0, 2.0)
        parts.append(pa.array(scores.astype(np.float32), pa.float32(), mask=np.isnan(scores)))
    return pa.StructArray.from_arrays(parts, fields=list(ELICITATION), mask=pa.array(absent))


def _columns(out: Out, rows: int) -> dict[str, pa.Array]:
    """Turn the kernel's spans and numbers into Arrow columns, leaving out those without a value."""
    present: list[bool] = np.any(out.size[:, :rows] >= 0, axis=1).tolist()
    columns: dict[str, pa.Array] = {}
    for field, f in enumerate(FIELDS):
        if not present[field]:
            continue
        if f.type == pa.string():
            columns[f.name] = _string_column(out, field, rows)
        elif f.type == pa.int64():
            columns[f.name] = _flat_column(out.whole, out, field, rows, f.type)
        elif f.type == pa.float64():
            columns[f.name] = _flat_column(out.real, out, field, rows, f.type)
        elif f.type == pa.bool_():
            absent = out.size[field, :rows] < 0
            columns[f.name] = pa.array(out.whole[field, :rows] == 1, f.type, mask=absent)
        elif f.type == FINGERPRINTS:
            columns[f.name] = _list_column(out, field, rows)
        else:
            columns[f.name] = _score_column(out, field, rows)
    return columns


def _settle_number(raw: bytes, *, kind: int, field: int, row: int, out: Out, faults: Faults) -> None:
    value = float(raw)
    if kind == kernel.REAL:
        out.real[field, row] = value
    elif kind == kernel.TIME:
        if abs(value) < 1e15:
            out.whole[field, row] = int(value // 1)
        else:
            faults.set(row, reason=BAD_TIME, field=field)
    elif not abs(value) < 9.2e18:
        faults.set(row, reason=BAD_VALUE, field=field)
    elif value != value // 1:
        faults.set(row, reason=BAD_TYPE, field=field)
    else:
        out.whole[field, row] = int(value)


def _settle_odds(out: Out, odds: int, faults: Faults) -> None:
    """Read what the kernel left to Python: long numbers, and fingerprints that are not 16 hex digits."""
    for field, row, item, start, size in out.odds[:odds].tolist():
        raw = out.work[start : start + size].tobytes()
        kind = int(_FORMS[field])
        if kind == kernel.PRINTS:
            if size == 0 or size > IDENTIFIER_BYTES_MAX:
                faults.set(row, reason=IDENTIFIER_TOO_LONG if size else BAD_VALUE, field=field)
            out.prints[_LIST_OF[field], row, item] = opaque64(raw)
        elif kind == kernel.SCORES:
            out.scores[item, row] = float(raw)
        else:
            _settle_number(raw, kind=kind, field=field, row=row, out=out, faults=faults)


def _contents(out: Out, rows: int, faults: Faults) -> Content | None:
    size = out.size[_CONTENT, :rows]
    if not (size >= 0).any():
        return None
    raw = out.work.tobytes()
    spans = [
        None if n < 0 else raw[at : at + n]
        for at, n in zip(out.start[_CONTENT, :rows].tolist(), size.tolist(), strict=True)
    ]
    contents = read_contents(spans)
    faults.mark(contents.bad, reason=BAD_TYPE, field=_CONTENT)
    return contents.columns


def _kernel_rejects(out: Out, refused: int) -> list[Reject]:
    rejects = []
    for record, reason, field, byte, tenant, size in out.rejects[:refused].tolist():
        name = NAMES[field] if field >= 0 else None
        who = out.work[tenant : tenant + size].tobytes().decode() if 0 < size <= IDENTIFIER_BYTES_MAX else None
        rejects.append(Reject(REASONS[reason], record, byte, name, who))
    return rejects


def _fault_rejects(faults: Faults, out: Out, starts: I64, length: int, tenants: pa.StringArray) -> list[Reject]:
    rejects = []
    for row in np.flatnonzero(faults.reason).tolist():
        field, record = int(faults.field[row]), int(out.line[row])
        at = int(out.start[field, row]) - (1 if int(_FORMS[field]) == kernel.STRING else 0)
        # Text whose escapes were removed stands behind the input and has no position of its own.
        byte = at - int(starts[record]) if at < length - 1 else None
        tenant = tenants[row].as_py()
        rejects.append(Reject(REASONS[faults.reason[row]], record, byte, NAMES[field], tenant))
    return rejects


def decode_spans(data: bytes, starts: I64, stops: I64, *, blank: bool) -> Decoded:
    """Decode the records `data[starts[k]:stops[k]]`; with `blank`, records of white space are passed over.

    Raises `ValueError` for more than `BYTES_MAX` bytes: that is a caller's mistake.
    """
    length = len(data)
    if length > BYTES_MAX:
        raise ValueError(f"{length} bytes in one call of decode, at most {BYTES_MAX}: hand over smaller blocks")
    out = _outputs(data, records=starts.size)
    rows, refused, odds = _read(out, starts, stops, blank=blank)
    faults = Faults(rows)
    if (out.size[_VERSION, :rows] >= 0).any():
        version = _string_column(out, _VERSION, rows)
        wrong = pc.not_equal(version, SCHEMA_VERSION).fill_null(False).to_numpy(zero_copy_only=False)
        faults.mark(wrong, reason=UNKNOWN_SCHEMA, field=_VERSION)
    _settle_odds(out, odds, faults)
    content = _contents(out, rows, faults)
    columns = check(_columns(out, rows), faults=faults)
    batch = assemble(columns, rows=rows)
    positions = out.line[:rows].copy()
    rejects = _kernel_rejects(out, refused)
    if faults.any:
        rejects += _fault_rejects(faults, out, starts, length, batch.column("tenant"))
        rejects.sort(key=lambda reject: reject.position)
        batch, positions, content = keep_rows(faults.reason == 0, batch, positions, content)
    return Decoded(batch, positions, content, rejects)


def keep_rows(
    keep: npt.NDArray[np.bool_], batch: EventBatch, positions: I64, content: Content | None
) -> tuple[EventBatch, I64, Content | None]:
    """Drop the rows of a mask from a batch and all that is aligned with it."""
    mask = pa.array(keep)
    kept = None if content is None else Content(*(column.filter(mask) for column in content))
    return batch.filter(mask), positions[keep], kept


def decode_lines(lines: Sequence[bytes]) -> Decoded:
    """Decode records of one JSON object each; `positions` and rejects count from 0 in `lines`.

    >>> good = b'{"event_id":"e","event_time":1700000000000,"account_id":"a","request_model":"m"}'
    >>> decoded = decode_lines([good, b'{"event_id":', b"[]"])
    >>> decoded.batch.num_rows, [(r.reason, r.position) for r in decoded.rejects]
    (1, [('not_json', 1), ('not_object', 2)])
    """
    stops = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
    starts = np.concatenate(([0], stops[:-1])).astype(np.int64) if len(lines) else stops
    return decode_spans(b"".join(lines), starts, stops, blank=False)


def decode_text(data: bytes) -> Decoded:
    """Decode a block of lines; `positions` and rejects count lines from 0, blank ones included."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    starts = np.concatenate(([0], ends[:-1] + 1)).astype(np.int64) if ends.size else np.zeros(0, np.int64)
    return decode_spans(data, starts, ends.astype(np.int64), blank=True)
