"""Partitions without events must not hold the others back, and ticks make no event late."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from aiokafka import AIOKafkaProducer

from detector.runtime.kafka.connection import Connection
from tests.integration.live import Worker, committed, positions, progress, read_topic, wait_until, worker

FAST = ("--set", "pane_ms=1000", "--set", "discovery_ms=5000", "--set", "lateness_ms=1000")


def passed(connection: Connection, live: Worker, time_ms: int) -> bool:
    """Whether the pane of a time is closed."""
    assert live.process.poll() is None, live.said()
    found = progress(connection)
    return found is not None and (found.pane_end_ms or 0) > time_ms


async def send(connection: Connection, partition: int, numbers: range) -> int:
    """Send events of this moment; returns the last one's time (ms)."""
    async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
        for number in numbers:
            at = int(time.time() * 1000)
            event = {"event_id": f"e{number}", "event_time": at, "account_id": "a", "request_model": "m"}
            tokens = {"input_tokens": 1, "output_tokens": 1}
            await producer.send_and_wait(connection.topic("access"), orjson.dumps(event | tokens), partition=partition)
    return at


def test_quiet_partitions_follow_and_a_silent_log_goes_on_with_the_clock(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation(partitions=3, idle_ms=1_000)
    # The worker's clock is wrong by an hour: no tick may go by it.
    with worker(connection, tmp_path, *FAST, clock_ahead_s=3_600) as live:
        wait_until(live.running, what="a start")
        # Two of the three partitions hold nothing at all, then the third falls silent too.
        last_ms = asyncio.run(send(connection, 0, range(20)))
        wait_until(lambda: passed(connection, live, last_ms), what="the close of the last event's pane", timeout_s=30)
        # Events that come after the silence, on a partition that only had ticks, count.
        last_ms = asyncio.run(send(connection, 2, range(20, 40)))
        wait_until(lambda: passed(connection, live, last_ms), what="the close of the last event's pane", timeout_s=30)
        assert live.stop() == 0, live.said()
        assert "late" not in live.said()
    assert not read_topic(connection, "dead-letter")


def test_after_a_restart_in_silence_the_last_panes_close(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation(partitions=2, idle_ms=3_000, snapshot_interval_ms=500)
    with worker(connection, tmp_path, *FAST) as live:
        wait_until(live.running, what="a start")
        last_ms = max(asyncio.run(send(connection, p, range(10 * p, 10 * p + 10))) for p in range(2))
        # Everything is read, folded and committed, and the last pane is open.
        folded = {"access/0": 10, "access/1": 10}
        wait_until(lambda: positions(connection) == folded, what="the fold", every_s=0.05)
        wait_until(lambda: committed(connection, "encode", "access", 2) == [10, 10], what="the commit", every_s=0.05)
        live.kill()
    assert (progress(connection).pane_end_ms or 0) <= last_ms
    with worker(connection, tmp_path, *FAST) as live:
        wait_until(lambda: passed(connection, live, last_ms), what="the close of the last pane", timeout_s=40)
        last_ms = asyncio.run(send(connection, 1, range(20, 40)))
        wait_until(lambda: passed(connection, live, last_ms), what="the close of the last event's pane", timeout_s=40)
        assert live.stop() == 0, live.said()
        assert "late" not in live.said()
