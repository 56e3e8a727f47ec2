"""Dead letters: what was refused, why, and another try for it.

Purpose: list letters by reason and source, show one, put records back on the access topic.
Invariants: content is never shown: headers, length and digest only. A record that is tried
again has the bytes and the key that it had: out of the letter where the operator let
letters keep them, else out of the access topic at the letter's place, while that has it.
Limits: a letter stays when it was retried; a record that is retried twice comes twice,
and is a duplicate by its `event_id`. Letters of operators' topics are not retried;
those of sinks are by `runtime.sinks.parked`.
Source: the contract's headers, after KIP-1034.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple

from kafka import KafkaProducer, TopicPartition

from detector.runtime.kafka.connection import Connection, client_arguments
from detector.runtime.kafka.orders_out import CONNECT_TIMEOUT_MS, SEND_TIMEOUT_S
from detector.runtime.kafka.reading import bounds_of, make_consumer, places_of, read_ranges, read_topic

RETRY_HEADER: Final = "stillwatch.retry"


class Letter(NamedTuple):
    """One dead letter; `topic`, `source_partition` and `source_offset` are where the refused record stood."""

    partition: int
    offset: int
    appended_ms: int
    topic: str
    source_partition: int
    source_offset: int
    reason: str
    length: int
    digest: str
    key: bytes | None
    value: bytes
    sink: str = ""  # which refused it, of an alert; and what its receiver answered
    answer: str = ""


class Group(NamedTuple):
    """Letters of one reason and source partition: how many, and the places of the first and the last."""

    reason: str
    topic: str
    partition: int
    letters: int
    first: Letter
    last: Letter


class Retried(NamedTuple):
    """What became of letters that were to be tried again."""

    sent: list[Letter]
    gone: list[Letter]  # neither the letter nor the access topic has the bytes
    foreign: list[Letter]  # not of the access topic


def letter_of(record: Any) -> Letter | None:
    """Read a record of the dead-letter topic; None for one without our headers."""
    said = {name: value.decode(errors="replace") for name, value in record.headers}
    try:
        return Letter(
            partition=record.partition,
            offset=record.offset,
            appended_ms=record.timestamp,
            topic=said["__streams.errors.topic"],
            source_partition=int(said["__streams.errors.partition"]),
            source_offset=int(said["__streams.errors.offset"]),
            reason=said["stillwatch.error.code"],
            length=int(said["stillwatch.error.length"]),
            digest=said["stillwatch.error.digest"],
            key=record.key,
            value=record.value or b"",
            sink=said.get("stillwatch.error.sink", ""),
            answer=said.get("stillwatch.error.answer", ""),
        )
    except (KeyError, ValueError):
        return None


def letters(connection: Connection) -> list[Letter]:
    """Every letter that the topic still has."""
    read = (letter_of(record) for record in read_topic(connection, "dead-letter"))
    return [letter for letter in read if letter is not None]


def grouped(found: Iterable[Letter]) -> list[Group]:
    """Count letters by reason and source, most first."""
    counts: Counter[tuple[str, str, int]] = Counter()
    edges: dict[tuple[str, str, int], tuple[Letter, Letter]] = {}
    for letter in found:
        name = (letter.reason, letter.topic, letter.source_partition)
        counts[name] += 1
        edges[name] = (edges.get(name, (letter, letter))[0], letter)
    return [Group(*name, count, *edges[name]) for name, count in sorted(counts.items(), key=lambda x: (-x[1], x[0]))]


def _originals(connection: Connection, wanted: Sequence[Letter]) -> dict[tuple[int, int], tuple[bytes | None, bytes]]:
    """Key and value of the refused records, by (partition, offset), as far as the access topic has them."""
    found: dict[tuple[int, int], tuple[bytes | None, bytes]] = {}
    if not wanted:
        return found
    with closing(make_consumer(connection)) as consumer:
        places = places_of(consumer, connection.topic("access"))
        bounds = bounds_of(consumer, places)
        for letter in wanted:
            place = TopicPartition(connection.topic("access"), letter.source_partition)
            first, stop = bounds.get(place, (0, 0))
            if first <= letter.source_offset < stop:
                for record in read_ranges(consumer, {place: (letter.source_offset, letter.source_offset + 1)}):
                    found[place.partition, record.offset] = (record.key, record.value or b"")
    return found


def retry(connection: Connection, chosen: Sequence[Letter]) -> Retried:
    """Put the records of letters on the access topic again, each with a header that names the letter."""
    access = connection.topic("access")
    ours = [letter for letter in chosen if letter.topic == access]
    empty = [letter for letter in ours if len(letter.value) != letter.length or not letter.length]
    originals = _originals(connection, empty)
    sent, gone, futures = [], [], []
    producer = KafkaProducer(
        **client_arguments(connection), bootstrap_timeout_ms=CONNECT_TIMEOUT_MS, acks="all", max_request_size=4 << 20
    )
    with closing(producer):
        for letter in ours:
            key, value = letter.key, letter.value
            if letter in empty:
                key, value = originals.get((letter.source_partition, letter.source_offset), (None, b""))
            if len(value) != letter.length or not letter.length:
                gone.append(letter)
                continue
            mark = (RETRY_HEADER, b"%d:%d" % (letter.partition, letter.offset))
            futures.append(producer.send(access, key=key, value=value, headers=[mark]))
            sent.append(letter)
        for future in futures:
            future.get(timeout=SEND_TIMEOUT_S)
    return Retried(sent, gone, [letter for letter in chosen if letter.topic != access])
