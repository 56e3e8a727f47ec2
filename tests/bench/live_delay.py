"""How long a decision takes, and how a backlog is worked off: the parts of `bench_live` that look at clocks.

The latency is that of the sample log's campaign, moved to the present, while an account per
partition keeps the clocks going. Once the whole log is the past, and newcomers act twice as
the campaign's members did; once the log goes on in real time until the campaign is found.
"""

import asyncio
import random
import time
import zlib
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from detector.config import Settings
from detector.runtime.kafka.clients import make_producer
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.topics import create_topics
from tests.bench import traffic
from tests.bench.live_runs import PARTITIONS, folded, fresh, lines
from tests.integration.live import Worker, recorded_run, wait_until

ROLES = ("encode", "judge")
CLOCK_S = 0.25  # between two events of a partition that keep its clock going
CLOCK = {"request_model": "m", "input_tokens": 10, "output_tokens": 10}
BEFORE_S = 75  # of real time before the discovery that finds the campaign
PATIENCE_S = 60


class Delays(NamedTuple):
    """Seconds from production to decision: of each newcomer, and of the campaign itself (None: not found)."""

    newcomers: list[float]
    acted: int
    discovery: float | None


def _time_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


class Past(NamedTuple):
    """The sample log: events by time, members of its campaign, when that was found first (epoch ms)."""

    events: list[tuple[int, dict[str, Any]]]
    members: set[str]
    found_ms: int


def past(folder: Path) -> Past:
    """Replay the sample log."""
    log, replayed = recorded_run(folder)
    events = [(_time_ms(e["event_time"]), e) for e in map(orjson.loads, log.read_bytes().splitlines())]
    decisions = [orjson.loads(line) for line in (replayed / "decisions.jsonl").read_bytes().splitlines()]
    return Past(events, {d["value"] for d in decisions}, min(_time_ms(d["issued_at"]) for d in decisions))


class Sender:
    """Sends events as of now, and knows when."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, *, shift_ms: int) -> None:
        """Send to a topic; accounts are moved in time by `shift_ms`."""
        self.producer, self.topic, self.shift_ms, self.number = producer, topic, shift_ms, 0
        self.sent_s: dict[str, float] = {}  # by account: its last event

    async def send(self, event: dict[str, Any], *, at_ms: int | None = None, partition: int | None = None) -> None:
        """Send one event; now, unless told when it was."""
        self.number += 1
        now_ms = int(time.time() * 1000)
        account = event["account_id"]
        moved = {"event_time": at_ms if at_ms is not None else now_ms, "event_id": f"b{self.number}"}
        if created := event.get("account_created_at"):
            moved["account_created_at"] = _time_ms(created) + self.shift_ms
        place = partition if partition is not None else zlib.crc32(account.encode()) % PARTITIONS
        self.sent_s[account] = time.monotonic()
        await self.producer.send(self.topic, orjson.dumps(event | moved), key=account.encode(), partition=place)


async def _decided(connection: Connection, seen_s: dict[str, float]) -> None:
    """Note when the first decision about each account can be read."""
    async with AIOKafkaConsumer(
        connection.topic("decision-log"), bootstrap_servers=connection.bootstrap,
        auto_offset_reset="earliest", isolation_level="read_committed",
    ) as reader:  # fmt: skip
        async for record in reader:
            seen_s.setdefault(orjson.loads(record.value)["value"], time.monotonic())


async def _clocks(sender: Sender) -> None:
    """Keep the clocks of all partitions going."""
    for partition in range(PARTITIONS):
        await sender.send(CLOCK | {"account_id": f"clock-{partition}"}, partition=partition)
    await asyncio.sleep(CLOCK_S)


async def _discovery(sender: Sender, log: Past, seen_s: dict[str, float], *, patience_s: float) -> float | None:
    """Let the campaign go on in real time until it is found; returns the bound on how long that took."""
    begin_ms = log.found_ms - BEFORE_S * 1000
    coming = [(at_ms + sender.shift_ms, e) for at_ms, e in log.events if at_ms >= begin_ms]
    members_s: list[float] = []
    give_up_s = time.monotonic() + BEFORE_S + patience_s + PATIENCE_S
    while not seen_s and time.monotonic() < give_up_s:
        await _clocks(sender)
        while coming[0][0] <= time.time() * 1000:
            at_ms, event = coming.pop(0)
            await sender.send(event, at_ms=at_ms)
            if event["account_id"] in log.members:
                members_s.append(time.monotonic())
    found_s = min(seen_s.values(), default=None)
    if found_s is None:
        return None
    # The discovery before found nothing, so what tipped it came later; the first that a member did then is the bound.
    late_s = [s for s in members_s if s > found_s - patience_s - Settings().discovery_ms / 1000]
    return found_s - min(late_s, default=found_s)


async def _newcomers(
    sender: Sender, log: Past, seen_s: dict[str, float], *, count: int, patience_s: float
) -> list[float]:
    """Let newcomers act twice as members of the known campaign did lately, one a second; returns their delays."""
    chance, known = random.Random(1), 0
    alike = [e for _, e in log.events if e["account_id"] in log.members][-400:]
    while not known or len(seen_s) > known:
        known, until_s = len(seen_s), time.monotonic() + patience_s
        while time.monotonic() < until_s:
            await _clocks(sender)
    begun_s, acted = time.monotonic(), dict[str, float]()
    while time.monotonic() < begun_s + count + patience_s + PATIENCE_S and (
        len(acted) < count or not acted.keys() <= seen_s.keys()
    ):
        await _clocks(sender)
        if len(acted) < min(count, time.monotonic() - begun_s):
            account = f"newcomer-{len(acted)}"
            like = chance.choice(alike) | {"account_id": account, "api_key_id": account}
            for turn in range(2):
                await sender.send(like | {"prompt_fp": f"{len(acted):016x}{turn:016x}"})
            acted[account] = sender.sent_s[account]
    return [seen_s[account] - sent_s for account, sent_s in acted.items() if account in seen_s]


async def _told(connection: Connection, log: Past, *, newcomers: int, patience_s: float) -> Any:
    """Send the past, then measure newcomers, or without any the discovery."""
    end_ms = log.events[-1][0] + 1 if newcomers else log.found_ms - BEFORE_S * 1000
    seen_s: dict[str, float] = {}
    following = asyncio.create_task(_decided(connection, seen_s))
    async with make_producer(connection) as producer:
        sender = Sender(producer, connection.topic("access"), shift_ms=int(time.time() * 1000) - end_ms)
        for at_ms, event in log.events:
            if at_ms < end_ms:
                await sender.send(event, at_ms=at_ms + sender.shift_ms)
        if newcomers:
            return await _newcomers(sender, log, seen_s, count=newcomers, patience_s=patience_s)
        found = await _discovery(sender, log, seen_s, patience_s=patience_s)
    following.cancel()
    return found


def delays(bootstrap: str, folder: Path, *, settings: list[str], newcomers: int, patience_s: float) -> Delays:
    """Measure with encode and judge in two processes; `patience_s`: how long a decision about a newcomer may take."""
    log, made = past(folder), list[Any]()
    for count in (newcomers, 0):
        connection = Connection(bootstrap=bootstrap, prefix=f"latency{count}.", group=f"latency{count}")
        create_topics(connection, Settings(), access_partitions=PARTITIONS)
        with ExitStack() as stack:
            for role in ROLES:
                worker = Worker(connection, folder, "--roles", role, *settings, state=f"latency-{role}{count}")
                stack.callback(worker.kill)
                wait_until(worker.running, what="a start")
            made.append(asyncio.run(_told(connection, log, newcomers=count, patience_s=patience_s)))
    return Delays(made[0], newcomers, made[1])


class Lag(NamedTuple):
    """What a stop left, and how it was worked off."""

    backlog: int
    start_s: float  # until the first event after the stop was folded
    drained_s: float  # from there, until less than a second's events were left
    rate: float  # events per second in between


async def _flow(connection: Connection, held: list[tuple[bytes, bytes]], *, rate: int, sent: list[int]) -> None:
    """Send at a rate; `sent[0]` says how many are durable."""
    topic, begun_s = connection.topic("access"), time.monotonic()
    async with make_producer(connection) as producer:
        while sent[0] < len(held):
            due = min(len(held), int((time.monotonic() - begun_s) * rate))
            some = held[sent[0] : due]
            await asyncio.gather(
                *[await producer.send(topic, raw, key=k, partition=zlib.crc32(k) % PARTITIONS) for k, raw in some]
            )
            sent[0] += len(some)
            await asyncio.sleep(0.05)


async def _lag(connection: Connection, folder: Path, *, rate: int, stop_s: float, held: list[Any]) -> Lag:
    sent, done = [0], 0
    with ExitStack() as stack:

        def started() -> list[Worker]:
            made = [Worker(connection, folder, "--roles", role, state=f"lag-{role}") for role in ROLES]
            for worker in made:
                stack.callback(lambda w=worker: w.process.poll() is None and w.kill())
            return made

        workers = started()
        flowing = asyncio.create_task(_flow(connection, held, rate=rate, sent=sent))
        async for now in folded(connection):
            done = now if now is not None else done
            if done > 3 * rate and sent[0] - done < rate:
                break
        for worker in workers:
            await asyncio.to_thread(worker.stop)
        await asyncio.sleep(stop_s)
        started()
        begun_s, first_s, backlog, stood = time.monotonic(), 0.0, 0, done
        async for now in folded(connection):
            done = now if now is not None else done
            if not first_s and done > stood + rate // 10:
                first_s, stood, backlog = time.monotonic(), done, sent[0] - done
            if first_s and sent[0] - done < rate:
                took_s = time.monotonic() - first_s
                flowing.cancel()
                return Lag(backlog, first_s - begun_s, took_s, (done - stood) / took_s)
            if flowing.done():
                flowing.result()
                raise RuntimeError(f"the backlog of {sent[0] - done} events is not worked off")
    raise AssertionError


def lag(bootstrap: str, folder: Path, *, rate: int, stop_s: float) -> Lag:
    """Stop both workers while 1 KB events come at a rate, start them, and see the lag go."""
    first = Connection(bootstrap=bootstrap, prefix="lag.", state_directory=str(folder / "lag"))
    connection = fresh(first, "lag")
    mix = traffic.Mix(accounts=50_000, shared=400, per_second=rate)
    rows = int(rate * (2 * stop_s + 90))
    begin_ms = int(time.time() * 1000)
    held = [pair for some in lines(traffic.KILOBYTE, mix, rows=rows, begin_ms=begin_ms) for pair in some]
    return asyncio.run(_lag(connection, folder, rate=rate, stop_s=stop_s, held=held))
