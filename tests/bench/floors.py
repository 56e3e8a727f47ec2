"""Floors: what the same machine does with the same bytes at the least, on one core.

`typed_decode` decompresses JSON lines and decodes each into a typed struct with the fields
of `access.v1`; `columns_read` reads a Parquet file's columns into memory; `touches` adds one
to a table row for the account and for each link key of an event.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from detector.events import ELICITATION_KINDS, FIELDS, FINGERPRINTS, REQUIRED
from detector.frames import ID, IDS, LINKS_FIRST, Frame

_READ_BYTES = 1 << 20
_TABLE_ROWS = 1 << 20
_PLAIN = {pa.string(): str, pa.int64(): int, pa.float64(): float, pa.bool_(): bool}


def _type_of(name: str, kind: pa.DataType) -> Any:
    if name in ("event_time", "account_created_at"):
        return str | int  # as text: turning it into a time would make the floor slower
    if kind == FINGERPRINTS:
        return list[str]
    if pa.types.is_struct(kind):
        return msgspec.defstruct("Elicitation", [(k, float, 0.0) for k in ELICITATION_KINDS])
    return _PLAIN[kind]


def access_struct(*, text: bool = False) -> type[msgspec.Struct]:
    """The fields of `access.v1` as a struct of msgspec; with `text` its raw content too."""
    fields: list[Any] = [(f.name, _type_of(f.name, f.type)) for f in FIELDS if f.name in REQUIRED]
    fields += [(f.name, _type_of(f.name, f.type) | None, None) for f in FIELDS if f.name not in REQUIRED]
    if text:
        fields.append(
            (
                "content",
                msgspec.defstruct("Content", [(k, str | None, None) for k in ("system", "prompt", "output")]) | None,
                None,
            )
        )
    return msgspec.defstruct("Access", fields)


def typed_decode(path: Path, kind: type[msgspec.Struct]) -> int:
    """Decompress and decode a `.jsonl` or `.jsonl.zst` file, dropping the structs; returns the records."""
    decoder = msgspec.json.Decoder(kind)
    records = 0
    held = b""
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file) if path.suffix == ".zst" else file
        while piece := stream.read(_READ_BYTES):
            held += piece
            end = held.rfind(b"\n") + 1
            records += len(decoder.decode_lines(held[:end]))
            held = held[end:]
    return records + len(decoder.decode_lines(held))


def columns_read(path: Path) -> int:
    """Read all columns of a Parquet file on one core, group by group; returns the rows."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        return sum(file.read_row_group(n, use_threads=False).num_rows for n in range(file.num_row_groups))


def touches(frames: list[Frame]) -> None:
    """Count the account and the link keys of each event in a table of 2**20 rows, column by column."""
    totals: npt.NDArray[np.int64] = np.zeros(_TABLE_ROWS, np.int64)
    columns = [int(ID.ACCOUNT), *range(LINKS_FIRST, IDS)]
    for frame in frames:
        for column in columns:
            keys = frame.ids[:, column]
            np.add.at(totals, (keys[keys != 0] & np.uint64(_TABLE_ROWS - 1)).astype(np.int64), 1)
