"""Small things that every worker does with aiokafka: producers, and reading a stretch of a log.

Purpose: one way to make each client, from one configuration.
Invariants: reading back is `read_committed`, ends at the end that the log had when it began,
and returns records in order.
Limits: `read_back` is for topics of our own with few partitions.
Source: aiokafka's documentation of transactions.
"""

from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from detector.records import DetectorError
from detector.runtime.kafka.connection import Connection, client_arguments
from detector.runtime.kafka.topics import FRAME_RECORD_BYTES_MAX

READ_STALL_MS = 30_000
LOOK_BACK = 256
# A judge that dies inside a transaction hides what comes behind it, the kill switch too, until the brokers abort it:
# at this age, looked for every ten seconds. Transactions take milliseconds, with chunks of a snapshot a second.
TRANSACTION_TIMEOUT_MS = 15_000


class ReadError(DetectorError):
    """A topic does not hold what its own records say, or does not answer."""


def make_producer(connection: Connection, *, transactional_id: str | None = None) -> AIOKafkaProducer:
    """Make a producer that keeps order and writes nothing twice; `transactional_id` fences an earlier one."""
    return AIOKafkaProducer(
        **client_arguments(connection),
        enable_idempotence=True,
        acks="all",
        max_request_size=FRAME_RECORD_BYTES_MAX + (1 << 20),
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
    )


def make_reader(connection: Connection) -> AIOKafkaConsumer:
    """Make a consumer of no group that sees committed records only."""
    return AIOKafkaConsumer(
        **client_arguments(connection),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=8 << 20,
    )


async def read_stretch(reader: AIOKafkaConsumer, place: TopicPartition, *, first: int, stop: int) -> AsyncIterator[Any]:
    """Yield the committed records of `[first, stop)`. Raises `ReadError` when the log does not go on."""
    reader.assign([place])
    reader.seek(place, first)
    while await reader.position(place) < stop:
        before = await reader.position(place)
        fetched = await reader.getmany(place, timeout_ms=READ_STALL_MS)
        for record in fetched.get(place, []):
            if record.offset < stop:
                yield record
        if await reader.position(place) == before:
            raise ReadError(f"{place.topic}/{place.partition} stands still at {before}, its end was {stop}")


async def last_record(connection: Connection, topic: str, partition: int) -> Any | None:
    """Find the newest committed record of a partition; None where there is none."""
    place = TopicPartition(connection.topic(topic), partition)
    async with make_reader(connection) as reader:
        reader.assign([place])
        begin = (await reader.beginning_offsets([place]))[place]
        stop = (await reader.end_offsets([place]))[place]
        first, found = stop, None
        while found is None and first > begin:
            first, stop = max(begin, first - LOOK_BACK), first
            async for record in read_stretch(reader, place, first=first, stop=stop):
                found = record
        return found


async def partitions_of(connection: Connection, topic: str) -> list[int]:
    """List the partitions of a topic. Raises `ReadError` where it is missing."""
    admin = AIOKafkaAdminClient(**client_arguments(connection))
    await admin.start()
    try:
        (described,) = await admin.describe_topics([connection.topic(topic)])
    finally:
        await admin.close()
    if described["error_code"] or not described["partitions"]:
        raise ReadError(f"topic {connection.topic(topic)} is missing: run `stillwatch topics create`")
    return sorted(p["partition"] for p in described["partitions"])
