"""Operators' topics to frames: a batch of their records as operators' frames and dead letters; a pure map.

Purpose: what puts an allow-list entry, a command, a label or the kill switch into the
judges' log, without Kafka.
Invariants: every range goes to every tenant, empty if need be, so that the log tells what
was trimmed from what is missing; holes that compaction left belong to the range. Nothing
in a record can raise: it is an entry or a dead letter.
Limits: a range has at most `ORDERS_MAX` records, so that its frame stays below a record's
size. A record that the broker did not stamp counts as appended now.
Source: the record contract's table of topics.
"""

from typing import Final, NamedTuple

from detector.encode_operators import encode_operators
from detector.frames import wire_operators
from detector.operators import RECORD_BYTES_MAX, Fault, Received, read_from_topic, removal, tenant_of
from detector.runtime.kafka.batches import Batch, Record
from detector.runtime.kafka.encoding import APPENDED, DeadLetter, Options, dead_letter
from detector.runtime.kafka.topics import FRAME_RECORD_BYTES_MAX
from detector.vocabulary import OperatorKind

# What each of the operators' topics holds.
TOPICS: Final[dict[str, tuple[OperatorKind, ...]]] = {
    "allow": ("allow",),
    "commands": ("command", "control", "indicator"),
    "labels": ("label",),
}
ORDERS_MAX: Final = FRAME_RECORD_BYTES_MAX // RECORD_BYTES_MAX // 2


class Sequenced(NamedTuple):
    """What a range became: a frame for each tenant, by tenant, and the letters."""

    frames: list[bytes]
    dead: list[DeadLetter]


def encode_orders(batch: Batch, options: Options, *, name: str, now_ms: int) -> list[Sequenced]:
    """Encode a batch of the topic `name` (without prefix); `now_ms` is the worker's clock."""
    stops = [r.offset + 1 for r in batch.records[ORDERS_MAX - 1 :: ORDERS_MAX]]
    starts = [batch.first, *stops]
    return [
        _range(batch.records[at * ORDERS_MAX : (at + 1) * ORDERS_MAX], batch, options, (first, stop), name, now_ms)
        for at, (first, stop) in enumerate(zip(starts, [*stops, batch.stop], strict=True))
        if first < stop
    ]


def _range(
    records: list[Record], batch: Batch, options: Options, places: tuple[int, int], name: str, now_ms: int
) -> Sequenced:
    received: list[tuple[int, Received]] = []
    dead: list[DeadLetter] = []
    for record in records:
        found = _read(record, TOPICS[name], now_ms)
        if isinstance(found, Received) and tenant_of(found.record) not in (None, *options.tenants):
            found = Fault("unknown_tenant", "tenant")
        if isinstance(found, Fault):
            dead.append(dead_letter(record, batch.partition, found.reason, options))
        elif found is not None:
            received.append((record.offset, found))
    frames = [
        wire_operators(
            encode_operators(
                received,
                tenant=tenant,
                source=f"{name}/{batch.partition}",
                first=places[0],
                stop=places[1],
                key=options.key,
                timed=False,
            )
        )
        for tenant in options.tenants
    ]
    return Sequenced(frames, dead)


def _read(record: Record, kinds: tuple[OperatorKind, ...], now_ms: int) -> Received | Fault | None:
    """Read one record; None for one that says nothing: a label that is taken back."""
    ingest_ms = record.timestamp if record.timestamp_type == APPENDED else now_ms
    if record.value is not None:
        return read_from_topic(record.value, kinds=kinds, ingest_ms=ingest_ms)
    if kinds == ("label",):
        return None
    entry = removal(record.key or b"") if kinds == ("allow",) else None
    return Received("allow", entry, ingest_ms) if entry is not None else Fault("not_json")
