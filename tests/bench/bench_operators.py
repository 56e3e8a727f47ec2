"""From an operator's revoke to its effect: an enforcer lets the request pass.

Floor: the same with nothing else to do.
Measured: leases that commands added are revoked one after the other, some hundred ms apart; the
time from before the command is sent until a lookup of the enforcer's client, which follows the
decisions, finds nothing. Encode and judge in one process, as `run` starts them; idle, and with events coming at a
steady rate from a process of its own (each an own account of this moment, in eight partitions).
Its parts, by the clients' own stamps: until encode hands the order's frame to Kafka, until the judge hands over its
decision, until that is committed and a plain reader has it.
Not measured: a judge that is behind its log: an order acts at its place in it.
Run: `python -m tests.bench.bench_operators [--full] [--orders N] [--rate N]`.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from detector.config import Settings
from detector.enforce.client import DecisionClient
from detector.enforce.leases import CONTROL_KEY
from detector.operators import Command
from detector.records import encode
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.publishing import POSITION_HEADER
from detector.runtime.kafka.reading import read_topic
from detector.runtime.kafka.topics import create_topics
from tests.bench.measure import arguments, at_most, figure, headline
from tests.integration import brokers
from tests.integration.live import Worker, wait_until

BAR_S = 1.0
BATCH_S = 0.02
PARTITIONS = 8
ENDLESS_MS = 4_000_000_000_000


def main() -> None:
    """Print both distributions."""
    if len(sys.argv) == 4 and sys.argv[1] == "events":
        asyncio.run(send_events(sys.argv[2], rate=int(sys.argv[3])))
        return
    given = arguments(__doc__, options)
    orders, rate = given.orders or (300 if given.full else 60), given.rate or (5_000 if given.full else 1_000)
    said: list[str] = []
    with tempfile.TemporaryDirectory() as folder, brokers.provided(Path(folder), said) as bootstrap:
        headline("an operator's revoke to its effect at an enforcer", orders=orders, events_per_second=rate)
        if bootstrap is None:
            print("; ".join(said))
            return
        connection = Connection(bootstrap=bootstrap, group="bench", state_directory=f"{folder}/state")
        create_topics(connection, Settings(), access_partitions=PARTITIONS)
        live = Worker(connection, Path(folder))
        try:
            wait_until(live.running, what="a start", timeout_s=120)
            floor = show("idle", revoke(connection, "idle", orders), floor=None)
            with events(connection, rate):
                time.sleep(5)
                steps = revoke(connection, "busy", orders)
            show(f"busy, {rate:,} events/s", steps, floor=floor)
        finally:
            live.kill()


def options(parser: argparse.ArgumentParser) -> None:
    """This bench's own options."""
    parser.add_argument("--orders", type=int, default=0, help="revokes of each part")
    parser.add_argument("--rate", type=int, default=0, help="events a second where it is busy")


class Steps(NamedTuple):
    """When a revoke was sent, its frame and its decision handed to Kafka, when it was read and in effect (epoch s)."""

    sent: float
    frame: float
    decided: float
    read: float
    effect: float


def show(name: str, steps: list[Steps], *, floor: float | None) -> float:
    """Print a distribution and those of its parts; returns its median."""
    whole = [step.effect - step.sent for step in steps]
    p50, p99 = (float(np.quantile(whole, q)) for q in (0.5, 0.99))
    figure(f"{name}: p50", p50, "s", ratio=p50 / floor if floor else None)
    figure(f"{name}: p99 of {len(steps)}", p99, "s", bar=at_most(BAR_S))
    for part, (begins, ends) in {"to its frame": (0, 1), "to its decision": (1, 2), "to its reader": (2, 3)}.items():
        taken = [step[ends] - step[begins] for step in steps]
        for q in (0.5, 0.99):
            figure(f"  {part}: p{q * 100:.0f}", float(np.quantile(taken, q)), "s")
    return p50


def revoke(connection: Connection, name: str, count: int) -> list[Steps]:
    """Add leases, then revoke one after the other, with an enforcer that follows."""
    with enforcer(connection) as passes:
        made = asyncio.run(_revoke(connection, name, count))
        values = [orjson.loads(record.key)[2] for _, record, _ in made]
        wait_until(lambda: all(value in passes for value in values), what="the enforcer")
    wanted = {int(dict(record.headers)[POSITION_HEADER].partition(b":")[2]) for _, record, _ in made}
    stamps = {r.offset: r.timestamp for r in read_topic(connection, "frames") if r.offset in wanted}
    return [
        Steps(
            sent,
            stamps[int(dict(record.headers)[POSITION_HEADER].partition(b":")[2])] / 1000,
            record.timestamp / 1000,
            read,
            passes[value],
        )
        for (sent, record, read), value in zip(made, values, strict=True)
    ]


@contextmanager
def enforcer(connection: Connection) -> Iterator[dict[str, float]]:
    """Follow decisions as a gateway does; when each account's request first passed again (epoch s)."""
    passes: dict[str, float] = {}

    def changed(key: bytes, sent_ms: int | None) -> None:
        del sent_ms
        value = orjson.loads(key)[2] if key != CONTROL_KEY else ""
        if value and client.lookup({"account": value}) is None:
            passes.setdefault(value, time.time())

    client = DecisionClient(connection, changed=changed)
    try:
        if not client.start(timeout_s=60):
            raise SystemExit(f"the enforcer did not load: {client.status().error}")
        yield passes
    finally:
        client.stop()


async def _revoke(connection: Connection, name: str, count: int) -> list[tuple[float, Any, float]]:
    values = [f"{name}-{number}" for number in range(count)]
    chance = random.Random(1)
    reader = AIOKafkaConsumer(
        connection.topic("decisions"),
        bootstrap_servers=connection.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    seen: dict[tuple[str, str], tuple[Any, float]] = {}

    async def read() -> None:
        async for record in reader:
            if record.value is not None and record.key != CONTROL_KEY:
                made = orjson.loads(record.value)
                seen.setdefault((made["value"], made["state"]), (record, time.time()))

    async def until(value: str, state: str) -> tuple[Any, float]:
        async with asyncio.timeout(60):
            while (value, state) not in seen:  # noqa: ASYNC110 - an event for each record would cost more
                await asyncio.sleep(0.001)
        return seen[value, state]

    await reader.start()
    reading = asyncio.create_task(read())
    out = []
    try:
        async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
            for value in values:
                await producer.send(connection.topic("commands"), order("add", value))
            await producer.flush()
            for value in values:
                await until(value, "active")
            for value in values:
                await asyncio.sleep(chance.uniform(0.05, 0.25))
                begun_s = time.time()
                await producer.send(connection.topic("commands"), order("revoke", value))
                out.append((begun_s, *await until(value, "revoked")))
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await reader.stop()
    return out


def order(name: str, value: str) -> bytes:
    """A command about one account."""
    said = Command(
        command=name,  # type: ignore[arg-type]  # one of two
        tenant="default",
        scope="account",
        value=value,
        action="throttle",
        expires_at=ENDLESS_MS,
        by="bench",
        reason="",
        at=0,
    )
    return encode(said)


@contextmanager
def events(connection: Connection, rate: int) -> Iterator[None]:
    """A process that sends events all the while."""
    program = [sys.executable, "-m", "tests.bench.bench_operators", "events", connection.bootstrap, str(rate)]
    process = subprocess.Popen(program, env=os.environ)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def send_events(bootstrap: str, *, rate: int) -> None:
    """Send events of this moment until the process is ended."""
    topic, number = Connection(bootstrap=bootstrap).topic("access"), 0
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        begun_s = time.monotonic()
        while True:
            for _ in range(int((time.monotonic() - begun_s) * rate) - number):
                at_ms = int(time.time() * 1000)
                event = {"event_id": f"e{number}", "event_time": at_ms, "account_id": f"a{number % 100_000}"}
                event |= {"request_model": "m", "input_tokens": 900, "output_tokens": 300, "org_id": f"o{number % 997}"}
                await producer.send(topic, orjson.dumps(event), partition=number % PARTITIONS)
                number += 1
            await asyncio.sleep(BATCH_S)


if __name__ == "__main__":
    main()
