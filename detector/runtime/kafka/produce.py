"""Put a log file on the access topic: what a gateway would have sent.

Purpose: `stillwatch produce`: lines as they stand, at full speed or at a rate.
Invariants: a line is one record, keyed by its account where it names one, so that an
account's events keep their order; with `end`, every partition gets the end marker last.
Limits: JSON lines (plain, gzip, Zstandard); over-long lines are reported and left out.
Source: the contract's end marker.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from detector.decode import decode_table
from detector.formats import CANONICAL
from detector.runtime.json_text import json_lines
from detector.runtime.kafka.clients import make_producer, partitions_of
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encoding import CONTROL_HEADER, END_CONTROL
from detector.runtime.sources import open_input

BATCH_LINES: Final = 500


class Produced(NamedTuple):
    """What was sent, and what was not because it is no line."""

    records: int
    left_out: int


class _Named(msgspec.Struct):
    account_id: str | None = None


_KEYS = msgspec.json.Decoder(_Named)


def key_of(line: bytes) -> bytes | None:
    """The account that a line names; None where it names none.

    >>> key_of(b'{"account_id": "a1"}'), key_of(b"damaged")
    (b'a1', None)
    """
    try:
        named = _KEYS.decode(line).account_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return named.encode() if named else None


def lines_of(path: str) -> Iterator[tuple[list[bytes], int]]:
    """Yield the lines of an input with the number of those that the reader refused. Raises `InputError`."""
    for block in open_input(path, form=CANONICAL):
        if not isinstance(block.data, bytes):
            yield bytes(json_lines(decode_table(block.data).batch)).splitlines(), len(block.rejects)
        else:
            yield [line for line in block.data.split(b"\n") if line.strip()], len(block.rejects)


async def produce(connection: Connection, path: str, *, rate: float | None = None, end: bool = False) -> Produced:
    """Send a file's lines to the access topic; `rate` in records a second, None: as fast as it goes."""
    topic = connection.topic("access")
    partitions = await partitions_of(connection, "access")
    records = left_out = 0
    begun_s = time.monotonic()
    async with make_producer(connection) as producer:
        for lines, refused in lines_of(path):
            left_out += refused
            for at in range(0, len(lines), BATCH_LINES):
                held = lines[at : at + BATCH_LINES]
                if rate is not None:
                    held_until_s = begun_s + (records + len(held)) / rate
                    await asyncio.sleep(max(0.0, held_until_s - time.monotonic()))
                await asyncio.gather(*[await producer.send(topic, line, key=key_of(line)) for line in held])
                records += len(held)
        if end:
            await send_end(producer, topic, partitions)
    return Produced(records, left_out)


async def send_end(producer: AIOKafkaProducer, topic: str, partitions: list[int]) -> None:
    """Write the end marker to every partition."""
    marks = [await producer.send(topic, b"", partition=p, headers=[(CONTROL_HEADER, END_CONTROL)]) for p in partitions]
    await asyncio.gather(*marks)
