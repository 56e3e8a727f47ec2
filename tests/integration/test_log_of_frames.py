"""The log of frames: what is delivered again is skipped, what is missing or strange stops the judge with its place."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from detector.frames import empty_frame, wire
from detector.runtime.kafka import markers
from detector.runtime.kafka.connection import Connection
from tests.integration.live import Worker, positions, progress, wait_until, worker

Installation = Callable[..., Connection]


def send(connection: Connection, *raws: bytes) -> None:
    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
            for raw in raws:
                await producer.send_and_wait(connection.topic("frames"), raw, partition=0)

    asyncio.run(run())


def frame(source: str, first: int, stop: int) -> bytes:
    return wire(empty_frame("default", source, first=first, stop=stop))


def ends_with(live: Worker) -> str:
    wait_until(lambda: live.process.poll() is not None, what="the end of the worker")
    assert live.process.returncode == 4, live.said()
    return live.said()


def test_a_range_that_comes_again_is_skipped_and_one_that_is_missing_stops_the_judge(
    installation: Installation, tmp_path: Path
) -> None:
    connection = installation(partitions=2)
    send(connection, frame("access/0", 0, 5), frame("access/1", 0, 3), frame("access/0", 0, 5), frame("access/0", 3, 9))
    with worker(connection, tmp_path, "--roles", "judge") as live:
        wait_until(lambda: positions(connection) == {"access/0": 9, "access/1": 3}, what="the fold", timeout_s=30)
        assert live.process.poll() is None, live.said()
        send(connection, frame("access/0", 12, 15))
        said = ends_with(live)
    assert "frames at 4: access/0: frames end at 9, the next begins at 12: rows are missing" in said.replace(
        f"{connection.prefix}frames/0 at 4", "frames at 4"
    )


def test_bytes_of_another_version_stop_the_judge_with_their_place(installation: Installation, tmp_path: Path) -> None:
    connection = installation(partitions=1)
    send(connection, frame("access/0", 0, 5), b"SWFX" + bytes(40))
    with worker(connection, tmp_path, "--roles", "judge") as live:
        said = ends_with(live)
    assert f"{connection.prefix}frames/0 at 1: not a frame" in said


def test_a_marker_beyond_its_source_is_a_hole_too(installation: Installation, tmp_path: Path) -> None:
    connection = installation(partitions=1)
    send(connection, frame("access/0", 0, 5), markers.tick("access/0", position=9, time_ms=1))
    with worker(connection, tmp_path, "--roles", "judge") as live:
        assert "does not join its source" in ends_with(live)


def test_another_key_and_a_log_that_begins_after_the_state_stop_the_judge(
    installation: Installation, tmp_path: Path
) -> None:
    connection = installation(partitions=1, snapshot_interval_ms=200)
    send(connection, frame("access/0", 0, 5))
    with worker(connection, tmp_path, "--roles", "judge") as live:
        wait_until(lambda: (found := progress(connection)) and found.snapshot, what="a snapshot", timeout_s=30)
        live.stop()
    send(connection, frame("access/0", 5, 7), frame("access/0", 7, 9))
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    with worker(connection, tmp_path, "--roles", "judge", "--key-file", str(key)) as live:
        said = ends_with(live)
    assert "hash key" in said
    assert "ab" * 32 not in said

    async def shorten() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=connection.bootstrap)
        await admin.start()
        place = TopicPartition(connection.topic("frames"), 0)
        await admin.delete_records({place: RecordsToDelete(before_offset=2)})
        await admin.close()

    asyncio.run(shorten())
    with worker(connection, tmp_path, "--roles", "judge") as live:
        said = ends_with(live)
    assert "begins at 2, the state ends at 1: frames are missing" in said
