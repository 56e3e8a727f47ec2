"""Workers and readers over one topic of a real broker, as `bench_live` measures them.

A run of ours has topics, consumer groups and a state directory of its own behind the shared
access topic. Its rate is that of the judge's progress records: an event counts when the
judge has folded it and said so.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from aiokafka import TopicPartition
from kafka import KafkaAdminClient

from detector.config import Settings
from detector.events import EventBatch, event_batch
from detector.runtime.json_text import json_lines
from detector.runtime.kafka.clients import make_producer, make_reader
from detector.runtime.kafka.connection import Connection, client_arguments
from detector.runtime.kafka.publishing import read_progress
from detector.runtime.kafka.topics import create_topics, specifications
from tests.bench import live_readers, traffic
from tests.integration.live import Worker, wait_until

PARTITIONS = 4
SEND_RECORDS = 4_000
LEAD = 0.3  # of the records: groups form, compiled kernels load, a first discovery runs
MINUTE_MS = 60_000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
RUN_TIMEOUT_S = 600.0


class Speed(NamedTuple):
    """Records per second, and the processor time that each cost each process (us)."""

    rate: float
    cpu_us: tuple[float, ...]


def moved(batch: EventBatch, *, by_ms: int) -> EventBatch:
    """The batch with its event times and ages shifted."""
    columns = {name: batch.column(name) for name in batch.schema.names if batch.column(name).null_count < len(batch)}
    for name in ("event_time", "account_created_at"):
        if name in columns:
            columns[name] = pa.array(columns[name].to_numpy(zero_copy_only=False).astype(np.int64) + by_ms)
    return event_batch(columns, rows=len(batch))


def lines(name: str, mix: traffic.Mix, *, rows: int, begin_ms: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Records of a log that begins at `begin_ms`, as (account, JSON), some thousand at a time."""
    for batch in traffic.batches(name, mix, rows=rows):
        raws = bytes(json_lines(moved(batch, by_ms=begin_ms - traffic.START_MS))).splitlines()
        yield list(zip(map(str.encode, batch.column("account_id").to_pylist()), raws, strict=True))


async def fill(connection: Connection, name: str, mix: traffic.Mix, *, rows: int) -> int:
    """Write a backlog to the access topic; returns the bytes of its values. It begins shortly before a discovery."""
    begin_ms = int(time.time() * 1000) - rows * 1000 // mix.per_second - MINUTE_MS
    begin_ms += MINUTE_MS - begin_ms % MINUTE_MS - Settings().lateness_ms
    topic, size = connection.topic("access"), 0
    async with make_producer(connection) as producer:
        for held in lines(name, mix, rows=rows, begin_ms=begin_ms):
            for at in range(0, len(held), SEND_RECORDS):
                some = held[at : at + SEND_RECORDS]
                await asyncio.gather(
                    *[await producer.send(topic, raw, key=k, partition=zlib.crc32(k) % PARTITIONS) for k, raw in some]
                )
                size += sum(len(raw) for _, raw in some)
    return size


def fresh(connection: Connection, group: str) -> Connection:
    """Throw away every topic but the one that holds the log, and make them anew for another group."""
    admin = KafkaAdminClient(**client_arguments(connection))
    try:
        names = [connection.topic(s.name) for s in specifications(Settings()) if s.name != "access"]
        there = sorted(set(names) & set(admin.list_topics()))
        if there:
            admin.delete_topics(there)
            wait_until(lambda: not set(names) & set(admin.list_topics()), what="the topics' end")
    finally:
        admin.close()
    made = msgspec.structs.replace(connection, group=group, state_directory=connection.state_directory + group)
    create_topics(made, Settings(), access_partitions=PARTITIONS)
    return made


def used_s(worker: Worker) -> float:
    """Processor seconds of a worker so far."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def folded(connection: Connection) -> Any:
    """Yield how many records the judge has folded, each time that it says so."""
    place = TopicPartition(connection.topic("progress"), 0)
    async with make_reader(connection) as reader:
        reader.assign([place])
        await reader.seek_to_beginning()
        while True:
            for record in (await reader.getmany(timeout_ms=500)).get(place, [])[-1:]:
                if record.value:
                    yield sum(max(0, s.position) for s in read_progress(record.value).sources.values())
            yield None  # nothing new: the caller looks whether the workers live


async def _measured(connection: Connection, workers: Sequence[Worker], records: int) -> Speed:
    begun = None
    deadline_s = time.monotonic() + RUN_TIMEOUT_S
    async for done in folded(connection):
        died = [w for w in workers if w.process.poll() is not None]
        if died or time.monotonic() > deadline_s:
            raise RuntimeError(f"a worker {'died' if died else 'is too slow'}: {(died or workers)[0].said()}")
        now = (done, time.perf_counter(), [used_s(w) for w in workers])
        if done is not None and begun is None and done >= LEAD * records:
            begun = now
        if done is not None and begun is not None and done >= records:
            rows = now[0] - begun[0]
            cpu = tuple((b - a) / rows * 1e6 for a, b in zip(begun[2], now[2], strict=True))
            return Speed(rows / (now[1] - begun[1]), cpu)
    raise AssertionError


def our_speed(connection: Connection, folder: Path, *, records: int, processes: int, name: str) -> Speed:
    """Drain the access topic with encode and judge in one process or in two."""
    made = fresh(connection, name)
    roles = ["encode,judge"] if processes == 1 else ["encode", "judge"]
    with ExitStack() as stack:
        workers = [Worker(made, folder, "--roles", role, state=name) for role in roles]
        for worker in workers:
            stack.callback(worker.kill)
        return asyncio.run(_measured(made, workers, records))


def reader_speed(name: str, connection: Connection, *, records: int, python: Path) -> Speed:
    """Drain up to `records` of the access topic with another program that does nothing."""
    topic, script = connection.topic("access"), Path(live_readers.__file__)
    done = subprocess.run(
        [str(python), "-W", "ignore", str(script), name, connection.bootstrap, topic, str(PARTITIONS), str(records)],
        capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2_000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return Speed(said["rate"], (said["cpu_us"],))


def own_python() -> Path:
    """The interpreter of this environment."""
    return Path(sys.executable)
