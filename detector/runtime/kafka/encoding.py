"""Encode, live: a batch of records to frames, markers and dead letters; a pure map.

Purpose: what the encode worker computes, without Kafka.
Invariants: every offset of the batch is a row of a frame, a dead letter, or an end marker,
and belongs to one range; each range goes to every tenant, empty if need be; however
records are cut into batches, the rows are the same. Nothing in a record can raise.
Limits: a frame's wire form stays below `FRAME_RECORD_BYTES_MAX`: a range whose frames would
be larger is halved. A record's key is passed on up to `KEY_BYTES_MAX`.
Source: the contract's dead-letter headers, after KIP-1034.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.decode import decode_lines
from detector.encode import DEFAULT_TENANT, encode
from detector.fingerprint import Content
from detector.frames import NUM, wire
from detector.runtime.kafka import markers
from detector.runtime.kafka.batches import Batch, Record
from detector.runtime.kafka.topics import FRAME_RECORD_BYTES_MAX

I64 = npt.NDArray[np.int64]

APPENDED: Final = 1  # Kafka's timestamp type of a topic whose broker stamps records
CONTROL_HEADER: Final = "stillwatch.control"
END_CONTROL: Final = b"end"
ROWS_MAX: Final = 8_192
KEY_BYTES_MAX: Final = 4_096
NO_TIME: Final = -(1 << 62)


class Options(NamedTuple):
    """What encode needs to know: tenants in the order of their partitions, key, topic, bounds."""

    topic: str
    tenants: tuple[str, ...]
    key: bytes
    skew_ms_max: int
    keep_content: bool


class DeadLetter(NamedTuple):
    """A record that was refused, as it goes to the dead-letter topic; its value is empty where it is not kept.

    Never None: aiokafka refuses a record that has neither key nor value.
    """

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


def reason_of(letter: DeadLetter) -> str:
    """Why a record was refused, as its headers say."""
    return dict(letter.headers)["stillwatch.error.code"].decode()


class Range(NamedTuple):
    """What one range of a partition became; `frames` by tenant, each a list of frames and markers."""

    stop: int
    frames: list[list[bytes]]
    dead: list[DeadLetter]
    last_ms: int  # the latest event time in it, NO_TIME without rows
    seen_ms: tuple[int, ...]  # the same by tenant
    ingest_ms: int  # when its last record was appended, -1 where the broker does not say
    ended: bool


class _Refusal(NamedTuple):
    position: int
    reason: str


def source_of(partition: int) -> str:
    """The name of an access partition as a source of the judge.

    >>> source_of(3)
    'access/3'
    """
    return f"access/{partition}"


def is_end(record: Record) -> bool:
    """Whether a record is the end marker that `produce --end` writes: it has no value, so it hides no event."""
    headers = record.headers
    return bool(headers) and not record.value and (CONTROL_HEADER, END_CONTROL) in headers


def encode_batch(batch: Batch, options: Options) -> list[Range]:
    """Encode a batch: ranges of at most `ROWS_MAX` records, cut at end markers too."""
    ranges: list[Range] = []
    first, held = batch.first, 0
    for index, record in enumerate(batch.records):
        if is_end(record):
            ranges += _ranges(batch.records[held:index], batch.partition, first, record.offset + 1, options)
            ranges[-1] = _with_end(ranges[-1], batch.partition)
            first, held = record.offset + 1, index + 1
        elif index + 1 - held >= ROWS_MAX:
            ranges += _ranges(batch.records[held : index + 1], batch.partition, first, record.offset + 1, options)
            first, held = record.offset + 1, index + 1
    if first < batch.stop:
        ranges += _ranges(batch.records[held:], batch.partition, first, batch.stop, options)
    return ranges


def _with_end(made: Range, partition: int) -> Range:
    mark = markers.end(source_of(partition), position=made.stop)
    return made._replace(frames=[[*frames, mark] for frames in made.frames], ended=True)


def _ranges(records: Sequence[Record], partition: int, first: int, stop: int, options: Options) -> list[Range]:
    made = _range(records, partition, first, stop, options)
    if len(records) > 1 and max(len(raw) for frames in made.frames for raw in frames) > FRAME_RECORD_BYTES_MAX:
        half = len(records) // 2
        middle = records[half].offset
        return [
            *_ranges(records[:half], partition, first, middle, options),
            *_ranges(records[half:], partition, middle, stop, options),
        ]
    return [made]


def _carries_text(content: Content | None, rows: int) -> npt.NDArray[np.bool_]:
    out = np.zeros(rows, np.bool_)
    for column in content or ():
        out |= column.is_valid().to_numpy(zero_copy_only=False)
    return out


def _range(records: Sequence[Record], partition: int, first: int, stop: int, options: Options) -> Range:
    decoded = decode_lines([r.value or b"" for r in records])
    rows = decoded.batch
    refused = [_Refusal(r.position, r.reason) for r in decoded.rejects]
    offsets = np.fromiter((r.offset for r in records), np.int64, len(records))
    stamps = np.fromiter((r.timestamp if r.timestamp_type == APPENDED else -1 for r in records), np.int64, len(records))
    positions = decoded.positions
    ingest = stamps[positions]
    known = pc.is_in(
        rows.column("tenant").fill_null(DEFAULT_TENANT), value_set=pa.array(options.tenants, pa.string())
    ).to_numpy(zero_copy_only=False)
    times = rows.column("event_time").to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    text = _carries_text(decoded.content, len(rows))
    ahead = (ingest >= 0) & (times > ingest + options.skew_ms_max)
    keep = known & ~text & ~ahead
    if not keep.all():
        for at in np.flatnonzero(~keep).tolist():
            reason = "unknown_tenant" if not known[at] else "raw_content" if text[at] else "future_time"
            refused.append(_Refusal(int(positions[at]), reason))
        rows, positions, ingest = rows.filter(pa.array(keep)), positions[keep], ingest[keep]
    frames = encode(
        rows,
        positions=offsets[positions],
        source=source_of(partition),
        first=first,
        stop=stop,
        key=options.key,
        rejects=len(refused),
        ingest_ms=ingest,
        tenants=options.tenants,
    )
    seen = tuple(int(f.numbers[:, NUM.TIME].max(initial=NO_TIME)) for f in frames)
    # What a range of the log holds does not depend on the letters' order, but readers like theirs by offset.
    refused.sort(key=lambda r: r.position)
    dead = [dead_letter(records[r.position], partition, r.reason, options) for r in refused]
    last_ingest = int(stamps[-1]) if stamps.size else -1
    return Range(stop, [[wire(f)] for f in frames], dead, max(seen), seen, last_ingest, ended=False)


def dead_letter(record: Record, partition: int, reason: str, options: Options) -> DeadLetter:
    """Write the letter of a refused record: where it stood and why; its bytes only where they hold no text."""
    raw = record.value or b""
    # Keyed: an unkeyed digest would let anyone who may read the topic confirm a guessed prompt.
    digest = hashlib.blake2b(raw, digest_size=16, key=options.key, person=b"dead-letter").hexdigest()
    headers = [
        ("__streams.errors.topic", options.topic.encode()),
        ("__streams.errors.partition", str(partition).encode()),
        ("__streams.errors.offset", str(record.offset).encode()),
        ("stillwatch.error.code", reason.encode()),
        ("stillwatch.error.length", str(len(raw)).encode()),
        ("stillwatch.error.digest", digest.encode()),
    ]
    # Only of a record that parsed is it known that it holds no text.
    parsed = reason in ("unknown_tenant", "future_time")
    key = record.key if record.key is None or len(record.key) <= KEY_BYTES_MAX else None
    return DeadLetter(key, raw if options.keep_content and parsed else b"", headers)
