"""A backlog of days over uneven partitions: what waits goes to disk, no pane is forced, nothing is late."""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import orjson

from detector.runtime.kafka.clients import make_producer
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.produce import send_end
from tests.integration.conftest import Recorded
from tests.integration.live import SETTINGS, all_ended, outputs, read_topic, stillwatch, wait_until, worker

PARTITIONS = 8
ROWS_MAX = 500
BOUND = ("--set", f"rows_buffered_max={ROWS_MAX}")


def three_days(log: Path) -> list[tuple[datetime, bytes]]:
    """The recorded two days, and the first of them once more as the third."""
    made = []
    for line in log.read_bytes().splitlines():
        event = orjson.loads(line)
        time = datetime.fromisoformat(event["event_time"])
        made.append((time, line))
        later = time + timedelta(days=2)
        if event["event_time"].startswith("2026-04-20"):
            again = event | {"event_id": event["event_id"] + "-3", "event_time": later.isoformat()}
            made.append((later, orjson.dumps(again)))
    return sorted(made, key=lambda e: e[0])


def dealt(events: list[tuple[datetime, bytes]]) -> list[list[bytes]]:
    """One partition holds the first half day alone, one half of the rest, one next to nothing."""
    chance = random.Random(5)
    noon = events[0][0] + timedelta(hours=12)
    out: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for time, line in events:
        (at,) = [0] if time < noon else chance.choices(range(1, PARTITIONS), [50, 20, 10, 8, 7, 4.8, 0.2])
        out[at].append(line)
    return out


async def put(connection: Connection, partitions: list[list[bytes]]) -> None:
    topic = connection.topic("access")
    async with make_producer(connection) as producer:
        for number, lines in enumerate(partitions):
            await asyncio.gather(*[await producer.send(topic, line, partition=number) for line in lines])
        await send_end(producer, topic, list(range(len(partitions))))


def test_three_days_over_uneven_partitions_come_out_as_from_a_file(
    installation: Callable[..., Connection], recorded: Recorded, tmp_path: Path
) -> None:
    events = three_days(recorded.log)
    log, out = tmp_path / "three.jsonl", tmp_path / "replay"
    log.write_bytes(b"".join(line + b"\n" for _, line in events))
    stillwatch("replay", str(log), "--out", str(out), "--no-progress", *SETTINGS, *BOUND)
    connection = installation(partitions=PARTITIONS, snapshot_interval_ms=2_000)
    asyncio.run(put(connection, dealt(events)))
    with worker(connection, tmp_path, *BOUND) as live:
        wait_until(lambda: live.process.poll() is not None or all_ended(connection), what="the end")
        assert live.stop() == 0, live.said()
    said = live.log.read_text()
    assert "wait on disk" in said  # the bound was reached
    assert "before their time" not in said
    assert "refused" not in said
    alerts, decisions = outputs(connection)
    assert alerts == (out / "alerts.jsonl").read_bytes()
    assert decisions == (out / "decisions.jsonl").read_bytes()
    assert len(alerts) > 1_000
    assert not read_topic(connection, "dead-letter")
    assert not list((tmp_path / "state").glob("spill-*"))
