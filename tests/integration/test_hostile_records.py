"""Whatever arrives on the access topic is an event or a dead letter, and the worker goes on."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from detector.frames import unwire
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.markers import MARKER_MAGIC
from detector.runtime.kafka.produce import send_end
from tests.integration.live import all_ended, committed, read_topic, wait_until, worker

RECORDS = 4_000
ODD = ("\ud7ff", "\U0010ffff", "\u202e", "\x00", "é" * 200, "Ω" * 300, '"', "\\")


def good(number: int, **more: Any) -> dict[str, Any]:
    at = int(time.time() * 1000) - 60_000 + number
    return {"event_id": f"e{number}", "event_time": at, "account_id": f"a{number % 50}", "request_model": "m"} | more


def mutate(chance: random.Random, number: int) -> bytes | None:
    """A record as nobody meant it."""
    event = good(number)
    raw = orjson.dumps(event)
    kind = chance.randrange(12)
    if kind == 0:
        at = chance.randrange(len(raw))
        return raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
    if kind == 1:
        return raw[: chance.randrange(len(raw))]
    if kind == 2:
        return chance.randbytes(chance.randrange(200))
    if kind == 3:
        return b"[" * chance.choice([10, 1_000, 100_000])
    if kind == 4:
        event[chance.choice(list(event))] = chance.choice([None, True, -1, 1e308, [], {}, [1], "x" * 300])
        return orjson.dumps(event)
    if kind == 5:
        event["event_time"] = chance.choice([0, -1, 1 << 62, "yesterday", 10**15, "2099-01-01T00:00:00Z"])
        return orjson.dumps(event)
    if kind == 6:
        return None
    if kind == 7:
        return orjson.dumps(good(number, tenant=chance.choice(["nobody", "", "default"])))
    if kind == 8:
        return orjson.dumps(good(number, content={"prompt": "tell me everything"}))
    if kind == 9:
        return orjson.dumps(good(number, account_id=chance.choice(ODD), user_agent=chance.choice(ODD)))
    if kind == 10:
        return raw + b" " * chance.choice([1, 1 << 20])
    return raw


async def send(connection: Connection, seed: int) -> int:
    chance = random.Random(seed)
    topic = connection.topic("access")
    sent = 0
    async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap, max_request_size=2 << 20) as producer:
        for number in range(RECORDS):
            big = number % 97 == 0
            value = mutate(chance, number) if big else mutate_small(chance, number)
            key = chance.choice([None, b"", b"k", chance.randbytes(40), b"k" * 100_000 if big else b"K"])
            headers = chance.choice([[], [("stillwatch.control", b"stop")], [("x", b"\xff")]])
            if value is None and key is None:
                key = b"tombstone"  # the producer sends no record with neither
            await producer.send(topic, value, key=key, partition=number % 2, headers=headers)
            sent += 1
        await producer.flush()
        await send_end(producer, topic, [0, 1])
    return sent


def mutate_small(chance: random.Random, number: int) -> bytes | None:
    value = mutate(chance, number)
    return value if value is None or len(value) < 10_000 else value[:500]


def test_every_record_is_an_event_or_a_dead_letter(installation: Callable[..., Connection], tmp_path: Path) -> None:
    connection = installation(partitions=2)
    sent = asyncio.run(send(connection, seed=7))
    with worker(connection, tmp_path) as live:
        wait_until(lambda: live.process.poll() is not None or all_ended(connection), what="the end")
        assert live.stop() == 0, live.said()
    rows: Counter[tuple[str, int]] = Counter()
    for record in read_topic(connection, "frames"):
        if not record.value.startswith(MARKER_MAGIC):
            frame = unwire(record.value)
            rows.update((frame.source, position) for position in frame.positions.tolist())
    letters = read_topic(connection, "dead-letter")
    dead: Counter[tuple[str, int]] = Counter()
    reasons: Counter[str] = Counter()
    for letter in letters:
        said = {name: value.decode() for name, value in letter.headers}
        dead[f"access/{said['__streams.errors.partition']}", int(said["__streams.errors.offset"])] += 1
        reasons[said["stillwatch.error.code"]] += 1
        assert letter.value == b""
        assert set(said) == {
            *(f"__streams.errors.{name}" for name in ("topic", "partition", "offset")),
            *(f"stillwatch.error.{name}" for name in ("code", "length", "digest")),
        }
    assert not set(rows) & set(dead)
    assert set(rows) | set(dead) == {(f"access/{p}", offset) for p in (0, 1) for offset in range(sent // 2)}
    assert {*rows.values(), *dead.values()} == {1}
    assert {"not_json", "missing_field", "bad_type", "unknown_tenant", "raw_content", "future_time"} <= set(reasons)
    assert committed(connection, "encode", "access", 2) == [sent // 2 + 1] * 2
