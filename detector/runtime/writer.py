"""Event batches to files: `access.v1` as JSON lines (plain, gzip, Zstandard) or Parquet.

Purpose: what the generator makes and `fingerprint` leaves behind, at the speed of columns.
Invariants: what is read back equals what was written, column by column; equal batches
give equal bytes, however they are cut into calls of `write` (Parquet row groups and
compressed blocks have sizes of their own); a file appears under its name only when it is
complete, or not at all.
Limits: rows wait in memory until a block or a row group is full (`GROUP_ROWS`).
Source: RFC 8259; times are RFC 3339 UTC with three decimals, absent fields are left out.
"""

import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from detector.decode.checks import TIMES
from detector.events import SCHEMA, EventBatch
from detector.records import DetectorError
from detector.runtime.json_text import json_lines

GROUP_ROWS: Final = 1 << 17
SLICE_ROWS: Final = 8192  # text is made this many rows at a time, so that it stays in the cache
GZIP_LEVEL: Final = 3  # level 6 takes three times as long for a tenth less
ZSTD_LEVEL: Final = 3
STANDARD_OUTPUT: Final = "-"
OUTPUT_ENDINGS: Final = (".jsonl", ".gz", ".zst", ".parquet")
_GZIP_FORM: Final = 31
_TIME = pa.timestamp("ms", tz="UTC")
PARQUET_SCHEMA: Final = pa.schema([(f.name, _TIME if f.name in TIMES else f.type) for f in SCHEMA])


class OutputError(DetectorError):
    """An output cannot be written where it was asked for: exit code 2."""


class _Text:
    """JSON lines into a file, through a compressor or not."""

    def __init__(
        self, file: BinaryIO, *, compress: Callable[[bytes | memoryview], bytes], finish: Callable[[], bytes]
    ) -> None:
        """Begin a file."""
        self._file = file
        self._compress = compress
        self._finish = finish

    def write(self, batch: EventBatch) -> None:
        for start in range(0, batch.num_rows, SLICE_ROWS):
            self._file.write(self._compress(json_lines(batch.slice(start, SLICE_ROWS))))

    def finish(self) -> None:
        self._file.write(self._finish())


class _Table:
    """Row groups of a Parquet file."""

    def __init__(self, file: BinaryIO) -> None:
        """Begin a file."""
        self._writer = pq.ParquetWriter(file, PARQUET_SCHEMA, compression="zstd")
        self._waiting: list[EventBatch] = []
        self._rows = 0

    def write(self, batch: EventBatch) -> None:
        while self._rows + batch.num_rows >= GROUP_ROWS:
            room = GROUP_ROWS - self._rows
            self._waiting.append(batch.slice(0, room))
            batch = batch.slice(room)
            self._flush()
        self._waiting.append(batch)
        self._rows += batch.num_rows

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, SCHEMA).combine_chunks()
        self._writer.write_table(table.cast(PARQUET_SCHEMA), row_group_size=GROUP_ROWS)
        self._waiting, self._rows = [], 0

    def finish(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()


def _sink(file: BinaryIO, ending: str) -> _Text | _Table:
    if ending == ".parquet":
        return _Table(file)
    if ending == ".gz":
        gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORM)  # writes no time and no name
        return _Text(file, compress=gzip.compress, finish=gzip.flush)
    if ending == ".zst":
        zstd = zstandard.ZstdCompressor(ZSTD_LEVEL, write_checksum=True).compressobj()
        return _Text(file, compress=zstd.compress, finish=zstd.flush)
    return _Text(file, compress=bytes, finish=bytes)


class EventWriter:
    """Writes event batches to `path`: .jsonl, .gz, .zst, .parquet, or `-` for JSON lines on standard output.

    Use it in a `with`: an exception inside (Ctrl-C too) removes what was begun. Raises
    `OutputError` for another ending or a place that cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        """Begin the file under a temporary name."""
        self.path = str(path)
        self.rows = 0
        ending = next((e for e in OUTPUT_ENDINGS if self.path.endswith(e)), "")
        self._standard = self.path == STANDARD_OUTPUT
        if not ending and not self._standard:
            raise OutputError(f"output {self.path} has an ending that says no format; use one of {OUTPUT_ENDINGS} or -")
        # The name carries no number: a second run into the same file is a mistake that should show.
        self._part = Path(f"{self.path}.part")
        try:
            self._file: BinaryIO = sys.stdout.buffer if self._standard else self._part.open("wb")
        except OSError as wrong:
            raise OutputError(f"output {self._part}: {wrong.strerror or wrong}; check the directory") from wrong
        self._sink = _sink(self._file, ending)

    def write(self, batch: EventBatch) -> None:
        """Append the rows of a batch."""
        self._sink.write(batch)
        self.rows += batch.num_rows

    def close(self) -> None:
        """Complete the file and give it its name."""
        self._sink.finish()
        self._file.flush()
        if not self._standard:
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self.path)

    def abort(self) -> None:
        """Remove what was written so far; an older file of the same name stays."""
        if not self._standard:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, or abort where an exception passes through."""
        if kind is None:
            self.close()
        else:
            self.abort()
