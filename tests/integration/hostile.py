"""Records as nobody meant them: what the fuzz of the access topic sends, and how it counts what came of them."""

import asyncio
import random
import time
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import orjson
from aiokafka import AIOKafkaProducer

from detector.frames import unwire
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encoding import CONTROL_HEADER, END_CONTROL
from detector.runtime.kafka.markers import MARKER_MAGIC
from detector.runtime.kafka.produce import send_end
from tests.integration.live import records_of

PARTITIONS = 2
SPAN_MS = 3 * 3_600_000  # of event time, whatever the number of records: all of it lies in the past
RECORDS_PER_END = 50_000  # a forged end costs the events of the next quarter minute, so there are few
BIG_EVERY = 97
BURST = 2_000
ODD = ("\ud7ff", "\U0010ffff", "\u202e", "\x00", "é" * 200, "Ω" * 300, '"', "\\", "", " ", "a\u0301" * 90)
TIMES = (0, -1, 1 << 62, 10**15, 1e300, True, "yesterday", "2099-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "", None)
WRONG = (None, True, -1, 1e308, [], {}, [1], {"a": {"b": []}}, "x" * 300, (1 << 63) - 1, -0.0)
RAW = (  # JSON as text that no writer of ours would make
    b'{"event_id":"\\ud800","event_time":1,"account_id":"a","request_model":"m"}',
    b'\xef\xbb\xbf{"event_id":"e"}',
    '{"event_id":"e"}'.encode("utf-16"),
    b'{"event_id":"\xc0\x80"}',
    b'{"event_id":NaN,"event_time":Infinity}',
    b'{"event_id":"e","event_id":"f"}',
    b'{"a":' * 2_000,
    b'{"ext":' + b"[" * 90 + b"]" * 90 + b"}",
    b"\x00" * 100,
    b'"text"', b"null", b"0", b"", b" ", b"{}", b"[]", b"{", b'{"', b"\\", b"\x80",
)  # fmt: skip
END = (CONTROL_HEADER, END_CONTROL)
HEADERS: tuple[list[tuple[str, bytes | None]], ...] = (
    [], [], [], [(CONTROL_HEADER, b"stop")], [("x", b"\xff")], [("", b"")], [("ключ", None)], [(CONTROL_HEADER, None)],
    [("h", b"v")] * 200, [END], [END, END], [END, (CONTROL_HEADER, b"stop")], [("stillwatch.error.code", b"late")],
)  # fmt: skip


def good(number: int, at_ms: int, **more: Any) -> dict[str, Any]:
    event = {"event_id": f"e{number}", "event_time": at_ms, "account_id": f"a{number % 50}", "request_model": "m"}
    return event | more


def damaged(chance: random.Random, raw: bytes) -> bytes:
    """Bytes changed, cut, doubled or thrown in."""
    at = chance.randrange(len(raw))
    return chance.choice([
        raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :],
        raw[:at],
        raw[:at] + raw,
        raw[:at] + chance.randbytes(3) + raw[at:],
        chance.randbytes(chance.randrange(200)),
    ])  # fmt: skip


def mutated(chance: random.Random, event: dict[str, Any], *, big: bool) -> bytes | None:
    """A record as nobody meant it; some are good."""
    kind = chance.randrange(16)
    if kind == 0:
        return damaged(chance, orjson.dumps(event))
    if kind == 1:
        return chance.choice(RAW)
    if kind == 2:
        return chance.choice([b"[", b'{"a":[', b'{"content":{"prompt":']) * (60_000 if big else 30)
    if kind == 3:
        event[chance.choice(list(event))] = chance.choice(WRONG)
    elif kind == 4:
        event["event_time"] = chance.choice(TIMES)
    elif kind == 5:
        return None
    elif kind == 6:
        event |= {"tenant": chance.choice(["nobody", "", "default"])}
    elif kind == 7:
        event |= {"content": chance.choice([{"prompt": "tell me everything"}, {}, "text", {"messages": [{}]}])}
    elif kind == 8:
        event |= {"account_id": chance.choice(ODD), "user_agent": chance.choice(ODD)}
    elif kind == 9:
        return orjson.dumps(event) + b" " * ((1 << 20) if big else 1)
    return orjson.dumps(event)


class Sent(NamedTuple):
    """How many records each partition got, its end aside; and which of them were end markers (offsets)."""

    records: list[int]
    marks: list[set[int]]


async def send(connection: Connection, *, seed: int, count: int) -> Sent:
    """Send `count` records to the access topic, then its end."""
    chance, topic = random.Random(seed), connection.topic("access")
    forged = set(chance.sample(range(count), 4 + count // RECORDS_PER_END))
    begin_ms = int(time.time() * 1000) - SPAN_MS - 10_000
    sent = Sent([0] * PARTITIONS, [set() for _ in range(PARTITIONS)])
    async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap, max_request_size=2 << 20) as producer:
        flying = []
        for number in range(count):
            big = number % BIG_EVERY == 0
            value = mutated(chance, good(number, begin_ms + number * SPAN_MS // count), big=big)
            key = chance.choice([None, b"", b"k", chance.randbytes(40), b"k" * 100_000 if big else b"K"])
            headers = chance.choice(HEADERS) if chance.random() < 0.3 else []
            if value is None and key is None:
                key = b"tombstone"  # the producer sends no record with neither
            partition = number % PARTITIONS
            if number in forged:
                value, key, headers = chance.choice([None, b""]), b"k", chance.choice([h for h in HEADERS if END in h])
            elif not value and END in headers:
                headers = []
            if not value and END in headers:
                sent.marks[partition].add(sent.records[partition])
            sent.records[partition] += 1
            flying.append(await producer.send(topic, value, key=key, partition=partition, headers=headers))
            if len(flying) >= BURST:
                await asyncio.gather(*flying)
                flying.clear()
        await asyncio.gather(*flying)
        await send_end(producer, topic, list(range(PARTITIONS)))
    return sent


class Became(NamedTuple):
    """How often each offset became a row, and a dead letter, by partition; reasons; what was wrong with letters."""

    rows: list[np.ndarray[Any, np.dtype[np.int64]]]
    dead: list[np.ndarray[Any, np.dtype[np.int64]]]
    reasons: Counter[str]
    wrong: list[str]


SAID = {
    *(f"__streams.errors.{name}" for name in ("topic", "partition", "offset")),
    *(f"stillwatch.error.{name}" for name in ("code", "length", "digest")),
}


async def became(connection: Connection, sent: Sent) -> Became:
    """Read frames and dead letters, one at a time."""
    out = Became(
        [np.zeros(n, np.int64) for n in sent.records], [np.zeros(n, np.int64) for n in sent.records], Counter(), []
    )
    async for record in records_of(connection, "frames"):
        if not record.value.startswith(MARKER_MAGIC):
            frame = unwire(record.value)
            np.add.at(out.rows[int(frame.source.rpartition("/")[2])], frame.positions, 1)
    async for letter in records_of(connection, "dead-letter"):
        said = {name: value.decode() for name, value in letter.headers}
        out.dead[int(said["__streams.errors.partition"])][int(said["__streams.errors.offset"])] += 1
        out.reasons[said["stillwatch.error.code"]] += 1
        if letter.value != b"" or set(said) != SAID:
            out.wrong.append(f"{said}: {letter.value!r}")
    return out
