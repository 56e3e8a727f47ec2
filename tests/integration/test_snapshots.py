"""Snapshots on a real topic: chains, uploads that fail anywhere, compaction, damage here and there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from detector.config import Settings, TableSettings
from detector.encode import encode
from detector.hashing import DEVELOPMENT_KEY
from detector.runtime.kafka import snapshots
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.generations import chunk_count
from detector.runtime.kafka.publishing import SnapshotPlace, Stale
from detector.runtime.kafka.recovery import recover
from detector.runtime.kafka.session import Place, Session
from detector.runtime.kafka.tally import Tally
from detector.snapshot import SnapshotError, snapshot
from tests.integration.live import read_topic
from tests.laws.streams import TIGHT, hostile

KEY = DEVELOPMENT_KEY
SOURCE, TENANT = "access/0", "default"
STEP_ROWS = 400
Installation = Callable[..., Connection]


# Room for what makes a whole generation much larger than what is no table.
ROOMY = msgspec.structs.replace(
    TIGHT, tables=TableSettings(accounts_max=30_000, links_max=30_000, promoted_max=64, admission_cells=1 << 14)
)


def place(connection: Connection, disk: Path, settings: Settings) -> Place:
    there = msgspec.structs.replace(connection, state_directory=str(disk))
    return Place(tenant=TENANT, partition=0, settings=settings, key=KEY, connection=there, tally=Tally())


@asynccontextmanager
async def judging(connection: Connection, disk: Path, *, settings: Settings = TIGHT) -> AsyncIterator[Session]:
    """A session, given up at the end as by a crash: nothing more is written."""
    session = await recover(place(connection, disk, settings), first=0)
    try:
        yield session
    finally:
        await session.close()


def fold(session: Session, *, rows: int = STEP_ROWS, accounts: int = 3_000) -> bytes:
    """Fold the next events, another part of the accounts at each turn; returns the whole state."""
    first = max(0, session.judge.buffer.sources[SOURCE].stop)
    at = np.arange(first, first + rows)
    batch = hostile(at % accounts, sharing=30, step_ms=5_000, from_ms=1_782_050_400_000 + 5_000 * first)
    (frame,) = encode(batch, positions=at, source=SOURCE, first=first, stop=first + rows, key=KEY, tenants=(TENANT,))
    session.judge.apply(frame)
    session.judge.take_refused()
    session.next_offset += 1
    return snapshot(session.judge, key=KEY)


def state(session: Session) -> bytes:
    return snapshot(session.judge, key=KEY)


def alive(connection: Connection) -> set[bytes]:
    """The keys of the snapshots topic that compaction must keep."""
    last = {record.key: record.value for record in read_topic(connection, "snapshots")}
    return {key for key, value in last.items() if value is not None}


def needed(session: Session) -> set[bytes]:
    chunks = {snapshots.chunk_key(0, g.number, n) for g in session.past.chain for n in range(g.chunks)}
    return chunks | {b"0/manifest"}


async def grow(session: Session, generations: int) -> None:
    for _ in range(generations):
        fold(session)
        await session.snapshot()


def test_a_chain_comes_back_from_the_disk_from_the_topic_and_past_a_damaged_file(
    installation: Installation, tmp_path: Path
) -> None:
    connection = installation(ROOMY, partitions=1)

    async def run() -> None:
        first, empty = tmp_path / "first", tmp_path / "second"
        async with judging(connection, first, settings=ROOMY) as session:
            fold(session, rows=20_000, accounts=30_000)
            await session.snapshot()
            for _ in range(3):
                expected = fold(session, rows=20, accounts=30_000)
                await session.snapshot()
            assert len(session.past.chain) == 4
            sizes = [g.size for g in session.past.chain]
            assert max(sizes[1:]) < sizes[0] / 2
        for disk in (first, empty):
            async with judging(connection, disk, settings=ROOMY) as session:
                assert state(session) == expected
                assert len(list(disk.glob("0.*.snapshot"))) == 4
        for path in sorted(empty.iterdir())[1:3]:
            raw = bytearray(path.read_bytes())
            raw[len(raw) // 2] ^= 1
            path.write_bytes(raw)
        min(empty.iterdir()).unlink()
        async with judging(connection, empty, settings=ROOMY) as session:
            assert state(session) == expected
            expected = fold(session, rows=20, accounts=30_000)  # and the chain goes on
            await session.snapshot()
            assert len(session.past.chain) == 5
        async with judging(connection, first, settings=ROOMY) as session:
            assert state(session) == expected

    asyncio.run(run())
    assert not list(tmp_path.glob("*/*.part"))


def test_an_upload_that_ends_anywhere_leaves_the_older_state_and_no_chunk_for_ever(
    installation: Installation, tmp_path: Path
) -> None:
    connection = installation(TIGHT, partitions=1)

    async def run() -> None:
        async with judging(connection, tmp_path / "0") as session:
            expected = fold(session, rows=6_000)
            await session.snapshot()
        for steps in range(4):
            async with judging(connection, tmp_path / f"{steps}") as session:
                assert state(session) == expected
                fold(session)
                number = session.past.chain[-1].number + steps + 1
                part = tmp_path / f"{steps}" / f"0.{number}.part"
                written = await session.past.write(session.judge, part, whole=True)
                if steps > 0:
                    stale = Stale(generation=number, chunks=chunk_count(written.size))
                    await session._note(stale=(*session.progress.stale, stale))
                if steps > 1:
                    await snapshots.upload(written, partition=0, number=number, transact=session._send_all)
        async with judging(connection, tmp_path / "0") as session:
            assert state(session) == expected
            expected = fold(session)
            await session.snapshot()
            assert await asyncio.to_thread(alive, connection) == needed(session)
        async with judging(connection, tmp_path / "empty") as session:
            assert state(session) == expected

    asyncio.run(run())


def hurry(connection: Connection) -> None:
    """Let the broker compact the topic of snapshots at once."""
    hasty = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "1"}
    topic = connection.topic("snapshots")
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=connection.bootstrap.split(","))) as admin:
        brokers = [str(broker["broker_id"]) for broker in admin.describe_cluster()["brokers"]]
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic, configs=hasty | {"delete.retention.ms": "1"})]
        asked += [
            ConfigResource(ConfigResourceType.BROKER, broker, configs={"log.cleaner.backoff.ms": "100"})
            for broker in brokers
        ]
        for resource in asked:
            admin.alter_configs([resource])


def test_compaction_takes_what_no_manifest_needs_and_nothing_else(installation: Installation, tmp_path: Path) -> None:
    connection = installation(TIGHT, partitions=1)
    hurry(connection)

    async def run() -> None:
        async with judging(connection, tmp_path / "first") as session:
            # Each turn another part of the accounts: chains are whole again and again.
            await grow(session, 5)
            for _ in range(60):
                expected = fold(session, rows=5)
                await session.snapshot()
                await asyncio.sleep(1)
                records = await asyncio.to_thread(read_topic, connection, "snapshots")
                if sum(r.value is not None for r in records) < session.past.chain[-1].number:
                    break
            else:
                pytest.fail("the broker did not compact the topic")
            assert await asyncio.to_thread(alive, connection) == needed(session)
        async with judging(connection, tmp_path / "empty") as session:
            assert state(session) == expected

    asyncio.run(run())


def test_a_topic_that_lacks_what_its_manifest_names_stops_the_successor_with_the_place(
    installation: Installation, tmp_path: Path
) -> None:
    connection = installation(TIGHT, partitions=1)

    async def write(session: Session, manifest: snapshots.Manifest) -> SnapshotPlace:
        async with session._lock, session._transaction():
            (at,) = await session._send([snapshots.manifest_message(manifest, partition=0)])
        return SnapshotPlace(generation=1, manifest_offset=at)

    async def run() -> None:
        async with judging(connection, tmp_path / "first") as session:
            await grow(session, 1)
            (made,) = session.past.chain
            whole = snapshots.Manifest(version=snapshots.VERSION, frame_offset=session.next_offset, chain=(made,))

            def with_chain(**more: object) -> snapshots.Manifest:
                return msgspec.structs.replace(whole, chain=(msgspec.structs.replace(made, **more),))

            for wrong, said in (
                (with_chain(chunks=made.chunks + 1), "has its first 1 of 2 chunks, then one is missing"),
                (with_chain(digest="00" * 16), "has other bytes than its manifest says"),
                (with_chain(number=9), "generation 9 from offset 0 has its first 0 of 1 chunks"),
                (msgspec.structs.replace(whole, version=1), "has version 1, this program reads 2"),
            ):
                there = await write(session, wrong)
                with pytest.raises(SnapshotError, match=said):
                    await snapshots.fetch(connection, 0, there, tmp_path / "empty")
            await snapshots.fetch(connection, 0, await write(session, whole), tmp_path / "empty")

    asyncio.run(run())
