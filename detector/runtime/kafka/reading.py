"""Read topics, for tools: what is committed, to the end that they had, or as it comes.

Purpose: one way for commands, `doctor` and replay to read through kafka-python.
Invariants: `read_committed`; a range ends where the log ended when reading began; records of
a partition come in order. Nothing joins a group, so nothing that runs is disturbed.
Limits: a topic is read from its start: meant for topics of our own, and ranges of the access topic.
Source: kafka-python's consumer; offsets over transaction markers are its own.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from detector.runtime.kafka.clients import ReadError
from detector.runtime.kafka.connection import Connection, client_arguments

CONNECT_TIMEOUT_MS: Final = 10_000
POLL_MS: Final = 500
STALL_S: Final = 30.0
RECORDS_MAX: Final = 5_000
LOOK_BACK: Final = 16  # the last offsets may be markers of transactions

Ranges = Mapping[TopicPartition, tuple[int, int]]


def make_consumer(connection: Connection) -> Any:
    """Make a consumer of no group that sees committed records only."""
    return KafkaConsumer(
        **client_arguments(connection),
        bootstrap_timeout_ms=CONNECT_TIMEOUT_MS,
        isolation_level="read_committed",
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=8 << 20,
        max_poll_records=RECORDS_MAX,
    )


def places_of(consumer: Any, topic: str) -> list[TopicPartition]:
    """The partitions of a topic, by its whole name. Raises `ReadError` where it is missing."""
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise ReadError(f"topic {topic} is missing, or may not be described: `stillwatch topics check` says more")
    return [TopicPartition(topic, number) for number in sorted(numbers)]


def bounds_of(consumer: Any, places: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
    """Where each partition begins and ends now: offsets [first, stop)."""
    first, stop = consumer.beginning_offsets(places), consumer.end_offsets(places)
    return {place: (first[place], stop[place]) for place in places}


def read_ranges(consumer: Any, ranges: Ranges) -> Iterator[Any]:
    """Yield the committed records of [first, stop) of each partition. Raises `ReadError` when a log stands still."""
    left = {place: stop for place, (first, stop) in ranges.items() if first < stop}
    consumer.assign(sorted(left))
    for place in left:
        consumer.seek(place, ranges[place][0])
    moved_s = time.monotonic()
    while left:
        before = {place: consumer.position(place) for place in left}
        for place, records in consumer.poll(timeout_ms=POLL_MS).items():
            yield from (record for record in records if place in left and record.offset < left[place])
        after = {place: consumer.position(place) for place in left}
        if after != before:
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > STALL_S:
            place = min(left)
            raise ReadError(
                f"{place.topic}/{place.partition} stands still at {after[place]}, its end was {left[place]}"
            )
        for place in [place for place, stop in left.items() if after[place] >= stop]:
            del left[place]
            consumer.pause(place)


def read_topic(connection: Connection, topic: str) -> Iterator[Any]:
    """Yield every committed record of one of our topics, up to the end that it has now."""
    with closing(make_consumer(connection)) as consumer:
        yield from read_ranges(consumer, bounds_of(consumer, places_of(consumer, connection.topic(topic))))


def read_one(connection: Connection, topic: str, *, partition: int, offset: int) -> Any | None:
    """The record at one place of a topic (by its whole name); None where the log no longer, or not yet, has it."""
    with closing(make_consumer(connection)) as consumer:
        place = TopicPartition(topic, partition)
        if place not in places_of(consumer, topic):
            return None
        first, stop = bounds_of(consumer, [place])[place]
        if not first <= offset < stop:
            return None
        found = read_ranges(consumer, {place: (offset, offset + 1)})
        return next(found, None)


def newest(connection: Connection, topic: str) -> list[Any]:
    """The newest committed record of each partition of one of our topics, where its last offsets have one."""
    found: dict[int, Any] = {}
    with closing(make_consumer(connection)) as consumer:
        bounds = bounds_of(consumer, places_of(consumer, connection.topic(topic)))
        ranges = {place: (max(first, stop - LOOK_BACK), stop) for place, (first, stop) in bounds.items()}
        for record in read_ranges(consumer, ranges):
            found[record.partition] = record
    return list(found.values())


def follow(connection: Connection, topic: str, *, from_beginning: bool = False) -> Iterator[Any]:
    """Yield the committed records of one of our topics as they come, until the caller has enough."""
    with closing(make_consumer(connection)) as consumer:
        places = places_of(consumer, connection.topic(topic))
        bounds = bounds_of(consumer, places)
        consumer.assign(places)
        for place, (first, stop) in bounds.items():
            consumer.seek(place, first if from_beginning else stop)
        while True:
            for records in consumer.poll(timeout_ms=POLL_MS).values():
                yield from records
