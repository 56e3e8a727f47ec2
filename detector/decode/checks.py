"""What every event must satisfy, however it arrived: checks over whole columns.

Purpose: JSON lines and Parquet meet here, so that both refuse the same events for the
same reasons.
Invariants: a row's first fault in the order of `FIELDS` is the one reported; columns
arrive in the types of `SCHEMA` and leave unchanged, two additions aside: an absent
tenant becomes `default`, and an over-long `user_agent` is cut.
Limits: identifiers and other short strings `IDENTIFIER_BYTES_MAX` bytes, `event_id`
`EVENT_ID_BYTES_MAX`. What the client alone chooses (sampling parameters, the user
agent) is never a reason to refuse: a client must not be able to hide its own requests.
"""

from typing import Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.decode.addresses import bad_addresses
from detector.decode.reasons import (
    BAD_TIME,
    BAD_VALUE,
    IDENTIFIER_TOO_LONG,
    MISSING_FIELD,
)
from detector.decode.times import TIME_MS_MAX
from detector.events import (
    ELICITATION_KINDS,
    EVENT_ID_BYTES_MAX,
    FIELDS,
    FINGERPRINTS,
    IDENTIFIER_BYTES_MAX,
    LIST_ITEMS_MAX,
    SCHEMA,
    TIME_MS_MIN,
    EventBatch,
)
from detector.hashing import string_buffers

DEFAULT_TENANT: Final = "default"
USER_AGENT_BYTES_MAX: Final = 512
TIMES: Final = ("event_time", "account_created_at")
# Chosen by the client, so any value is let through: -1 often means "no limit".
UNBOUNDED: Final = frozenset({"seed", "max_tokens", "top_k", "n", "top_logprobs", "temperature", "top_p"})
WHOLE_MAX: Final = {"topic_bucket": 4095, "prompt_style": 255, "asn": (1 << 32) - 1, "status_code": 999}
FIELD_NUMBER: Final = {f.name: number for number, f in enumerate(FIELDS)}

Bools = npt.NDArray[np.bool_]


class Faults:
    """The first fault of each row: `reason` (uint8, 0 none) and `field` (int16), both of length `rows`."""

    def __init__(self, rows: int) -> None:
        """Begin without faults."""
        self.reason = np.zeros(rows, np.uint8)
        self.field = np.zeros(rows, np.int16)
        self.any = False

    def mark(self, bad: Bools, *, reason: int, field: int) -> None:
        """Record a fault in the rows of a mask, where none is recorded yet."""
        fresh = bad & (self.reason == 0)
        if fresh.any():
            self.any = True
            self.reason[fresh] = reason
            self.field[fresh] = field

    def set(self, row: int, *, reason: int, field: int) -> None:
        """Record a fault in one row, where none is recorded yet."""
        self.any = True
        if self.reason[row] == 0:
            self.reason[row], self.field[row] = reason, field


@numba.njit(cache=True)
def _size_range(offsets):  # type: ignore[no-untyped-def]
    low = high = np.int64(offsets[1] - offsets[0]) if offsets.size > 1 else np.int64(1)
    for row in range(1, offsets.size - 1):
        size = np.int64(offsets[row + 1] - offsets[row])
        low, high = min(low, size), max(high, size)
    return low, high


def _mask(values: Bools, column: pa.Array) -> Bools:
    """Restrict a per-row condition to rows that hold a value."""
    if column.null_count:
        values &= column.is_valid().to_numpy(zero_copy_only=False)
    return values


def _check_string(column: pa.StringArray, name: str, number: int, faults: Faults) -> pa.StringArray:
    _, offsets = string_buffers(column)
    low, high = _size_range(offsets)
    size_max = EVENT_ID_BYTES_MAX if name == "event_id" else IDENTIFIER_BYTES_MAX
    if name == "user_agent":
        if high > USER_AGENT_BYTES_MAX:
            column = _cut(column, USER_AGENT_BYTES_MAX)
    elif high > size_max:
        faults.mark(_mask(np.diff(offsets) > size_max, column), reason=IDENTIFIER_TOO_LONG, field=number)
    if low == 0 and (column.null_count == 0 or (np.diff(offsets) == 0).sum() > column.null_count):
        faults.mark(_mask(np.diff(offsets) == 0, column), reason=BAD_VALUE, field=number)
    if name == "client_ip":
        bad = bad_addresses(column)
        if bad.any():
            faults.mark(_mask(bad, column), reason=BAD_VALUE, field=number)
    return column


def _cut(column: pa.StringArray, size_max: int) -> pa.StringArray:
    """Cut strings to at most `size_max` bytes of whole characters."""
    values = column.to_pylist()
    cut = [None if v is None else v.encode()[:size_max].decode(errors="ignore") for v in values]
    return pa.array(cut, pa.string())


def _check_whole(column: pa.Int64Array, name: str, number: int, faults: Faults) -> None:
    values = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column)]
    if name in TIMES:
        low, high, reason = (TIME_MS_MIN if name == "event_time" else 0), TIME_MS_MAX, BAD_TIME
    else:
        low, high, reason = 0, WHOLE_MAX.get(name, (1 << 63) - 1), BAD_VALUE
    bad = values < low
    if high < (1 << 63) - 1:
        bad |= values > high
    if bad.any():
        faults.mark(_mask(bad, column), reason=reason, field=number)


def _check_real(column: pa.DoubleArray, name: str, number: int, faults: Faults) -> None:
    values = np.frombuffer(column.buffers()[1], np.float64)[column.offset : column.offset + len(column)]
    bad = ~np.isfinite(values)
    if name not in UNBOUNDED:
        bad |= values < 0
    if bad.any():
        faults.mark(_mask(bad, column), reason=BAD_VALUE, field=number)


def _check_scores(column: pa.StructArray, number: int, faults: Faults) -> None:
    for index in range(len(ELICITATION_KINDS)):
        scores = column.field(index)
        if scores.null_count == len(scores):
            continue
        values = scores.fill_null(0.0).to_numpy(zero_copy_only=False)
        bad = ~((values >= 0) & (values <= 1))
        if bad.any():
            faults.mark(_mask(bad, column), reason=BAD_VALUE, field=number)


def _check_lists(column: pa.ListArray, number: int, faults: Faults) -> None:
    sizes = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    if sizes.size and sizes.max() > LIST_ITEMS_MAX:
        faults.mark(sizes > LIST_ITEMS_MAX, reason=BAD_VALUE, field=number)


def check(columns: dict[str, pa.Array], *, faults: Faults) -> dict[str, pa.Array]:
    """Mark the faults of all rows; returns the columns, tenant and user agent in their final form.

    `columns` hold the fields at hand in `SCHEMA`'s types; an all-null one may be left out.
    """
    rows = faults.reason.size
    if rows == 0:
        return columns
    out = dict(columns)
    for number, f in enumerate(FIELDS):
        column = columns.get(f.name)
        if column is None or column.null_count == rows:
            if f.required:
                faults.mark(np.ones(rows, np.bool_), reason=MISSING_FIELD, field=number)
            continue
        if f.required and column.null_count:
            faults.mark(column.is_null().to_numpy(zero_copy_only=False), reason=MISSING_FIELD, field=number)
        if f.type == pa.string():
            out[f.name] = _check_string(column, f.name, number, faults)
        elif f.type == pa.int64():
            if f.name not in UNBOUNDED:
                _check_whole(column, f.name, number, faults)
        elif f.type == pa.float64():
            _check_real(column, f.name, number, faults)
        elif f.type == FINGERPRINTS:
            _check_lists(column, number, faults)
        elif f.name == "elicitation":
            _check_scores(column, number, faults)
    tenant = out.get("tenant")
    if tenant is None:
        out["tenant"] = pa.array([DEFAULT_TENANT], pa.string()).take(pa.array(np.zeros(rows, np.int32)))
    elif tenant.null_count:
        out["tenant"] = tenant.fill_null(DEFAULT_TENANT)
    return out


def assemble(columns: dict[str, pa.Array], *, rows: int) -> EventBatch:
    """Put checked columns into an event batch; they have `SCHEMA`'s types already, absent ones become null."""
    arrays = [columns[f.name] if f.name in columns else pa.nulls(rows, f.type) for f in FIELDS]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
