"""Row groups of a Parquet file, read within bounds.

Purpose: batches of rows whose pages were measured before anything was decompressed.
Invariants: only columns that `access.v1` knows are read; a damaged row group costs its
remaining rows and is reported, the groups behind it are still read.
Limits: a page declares at most `PAGE_BYTES_MAX` (writers make 1 MiB, some 100 MB); a
batch has at most `BATCH_ROWS_MAX` rows and about `BATCH_BYTES` by the group's own
average. A dictionary page is bounded like any other, its expansion by the rows of a batch.
Source: the Parquet format (PageHeader in parquet.thrift) and Thrift's compact protocol.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from detector.decode.lines import NAMES

PARQUET_MAGIC: Final = b"PAR1"
PAGE_BYTES_MAX: Final = 1 << 28
BATCH_ROWS_MAX: Final = 16_384
BATCH_ROWS_MIN: Final = 256
BATCH_BYTES: Final = 1 << 24
CODED_BYTES_MAX: Final = 6  # a row; a code takes up to 2.5, short dictionaries the rest
_HEADER_BYTES: Final = (512, 1 << 20)  # usual and largest size of a page header, statistics included
_FOOTER_BYTES_MAX: Final = 1 << 28
_DEPTH_MAX: Final = 16


class Rows(NamedTuple):
    """A batch of rows, the first one's number in the file, and what could not be read behind it.

    `reason` is empty, or why the rest of the row group is missing; `byte` is where the group begins.
    """

    first: int
    batch: pa.RecordBatch
    share: float
    reason: str = ""
    byte: int = 0


class _MalformedError(Exception):
    """The bytes are no Thrift structure, or it ends behind them."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _MalformedError
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def _skip(data: bytes, at: int, kind: int, depth: int) -> int:
    """Step over a value of a Thrift compact type."""
    if depth > _DEPTH_MAX:
        raise _MalformedError
    if kind in (1, 2):  # booleans live in the field's header
        return at
    if kind == 3:
        return at + 1
    if kind in (4, 5, 6):
        return _varint(data, at)[1]
    if kind == 7:
        return at + 8
    if kind == 8:
        size, at = _varint(data, at)
        return at + size
    if kind in (9, 10):
        if at >= len(data):
            raise _MalformedError
        size, item = data[at] >> 4, data[at] & 15
        at += 1
        if size == 15:
            size, at = _varint(data, at)
        for _ in range(min(size, len(data))):
            at = _skip(data, at, item, depth + 1) + (1 if item in (1, 2) else 0)
        return at
    if kind == 12:
        return _structure(data, at, depth + 1)[1]
    raise _MalformedError


def _structure(data: bytes, at: int, depth: int) -> tuple[dict[int, int], int]:
    """Read a Thrift structure: its integer fields by number, and the position behind it."""
    fields: dict[int, int] = {}
    number = 0
    while True:
        if at >= len(data):
            raise _MalformedError
        head = data[at]
        at += 1
        if head == 0:
            return fields, at
        kind, step = head & 15, head >> 4
        if step:
            number += step
        else:
            value, at = _varint(data, at)
            number = (value >> 1) ^ -(value & 1)
        if kind in (4, 5, 6):
            value, at = _varint(data, at)
            fields[number] = (value >> 1) ^ -(value & 1)
        else:
            at = _skip(data, at, kind, depth)


def page_sizes(file: BinaryIO, *, start: int, stop: int) -> Iterator[int]:
    """Declared uncompressed bytes of each page of a column chunk. Raises `ValueError` where it is malformed."""
    while start < stop:
        for size in _HEADER_BYTES:
            file.seek(start)
            data = file.read(size)
            try:
                fields, end = _structure(data, 0, 0)
                break
            except _MalformedError:
                if size == _HEADER_BYTES[-1] or len(data) < size:
                    raise ValueError(f"no page header at byte {start}") from None
        if fields.get(2, -1) < 0 or fields.get(3, -1) < 0:
            raise ValueError(f"page header without sizes at byte {start}")
        yield fields[2]
        start += end + fields[3]


def _group_start(group: pq.RowGroupMetaData) -> int:
    starts = [_chunk_start(group.column(number)) for number in range(group.num_columns)]
    return min(starts, default=0)


def _chunk_start(chunk: pq.ColumnChunkMetaData) -> int:
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        return min(int(chunk.dictionary_page_offset), int(chunk.data_page_offset))
    return int(chunk.data_page_offset)


def _refusal(file: BinaryIO, group: pq.RowGroupMetaData) -> str:
    """Why a row group must not be read: too_large, truncated_input, or nothing."""
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.path_in_schema.split(".")[0] not in NAMES:
            continue
        start = _chunk_start(chunk)
        try:
            sizes = page_sizes(file, start=start, stop=start + chunk.total_compressed_size)
            if any(size > PAGE_BYTES_MAX for size in sizes):
                return "too_large"
        except ValueError:
            return "truncated_input"
    return ""


def _reader(file: BinaryIO, coded: tuple[str, ...]) -> pq.ParquetFile:
    return pq.ParquetFile(
        file,
        read_dictionary=list(coded),
        pre_buffer=False,
        buffer_size=1 << 20,
        thrift_string_size_limit=_FOOTER_BYTES_MAX,
        thrift_container_size_limit=1 << 24,
        page_checksum_verification=True,
    )


def _coded(reader: pq.ParquetFile) -> tuple[str, ...]:
    """Text columns that are stored as numbers of a dictionary; spelling out forty of them took most of the reading."""
    if reader.metadata.num_row_groups == 0:
        return ()
    group = reader.metadata.row_group(0)
    sizes = {group.column(i).path_in_schema: group.column(i).total_uncompressed_size for i in range(group.num_columns)}
    return tuple(
        field.name
        for field in reader.schema_arrow
        if pa.types.is_string(field.type) and sizes.get(field.name, 0) < CODED_BYTES_MAX * group.num_rows
    )


def parquet_rows(file: BinaryIO) -> Iterator[Rows]:
    """All rows of a Parquet file in order; a file without a readable footer yields one empty, broken batch."""
    nothing = pa.RecordBatch.from_pylist([])
    file.seek(0, 2)
    size = file.tell()
    try:
        file.seek(0)
        reader = _reader(file, ())
        reader = _reader(file, _coded(reader))
        meta, schema = reader.metadata, reader.schema_arrow
    except (pa.ArrowException, OSError, ValueError):
        yield Rows(0, nothing, 1.0, "truncated_input", size)
        return
    columns = [name for name in schema.names if name in NAMES]
    first, total = 0, max(meta.num_rows, 1)
    for number in range(meta.num_row_groups):
        group = meta.row_group(number)
        done = first
        reason = _refusal(file, group)
        if not reason:
            average = max(group.total_byte_size // max(group.num_rows, 1), 1)
            rows = min(max(BATCH_BYTES // average, BATCH_ROWS_MIN), BATCH_ROWS_MAX)
            try:
                for batch in reader.iter_batches(rows, row_groups=[number], columns=columns, use_threads=False):
                    done += batch.num_rows
                    yield Rows(done - batch.num_rows, batch, done / total)
            except (pa.ArrowException, OSError, ValueError):
                reason = "truncated_input"
        first += group.num_rows
        if reason:
            yield Rows(done, nothing, first / total, reason, _group_start(group))
