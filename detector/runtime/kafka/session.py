"""One tenant's judge while this worker has its partition: fold, publish, snapshot, recover.

Purpose: exactly-once outputs over an at-least-once log of frames.
Invariants: a frame is folded once; what it made is published in one transaction together
with the progress record that says so, or not at all; after a recovery frames before that
record are folded silently. Only a durable snapshot acknowledges frames. A predecessor
that wakes up is fenced before the progress record is read.
Limits: one transaction and one snapshot at a time.
Source: Kafka's transactions (KIP-98, KIP-447 for why a fixed id is enough here).
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, ProducerFenced

from detector import __version__
from detector.cases import Output
from detector.config import Settings, config_hash
from detector.frames import OPERATOR_MAGIC, FrameError, unwire, unwire_operators
from detector.judge import Judge
from detector.panes import NEVER, GapError
from detector.records import DetectorError
from detector.runtime.kafka import snapshots
from detector.runtime.kafka.application import Acknowledge
from detector.runtime.kafka.batches import Batch, Record
from detector.runtime.kafka.clients import last_record, make_producer, partitions_of
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encoding import source_of
from detector.runtime.kafka.markers import MARKER_MAGIC, unwire_marker
from detector.runtime.kafka.publishing import (
    Message,
    Progress,
    SnapshotPlace,
    SourcePlace,
    messages_of,
    progress_message,
    read_progress,
)
from detector.snapshot import restore

log = logging.getLogger("stillwatch.judge")

# A transaction carries as many chunks of a snapshot as a second's outputs can wait for.
CHUNKS_PER_TRANSACTION: Final = 8
TOMBSTONES_PER_TRANSACTION: Final = 1_000


class ReplacedError(DetectorError):
    """This session has ended: another judge has taken over, or a transaction of it failed."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which tenant, on which partition of the frames, with which settings and key."""

    tenant: str
    partition: int
    settings: Settings
    key: bytes
    connection: Connection

    @property
    def local(self) -> Path:
        """The local copy of the newest snapshot."""
        return Path(self.connection.state_directory) / f"{self.partition}.snapshot"


def fold(judge: Judge, raw: bytes) -> tuple[str, bool]:
    """Give one record of the frames topic to the judge: what it is stands in its first bytes.

    Returns its source, and whether it only follows other sources' clocks.

    Raises `FrameError` for other bytes or versions, `GapError` where records are missing.
    """
    if raw[:4] == OPERATOR_MAGIC:
        orders = unwire_operators(raw)
        judge.operate(orders)
        return orders.source, False
    if raw[:4] != MARKER_MAGIC:
        frame = unwire(raw)
        judge.apply(frame)
        return frame.source, False
    marker = unwire_marker(raw)
    source = judge.buffer.sources.get(marker.source)
    if source is None or 0 <= source.stop < marker.position:
        raise GapError(f"marker {marker} does not join its source, which ends at {source.stop if source else None}")
    if marker.kind != "end":
        judge.tick(marker.source, marker.time_ms)
    elif not source.ended:
        judge.end(marker.source)
    return marker.source, marker.kind == "follow"


class Session:
    """A judge and its transactional producer."""

    def __init__(self, place: Place, producer: AIOKafkaProducer, judge: Judge, *, progress: Progress) -> None:
        """Continue where `progress` says; the judge stands at its snapshot."""
        self.place, self.producer, self.judge = place, producer, judge
        self.progress = progress
        self.next_offset = progress.frame_offset
        self.published = progress.frame_offset  # outputs of frames before this are out already
        self.pending: list[tuple[int, Output]] = []
        self.unacknowledged: list[tuple[int, Acknowledge]] = []
        self.sought = False
        self.following: frozenset[str] = frozenset()
        self.refused: Counter[str] = Counter()
        self.snapshot_s = self.progress_s = time.monotonic()
        self.snapshot_offset = -1
        self.broken = False
        self._lock = asyncio.Lock()
        self.snapshotting: asyncio.Task[None] | None = None

    # --- folding ---------------------------------------------------------------

    def fold(self, record: Record) -> None:
        """Fold one record of the frames topic; one that was folded before is skipped."""
        if record.offset < self.next_offset:
            return
        try:
            source, follows = fold(self.judge, record.value or b"")
        except (FrameError, GapError) as wrong:
            at = f"{self.place.connection.topic('frames')}/{self.place.partition} at {record.offset}"
            raise type(wrong)(f"{at}: {wrong}") from wrong
        self.next_offset = record.offset + 1
        self.following = self.following | {source} if follows else self.following - {source}
        refused = Counter(row.reason for row in self.judge.take_refused())
        if refused:
            self.refused += refused
            log.warning("partition %d: rows refused so far: %s", self.place.partition, dict(self.refused))
        for output in self.judge.take_outputs():
            if record.offset >= self.published:
                self.pending.append((record.offset, output))

    def finish(self, batch: Batch, acknowledge: Acknowledge) -> None:
        """A batch is folded: remember how to acknowledge it, and let its bytes go."""
        batch.records.clear()
        self.next_offset = max(self.next_offset, batch.stop)
        self.unacknowledged.append((batch.stop, acknowledge))

    # --- publishing ------------------------------------------------------------

    def _progress(self) -> Progress:
        buffer = self.judge.buffer
        sources = {
            name: SourcePlace(
                position=s.stop,
                time_ms=s.max_ms if s.max_ms > NEVER else None,
                ended=s.ended,
                follows=name in self.following,
            )
            for name, s in buffer.sources.items()
        }
        return msgspec.structs.replace(
            self.progress,
            frame_offset=max(self.next_offset, self.published),
            pane_end_ms=buffer.closed_ms if buffer.closed_ms > NEVER else None,
            sources=sources,
        )

    @property
    def recovering(self) -> bool:
        """Whether frames are still folded silently."""
        return self.next_offset < self.published

    async def publish(self) -> None:
        """Publish what is pending together with the progress, in one transaction."""
        async with self._lock:
            if self.recovering:
                return
            made, self.pending = self.pending, []
            partition = self.place.partition
            messages = [m for at, o in made for m in messages_of(o, frame_partition=partition, frame_offset=at)]
            progress = self._progress()
            await self._transact([*messages, progress_message(progress, partition=partition)])
            self.progress, self.published = progress, progress.frame_offset
            self.progress_s = time.monotonic()

    def progress_due(self) -> bool:
        """Whether the others should hear how far we are."""
        due = time.monotonic() - self.progress_s >= self.place.connection.progress_interval_ms / 1000
        return due and not self.recovering and not self.broken and self.next_offset > self.published

    async def _transact(self, messages: list[Message]) -> list[int]:
        """Send messages in one transaction; returns their offsets."""
        async with self._transaction():
            return await self._send(messages)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        """One transaction; whatever stops it ends the session. Raises `ReplacedError` where that has ended."""
        if self.broken:
            raise ReplacedError(f"partition {self.place.partition}: this judge's session has ended")
        try:
            await self.producer.begin_transaction()
            yield
            await self.producer.commit_transaction()
        # Fenced between two messages the producer says that the second one comes outside of a transaction.
        except (ProducerFenced, IllegalOperation) as wrong:
            self.broken = True
            raise ReplacedError(f"partition {self.place.partition}: another judge has taken over") from wrong
        except BaseException:
            self.broken = True
            raise

    async def _send(self, messages: list[Message]) -> list[int]:
        connection, own = self.place.connection, ("progress", "snapshots")
        futures = [
            await self.producer.send(
                connection.topic(m.topic),
                key=m.key,
                value=m.value,
                headers=m.headers,
                partition=self.place.partition if m.topic in own else None,
            )
            for m in messages
        ]
        return [sent.offset for sent in await asyncio.gather(*futures)]

    # --- snapshots -------------------------------------------------------------

    def snapshot_due(self) -> bool:
        """Whether it is time for a snapshot, there is something new, and none is being made."""
        due = time.monotonic() - self.snapshot_s >= self.place.connection.snapshot_interval_ms / 1000
        busy = self.snapshotting is not None and not self.snapshotting.done()
        return due and not busy and not self.recovering and self.next_offset > self.snapshot_offset

    async def snapshot(self) -> None:
        """Make the state of this moment durable, then acknowledge the frames that it holds."""
        self.snapshot_s = begun_s = time.monotonic()
        held = self.progress.snapshot
        generation = held.generation + 1 if held else 1
        part = self.place.local.with_suffix(f".{generation}.part")
        # What was made by frames in the snapshot must be out: a successor does not make it again.
        while self.pending:
            await self.publish()
        offset = self.next_offset
        await snapshots.write_beside(self.judge, part, key=self.place.key)  # forks before it waits
        written_s = time.monotonic()
        manifest = await asyncio.to_thread(snapshots.manifest_of, part, generation=generation, frame_offset=offset)
        if held is not None:
            await self._forget(held.generation - 1, held.chunks_before)
        first = await self._upload(part, generation)
        await self._conclude(manifest, first, held)
        part.replace(self.place.local)
        self.snapshot_offset = offset
        ready = [(stop, acknowledge) for stop, acknowledge in self.unacknowledged if stop <= offset]
        self.unacknowledged = [(stop, acknowledge) for stop, acknowledge in self.unacknowledged if stop > offset]
        for _, acknowledge in ready:
            await acknowledge()
        log.info(
            "snapshot %d of partition %d: %d bytes, written in %.2f s, durable in %.2f s",
            *(generation, self.place.partition, manifest.size, written_s - begun_s, time.monotonic() - begun_s),
        )
        if held is not None:
            await self._forget(held.generation, held.chunks)

    async def _upload(self, part: Path, generation: int) -> int:
        first, held = -1, []
        for number, chunk in enumerate(snapshots.chunks_of(part)):
            held.append(Message("snapshots", snapshots.chunk_key(self.place.partition, generation, number), chunk, []))
            if len(held) == CHUNKS_PER_TRANSACTION:
                first, held = await self._upload_some(held, first), []
        return await self._upload_some(held, first) if held else first

    async def _upload_some(self, held: list[Message], first: int) -> int:
        async with self._lock:
            offsets = await self._transact(held)
        return offsets[0] if first < 0 else first

    async def _conclude(self, manifest: snapshots.Manifest, first: int, held: SnapshotPlace | None) -> None:
        """Write the manifest and the progress record that names it, in one transaction."""
        partition = self.place.partition
        message = Message("snapshots", snapshots.manifest_key(partition), msgspec.json.encode(manifest), [])
        async with self._lock:
            async with self._transaction():
                (at,) = await self._send([message])
                named = SnapshotPlace(
                    generation=manifest.generation,
                    first_offset=first,
                    manifest_offset=at,
                    chunks=manifest.chunks,
                    chunks_before=held.chunks if held else 0,
                )
                # What is pending is not out: the frame offset of the last publication stays.
                progress = msgspec.structs.replace(self.progress, snapshot=named)
                await self._send([progress_message(progress, partition=partition)])
            self.progress = progress

    async def _forget(self, generation: int, chunks: int) -> None:
        """Let compaction take the chunks of an older generation."""
        keys = [snapshots.chunk_key(self.place.partition, generation, number) for number in range(chunks)]
        for at in range(0, len(keys), TOMBSTONES_PER_TRANSACTION):
            held = keys[at : at + TOMBSTONES_PER_TRANSACTION]
            async with self._lock:
                await self._transact([Message("snapshots", key, None, []) for key in held])

    async def close(self) -> None:
        """Give up the producer; what is not committed is aborted by whoever comes next."""
        task, self.snapshotting = self.snapshotting, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.producer.stop()


async def recover(place: Place, *, first: int) -> Session:
    """Take over a tenant: fence the predecessor, read how far it published, restore its snapshot.

    `first` is where the frames begin for a tenant that nobody has judged yet.
    Raises `SnapshotError` and `ProgressError` for state that this program cannot continue.
    """
    producer = make_producer(place.connection, transactional_id=f"{place.connection.group}-judge-{place.partition}")
    await producer.start()
    try:
        await producer.begin_transaction()  # asks for the producer's epoch, which fences whoever had it
        await producer.abort_transaction()
        record = await last_record(place.connection, "progress", place.partition)
        progress = read_progress(record.value) if record is not None and record.value else await _begin(place, first)
        begun_s = time.monotonic()
        if progress.snapshot is None:
            judge = Judge(place.tenant, tuple(progress.sources), place.settings)
            offset = progress.origin
        else:
            manifest, data = await snapshots.fetch(place.connection, place.partition, progress.snapshot, place.local)
            judge = restore(data, settings=place.settings, key=place.key)
            offset = manifest.frame_offset
    except BaseException:
        await producer.stop()
        raise
    session = Session(place, producer, judge, progress=progress)
    session.next_offset = session.snapshot_offset = offset
    log.info(
        "partition %d: state of frame %d in %.2f s, published up to %d",
        *(place.partition, offset, time.monotonic() - begun_s, progress.frame_offset),
    )
    return session


async def _begin(place: Place, first: int) -> Progress:
    partitions = await partitions_of(place.connection, "access")
    return Progress(
        tenant=place.tenant,
        origin=first,
        frame_offset=first,
        pane_end_ms=None,
        sources={source_of(p): SourcePlace(position=-1) for p in partitions},
        config_hash=config_hash(place.settings),
        version=__version__,
    )
