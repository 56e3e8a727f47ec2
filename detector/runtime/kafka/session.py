"""One tenant's judge while this worker has its partition: fold, publish, snapshot.

Purpose: exactly-once outputs over an at-least-once log of frames.
Invariants: a frame is folded once; what it made is published in one transaction together
with the progress record that says so, or not at all; after a recovery frames before that
record are folded silently. Only a durable snapshot acknowledges frames.
Settings other than those of the state are adopted between two frames, once; the progress
record says before which one, so that a later recovery folds every frame as it was judged.
Limits: one transaction and one snapshot at a time.
Source: Kafka's transactions (KIP-98, KIP-447 for why a fixed id is enough here).
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, ProducerFenced

from detector.cases import Output
from detector.config import Settings, config_hash
from detector.frames import OPERATOR_MAGIC, FrameError, unwire, unwire_operators
from detector.judge import Judge
from detector.panes import NEVER, GapError
from detector.records import DetectorError
from detector.runtime.kafka import snapshots
from detector.runtime.kafka.application import Acknowledge
from detector.runtime.kafka.batches import Batch, Record
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.generations import Generation, Past, chunk_count, forget_files
from detector.runtime.kafka.markers import MARKER_MAGIC, unwire_marker
from detector.runtime.kafka.publishing import (
    Adopted,
    Message,
    Progress,
    SnapshotPlace,
    SourcePlace,
    Stale,
    messages_of,
    progress_message,
)
from detector.runtime.kafka.tally import Tally
from detector.runtime.spill_files import SpillFiles

log = logging.getLogger("stillwatch.judge")


class ReplacedError(DetectorError):
    """This session has ended: another judge has taken over, or a transaction of it failed."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which tenant, on which partition of the frames, with which settings and key."""

    tenant: str
    partition: int
    settings: Settings
    key: bytes
    connection: Connection
    tally: Tally

    @property
    def directory(self) -> Path:
        """Where local copies of snapshots are, and rows that memory should not hold."""
        return Path(self.connection.state_directory)


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

    def __init__(
        self,
        place: Place,
        producer: AIOKafkaProducer,
        judge: Judge,
        *,
        progress: Progress,
        past: Past,
        store: SpillFiles,
    ) -> None:
        """Continue where `progress` says; the judge stands at its snapshot, which `past` describes."""
        self.place, self.producer, self.judge = place, producer, judge
        self.progress, self.past, self.store = progress, past, store
        self.next_offset = progress.frame_offset
        self.published = progress.frame_offset  # outputs of frames before this are out already
        self.pending: list[tuple[int, Output]] = []
        self.urgent = False  # an operator waits for what is pending
        self.adopting = list(progress.adopted)
        self.unacknowledged: list[tuple[int, Acknowledge]] = []
        self.sought = False
        self.following: frozenset[str] = frozenset()
        self.forced = judge.buffer.forced
        self.snapshot_s = self.progress_s = self.durable_s = self.made_s = time.monotonic()
        judge.ask = place.tally.ask
        self.snapshot_offset = -1
        self.broken = False
        self._lock = asyncio.Lock()
        self.snapshotting: asyncio.Task[None] | None = None

    # --- folding ---------------------------------------------------------------

    def fold(self, record: Record) -> None:
        """Fold one record of the frames topic; one that was folded before is skipped."""
        if record.offset < self.next_offset:
            return
        self.settle(record.offset)
        raw = record.value or b""
        try:
            source, follows = fold(self.judge, raw)
        except (FrameError, GapError) as wrong:
            at = f"{self.place.connection.topic('frames')}/{self.place.partition} at {record.offset}"
            raise type(wrong)(f"{at}: {wrong}") from wrong
        self.next_offset = record.offset + 1
        self.following = self.following | {source} if follows else self.following - {source}
        if self.judge.buffer.forced > self.forced:
            self.forced = self.judge.buffer.forced
            forced = {"action": "panes.forced", "partition": self.place.partition}
            log.warning("%d panes closed before their time", self.forced, extra=forced)
        refused = self.judge.take_refused()
        if refused:
            self.place.tally.refuse(refused)
            log.warning("rows refused so far: %s", dict(self.place.tally.refused), extra={"action": "rows.refused"})
        self._collect(record.offset)
        self.urgent |= bool(self.pending) and raw[:4] == OPERATOR_MAGIC

    def _collect(self, offset: int) -> None:
        made = self.judge.take_outputs()
        if offset >= self.published:
            self.made_s = self.made_s if self.pending else time.monotonic()
            self.pending += [(offset, output) for output in made]

    def settle(self, offset: int) -> None:
        """Change to the settings that hold from before the frame at `offset`: those of old, then our own."""
        while self.adopting and self.adopting[0].frame_offset <= offset:
            self.judge.adopt(self.adopting.pop(0).settings)
            self.judge.take_outputs()  # published with the record that says so
        if self.judge.settings != self.place.settings and offset >= self.published:
            step = Adopted(frame_offset=offset, settings=self.place.settings)
            self.progress = msgspec.structs.replace(self.progress, adopted=(*self.progress.adopted, step))
            at = {"partition": self.place.partition, "offset": offset}
            log.info("other settings from this frame on", extra={"action": "settings.adopted", **at})
            self.judge.adopt(step.settings)
            self._collect(offset)
            self.urgent = bool(self.pending)

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
            made, self.pending, self.urgent, made_s = self.pending, [], False, self.made_s
            partition = self.place.partition
            form = self.place.connection.alert_format
            messages = [
                m for at, o in made for m in messages_of(o, frame_partition=partition, frame_offset=at, form=form)
            ]
            progress = self._progress()
            await self._transact([*messages, progress_message(progress, partition=partition)])
            self.progress, self.published = progress, progress.frame_offset
            self.progress_s = time.monotonic()
            self.place.tally.publish(made, partition=partition, seconds=self.progress_s - made_s)

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
        partition, directory = self.place.partition, self.place.directory
        stale, whole = self.progress.stale, self.past.whole_due()
        number = 1 + max((*(g.number for g in self.past.chain), *(old.generation for old in stale)), default=0)
        # What was made by frames in the snapshot must be out: a successor does not make it again.
        while self.pending:
            await self.publish()
        offset = self.next_offset
        part = directory / f"{partition}.{number}.{os.getpid()}.part"
        written = await self.past.write(self.judge, part, whole=whole)  # forks before it waits
        written_s = time.monotonic()
        await snapshots.forget(stale, partition=partition, transact=self._send_all)
        chunks = chunk_count(written.size)
        await self._note(stale=(Stale(generation=number, chunks=chunks),))
        first = await snapshots.upload(written, partition=partition, number=number, transact=self._send_all)
        made = Generation(number=number, first_offset=first, chunks=chunks, size=written.size, digest=written.digest)
        gone = await self._conclude(made, offset, whole=whole)
        part.replace(snapshots.local_path(directory, partition, number))
        kept = {snapshots.local_path(directory, partition, g.number) for g in self.past.chain}
        await asyncio.to_thread(forget_files, directory, partition, but=kept)
        self.snapshot_offset = offset
        ready = [(stop, acknowledge) for stop, acknowledge in self.unacknowledged if stop <= offset]
        self.unacknowledged = [(stop, acknowledge) for stop, acknowledge in self.unacknowledged if stop > offset]
        for _, acknowledge in ready:
            await acknowledge()
        said = (number, ", whole" if whole else "", made.size, written_s - begun_s, time.monotonic() - begun_s)
        at = {"action": "snapshot.durable", "partition": partition, "offset": offset}
        log.info("snapshot %d%s: %d bytes, written in %.2f s, durable in %.2f s", *said, extra=at)
        await snapshots.forget(gone, partition=partition, transact=self._send_all)
        await self._note(stale=())

    async def _send_all(self, messages: list[Message]) -> list[int]:
        async with self._lock:
            return await self._transact(messages)

    async def _note(self, *, stale: tuple[Stale, ...]) -> None:
        """Write down which generations' chunks nobody may need: whoever takes over forgets them."""
        async with self._lock:
            # What is pending is not out: the frame offset of the last publication stays.
            progress = msgspec.structs.replace(self.progress, stale=stale)
            await self._transact([progress_message(progress, partition=self.place.partition)])
            self.progress = progress

    async def _conclude(self, made: Generation, offset: int, *, whole: bool) -> tuple[Stale, ...]:
        """Write the manifest and the progress record that names it, in one transaction; returns what is stale now."""
        partition = self.place.partition
        chain = (made,) if whole else (*self.past.chain, made)
        manifest = snapshots.Manifest(version=snapshots.VERSION, frame_offset=offset, chain=chain)
        async with self._lock:
            async with self._transaction():
                (at,) = await self._send([snapshots.manifest_message(manifest, partition=partition)])
                gone = tuple(Stale(generation=g.number, chunks=g.chunks) for g in self.past.chain if whole)
                named = SnapshotPlace(generation=made.number, manifest_offset=at)
                # A snapshot is made under our own settings: what changed before is behind it.
                settled = {"settings": self.place.settings, "config_hash": config_hash(self.place.settings)}
                progress = msgspec.structs.replace(self.progress, snapshot=named, stale=gone, adopted=(), **settled)
                await self._send([progress_message(progress, partition=partition)])
            self.progress = progress
            self.past.keep(made, whole=whole)
        return gone

    async def close(self) -> None:
        """Give up the producer; what is not committed is aborted by whoever comes next."""
        task, self.snapshotting = self.snapshotting, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.producer.stop()
        self.store.close()
