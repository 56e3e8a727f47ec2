"""A topic as an input of replay: a range of it, one input for each partition, merged like files.

Purpose: `kafka://BROKERS/TOPIC?from=OFFSET|TIME&to=OFFSET|TIME`, for every verb that reads logs.
Invariants: where the range ends is fixed before anything is read; `from` is in it, `to` is
not. What comes out is what a file of the same records would give; rejects carry offsets,
their source names the partition. End markers are no records; a tombstone is an empty one.
Limits: a time means the time at which the broker got a record (a topic with LogAppendTime) or
else the producer's; an offset means the same number in every partition. What retention took
is not there.
Source: the contract's synopsis.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec
import numpy as np
from kafka import TopicPartition
from kafka.errors import KafkaError

from detector.records import SchemaError, parse_time
from detector.runtime.kafka.clients import ReadError
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encoding import is_end
from detector.runtime.kafka.reading import bounds_of, make_consumer, places_of, read_ranges
from detector.runtime.sources import TOPIC_SCHEME, Block, InputError, Opener, Records

BLOCK_BYTES: Final = 4 << 20
BLOCK_RECORDS: Final = 20_000
FORM: Final = f"{TOPIC_SCHEME}BROKERS/TOPIC?from=OFFSET|TIME&to=OFFSET|TIME"
_ADDRESS: Final = re.compile(r"([^/?@]*)/([\w.-]+)(?:\?(.*))?", re.ASCII)


class Edge(NamedTuple):
    """One end of a range: an offset, or a time in epoch milliseconds."""

    offset: int | None = None
    time_ms: int | None = None


class Address(NamedTuple):
    """A topic input as it was named; `brokers` is empty where the configuration's are meant."""

    brokers: str
    topic: str
    partition: int | None
    first: Edge | None
    stop: Edge | None


def _edge(name: str, text: str) -> Edge:
    if re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return Edge(offset=int(text))
    try:
        return Edge(time_ms=parse_time(text))
    except SchemaError as wrong:
        raise InputError(f"input {FORM}: {name} is neither an offset nor a time: {wrong}") from wrong


def parse(name: str) -> Address:
    """Read the address of a topic input. Raises `InputError`; what may be a password is not repeated.

    >>> parse("kafka://b:9092/stillwatch.access?from=7").first
    Edge(offset=7, time_ms=None)
    """
    found = _ADDRESS.fullmatch(name.removeprefix(TOPIC_SCHEME))
    if found is None:
        raise InputError(f"a topic input does not read; expected {FORM}, without names or passwords in it")
    said: dict[str, str] = {}
    for part in filter(None, (found[3] or "").split("&")):
        field, _, value = part.partition("=")
        if field not in ("from", "to", "partition") or field in said:
            raise InputError(f"input {FORM}: unknown or repeated part {field[:40]!r}")
        said[field] = unquote(value)
    partition = said.get("partition")
    if partition is not None and not re.fullmatch(r"\d{1,9}", partition, re.ASCII):
        raise InputError(f"input {FORM}: partition={partition[:40]!r} is no number")
    return Address(
        brokers=found[1],
        topic=found[2],
        partition=int(partition) if partition is not None else None,
        first=_edge("from", said["from"]) if "from" in said else None,
        stop=_edge("to", said["to"]) if "to" in said else None,
    )


def at_brokers(address: Address, connection: Connection) -> Connection:
    """The configured connection, at the brokers that the address names."""
    return msgspec.structs.replace(connection, bootstrap=address.brokers) if address.brokers else connection


class TopicInputs:
    """Topic inputs whose ranges are fixed: names, one for each partition, and how to open them."""

    def __init__(self, files: Opener) -> None:
        """Nothing yet; `files` opens what is no topic."""
        self._files = files
        self._ranges: dict[str, tuple[Connection, TopicPartition, int, int]] = {}

    def add(self, address: Address, connection: Connection) -> list[str]:
        """Fix the ranges of an address; returns its inputs' names. Raises `InputError`, `ReadError`."""
        place = at_brokers(address, connection)
        with closing(make_consumer(place)) as consumer:
            places = places_of(consumer, address.topic)
            if address.partition is not None:
                places = [p for p in places if p.partition == address.partition]
            if not places:
                raise InputError(f"topic {address.topic} has no partition {address.partition}")
            ranges = _resolved(consumer, places, address)
        names = []
        for tp, (first, stop) in ranges.items():
            name = f"{TOPIC_SCHEME}{place.bootstrap}/{tp.topic}?partition={tp.partition}&from={first}&to={stop}"
            self._ranges[name] = (place, tp, first, stop)
            names.append(name)
        return names

    def open(self, name: str) -> Iterator[Block]:
        """Open an input: a fixed range, or a file. While it is read, a log that fails raises `ConnectionError`."""
        return self._guarded(name) if name in self._ranges else self._files(name)

    def _guarded(self, name: str) -> Iterator[Block]:
        try:
            yield from self._blocks(name)
        except (KafkaError, ReadError) as wrong:
            said = f"reading stopped: {type(wrong).__name__}: {wrong}"
            raise ConnectionError(errno.EIO, said, name) from wrong

    def _blocks(self, name: str) -> Iterator[Block]:
        connection, place, first, stop = self._ranges[name]
        with closing(make_consumer(connection)) as consumer:
            values: list[bytes] = []
            offsets: list[int] = []
            size, begun = 0, first
            for record in read_ranges(consumer, {place: (first, stop)}):
                if is_end(record):
                    continue
                values.append(record.value or b"")
                offsets.append(record.offset)
                size += len(values[-1])
                if size >= BLOCK_BYTES or len(values) >= BLOCK_RECORDS:
                    done = record.offset + 1
                    yield _block(name, begun, values, offsets, (done - first) / (stop - first))
                    values, offsets, size, begun = [], [], 0, done
            if values:
                yield _block(name, begun, values, offsets, 1.0)


def _block(name: str, first: int, values: list[bytes], offsets: list[int], share: float) -> Block:
    return Block(name, first, Records(values, np.array(offsets, np.int64)), share)


def _resolved(consumer: Any, places: list[TopicPartition], address: Address) -> dict[TopicPartition, tuple[int, int]]:
    """Offsets [first, stop) of each partition, within what the log has now."""
    bounds = bounds_of(consumer, places)
    firsts = _offsets(consumer, bounds, address.first, default={p: first for p, (first, _) in bounds.items()})
    stops = _offsets(consumer, bounds, address.stop, default={p: stop for p, (_, stop) in bounds.items()})
    return {place: (firsts[place], max(firsts[place], stops[place])) for place in places}


def _offsets(
    consumer: Any,
    bounds: dict[TopicPartition, tuple[int, int]],
    edge: Edge | None,
    *,
    default: dict[TopicPartition, int],
) -> dict[TopicPartition, int]:
    if edge is None:
        return default
    if edge.time_ms is not None:
        found = consumer.offsets_for_times(dict.fromkeys(bounds, edge.time_ms))
        if not isinstance(found, dict):
            raise ReadError("the brokers do not tell offsets by time")
        said = {p: (found[p].offset if found.get(p) is not None else bounds[p][1]) for p in bounds}
    else:
        assert edge.offset is not None
        said = dict.fromkeys(bounds, edge.offset)
    return {place: min(max(said[place], first), stop) for place, (first, stop) in bounds.items()}
