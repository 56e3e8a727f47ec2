"""The judge worker: frames in, alerts, decisions and snapshots out, one session for each tenant that is ours.

Purpose: tie sessions to the partitions that the consumer group gives us.
Invariants: a session is recovered before its first batch; a batch that does not join is
read again from where the session stands; a fenced or broken session is dropped and
recovered, never continued. What the log no longer has stops the worker with an error.
Limits: sessions of one worker share one thread.
Source: the design's sections on state and recovery.
"""

import asyncio
import logging
import time
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from detector.config import Settings
from detector.panes import GapError
from detector.runtime.kafka.application import Acknowledge, Application
from detector.runtime.kafka.batches import Batch
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.recovery import recover
from detector.runtime.kafka.session import Place, ReplacedError, Session
from detector.runtime.kafka.tally import Tally
from detector.runtime.kafka.topics import tenants_of
from detector.snapshot import SnapshotError

log = logging.getLogger("stillwatch.judge")

WATCH_S: Final = 0.1
SNAPSHOT_FAILURES_MAX: Final = 3
# Small frames fold in less than a millisecond. Were each followed by a batch of encode's in the same process, an
# operator's order would wait for as many of these as frames stand before it.
TURN_S: Final = 0.02


class JudgeRole:
    """The judges of this worker."""

    name: Final = "judge"

    def __init__(self, connection: Connection, settings: Settings, *, key: bytes, tally: Tally) -> None:
        """Build; nothing connects before `start`."""
        self.connection, self.settings, self.key, self.tally = connection, settings, key, tally
        self.tenants = tenants_of(settings)
        self.sessions: dict[int, Session] = {}
        self.failures = 0
        self._watch: asyncio.Task[None] | None = None
        self.application = Application(
            self.name, ("frames",), connection, tally=tally, work=self._work, assigned=self._assigned
        )

    async def start(self) -> None:
        """Join the group."""
        await self.application.start()
        self._watch = asyncio.create_task(self._watching(), name="stillwatch-judge-watch")

    async def stop(self) -> None:
        """Leave the group; what was published stays, what was not is made again by the next judge."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self.application.stop()
        await self._drop(list(self.sessions))

    async def wait_failed(self) -> BaseException:
        """Wait for what ends this role; returns it."""
        crashed = asyncio.create_task(self.application.wait_crashed())
        watched = [task for task in (crashed, self._watch) if task is not None]
        done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if crashed in done:
            return crashed.result()
        crashed.cancel()
        return done.pop().exception() or RuntimeError("the judge's watch ended by itself")

    # --- partitions ------------------------------------------------------------

    async def _assigned(self, partitions: frozenset[int]) -> None:
        """Keep the sessions that stay ours: nobody else can have judged between two assignments in a row."""
        await self._drop([p for p in self.sessions if p not in partitions])
        for session in self.sessions.values():
            session.unacknowledged.clear()  # frames come again from the committed offset
            session.sought = False

    async def _drop(self, partitions: list[int]) -> None:
        for partition in partitions:
            session = self.sessions.pop(partition, None)
            if session is not None:
                await session.close()

    async def _session(self, batch: Batch) -> Session | None:
        """The session of a batch's partition, recovered if need be; None when the batch does not join it yet."""
        session = self.sessions.get(batch.partition)
        if session is not None and session.broken:
            await self._drop([batch.partition])
            session = None
        if session is None:
            place = Place(
                tenant=self.tenants[batch.partition],
                partition=batch.partition,
                settings=self.settings,
                key=self.key,
                connection=self.connection,
                tally=self.tally,
            )
            session = self.sessions[batch.partition] = await recover(place, first=batch.first)
        if batch.first <= session.next_offset:
            return session
        if not session.sought:
            await self._seek_back(batch, session)
        return None

    async def _seek_back(self, batch: Batch, session: Session) -> None:
        tp = TopicPartition(self.application.topics[0], batch.partition)
        start = (await self.application.consumer.log_starts(tp))[tp]
        if start > session.next_offset:
            raise GapError(
                f"{tp.topic}/{tp.partition} begins at {start}, the state ends at {session.next_offset}: frames are "
                "missing; keep frames longer than snapshots are apart, and start this tenant from an empty state"
            )
        session.sought = True
        await self.application.consumer.seek_back(tp, session.next_offset)

    # --- batches ---------------------------------------------------------------

    async def _work(self, batch: Batch, acknowledge: Acknowledge) -> None:
        if batch.partition >= len(self.tenants):
            await acknowledge()  # the topic has more partitions than there are tenants
            return
        session = await self._session(batch)
        if session is None:
            return
        session.sought = False
        turn_s = time.monotonic()
        for record in batch.records:
            session.fold(record)
            if session.urgent:
                await self._guarded(session)
            if time.monotonic() - turn_s > TURN_S:
                await asyncio.sleep(0)  # the watch, other roles and probes get their turn
                turn_s = time.monotonic()
        session.finish(batch, acknowledge)
        await self._guarded(session)

    async def _guarded(self, session: Session) -> None:
        """Publish and snapshot what is due; a fenced session ends without harm."""
        if session.broken:
            return  # the next batch recovers
        if not session.recovering:
            session.settle(session.next_offset)
        try:
            if session.pending or session.progress_due():
                await session.publish()
        except ReplacedError as wrong:
            log.warning("%s", wrong, extra={"action": "judge.replaced"})
            return
        if session.snapshot_due():
            session.snapshotting = asyncio.create_task(self._snapshot(session))

    async def _snapshot(self, session: Session) -> None:
        try:
            await session.snapshot()
        except ReplacedError as wrong:
            log.warning("%s", wrong, extra={"action": "judge.replaced"})
        except (SnapshotError, KafkaError, OSError) as wrong:
            self.failures += 1
            at = {"action": "snapshot.failed", "partition": session.place.partition}
            log.error("snapshot failed: %s", wrong, extra=at)  # noqa: TRY400 - no trace
        else:
            self.failures, session.durable_s = 0, time.monotonic()

    async def _watching(self) -> None:
        """Publish progress and make snapshots also while no frames come."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self.failures >= SNAPSHOT_FAILURES_MAX:
                raise SnapshotError(f"{self.failures} snapshots in a row failed; frames cannot be acknowledged")
            for session in list(self.sessions.values()):
                await self._guarded(session)
