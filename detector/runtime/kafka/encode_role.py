"""The encode worker: access records in, frames, markers and dead letters out.

Purpose: feed the judge's log: every range to every tenant, ticks for quiet partitions, and
no partition far ahead of the others, none far ahead of a judge.
Invariants: a batch is acknowledged when everything that it became is durable, in order. A
tick is written only when all that the partition's log holds was sent before it. A tick
never overtakes what may still come: a partition's clock goes on at the pace of the wall
clock, `idle_ms` behind; one that holds no event follows the slowest of the others.
Limits: `IN_FLIGHT` batches are sent and not yet durable.
Source: the design's laws on time and on uneven partitions.
"""

import asyncio
import logging
import time
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from detector.config import Settings
from detector.runtime.kafka import markers
from detector.runtime.kafka.application import Acknowledge, Application
from detector.runtime.kafka.batches import Batch
from detector.runtime.kafka.clients import ReadError, make_producer, make_reader, partitions_of, read_stretch
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encoding import APPENDED, NO_TIME, Options, Range, encode_batch, reason_of, source_of
from detector.runtime.kafka.orders_feed import OrdersFeed
from detector.runtime.kafka.publishing import Progress, read_progress
from detector.runtime.kafka.tally import Tally
from detector.runtime.kafka.topics import tenants_of

log = logging.getLogger("stillwatch.encode")

IN_FLIGHT: Final = 8
TICK_EVERY_S: Final = 1.0
ALIGN_EVERY_S: Final = 0.2
FINISH_S: Final = 3.0
TAIL_RECORDS: Final = 64
STALLED_S: Final = 15.0
LINGER_MS: Final = 200


class Clock(NamedTuple):
    """What was sent of a partition: up to where, its latest event time, when its last record was appended (ms)."""

    stop: int
    last_ms: int
    ingest_ms: int


class Heard(NamedTuple):
    """What the other sources' slowest clock was, and when we asked (epoch ms, our clock)."""

    at_ms: int
    time_ms: int


class EncodeRole:
    """The encoding of this worker's partitions."""

    name: Final = "encode"

    def __init__(self, connection: Connection, settings: Settings, *, key: bytes, tally: Tally) -> None:
        """Build; nothing connects before `start`."""
        self.connection, self.pane_ms, self.tally = connection, settings.pane_ms, tally
        self.options = Options(
            topic=connection.topic("access"),
            tenants=tenants_of(settings),
            key=key,
            skew_ms_max=settings.skew_ms_max,
            keep_content=connection.dead_letter_content,
        )
        self.clocks: dict[int, Clock] = {}
        self.begun: dict[int, int] = {}  # the first offset of each partition that was sent from here
        self.ended: set[int] = set()
        self.ticked: dict[tuple[int, int], int] = {}  # (partition, tenant) -> the last tick's time
        self.heard: dict[int, Heard] = {}
        self.advanced: dict[int, int] = {}  # how far ticks took the clocks of partitions that hold events
        self.progress: dict[int, Progress] = {}
        self.recalled: set[int] = set()
        self.stamped: tuple[int, float] | None = None  # the broker's clock (ms) when ours (monotonic, s) was this
        self.sent = self.dead = 0
        self.unfinished, self.finished_s = 0, 0.0  # batches that are not durable, and when one last became so
        self._producer: AIOKafkaProducer | None = None
        self._durable: asyncio.Queue[tuple[list[asyncio.Future[Any]], Acknowledge]] = asyncio.Queue(IN_FLIGHT)
        self._tasks: list[asyncio.Task[None]] = []
        self.orders = OrdersFeed(connection, self.options, tally=tally)
        self.application = Application(
            self.name,
            ("access",),
            connection,
            tally=tally,
            work=self._work,
            assigned=self._assigned,
            linger_ms=LINGER_MS,
        )

    @property
    def producer(self) -> AIOKafkaProducer:
        """The producer, once started."""
        assert self._producer is not None
        return self._producer

    async def start(self) -> None:
        """Join the group."""
        self._producer = make_producer(self.connection)
        await self._producer.start()
        self._tasks = [asyncio.create_task(self._acknowledging())]
        await self.application.start()
        await self.orders.start()
        self._tasks += [asyncio.create_task(c) for c in (self._ticking(), self._aligning(), self._following())]

    async def stop(self) -> None:
        """Finish what was begun, commit it, and leave the group."""
        if self.application.assignment() and not self.application.crashed:
            self.application.halt()
            await asyncio.wait([asyncio.create_task(self._durable.join())], timeout=FINISH_S)
        await asyncio.gather(self.application.stop(), self.orders.stop())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._producer is not None:
            await self._producer.stop()

    async def wait_failed(self) -> BaseException:
        """Wait for what ends this role; returns it."""
        crashing = [asyncio.create_task(a.wait_crashed()) for a in (self.application, self.orders.application)]
        done, _ = await asyncio.wait([*crashing, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        crashed = [task.result() for task in crashing if task in done]
        for task in crashing:
            task.cancel()
        return crashed[0] if crashed else done.pop().exception() or RuntimeError("a task of encode ended by itself")

    @property
    def producing(self) -> bool:
        """Whether what is sent becomes durable: with brokers away it does not."""
        stalled = self.unfinished > 0 and time.monotonic() - self.finished_s > STALLED_S
        return self._producer is not None and not stalled

    async def _assigned(self, partitions: frozenset[int]) -> None:
        """Forget what is known of partitions: others may have sent of them meanwhile."""
        del partitions
        self.clocks.clear()
        self.begun.clear()
        self.ticked.clear()
        self.advanced.clear()
        self.heard.clear()
        self.ended.clear()
        self.recalled = set()

    # --- records ---------------------------------------------------------------

    async def _work(self, batch: Batch, acknowledge: Acknowledge) -> None:
        futures: list[asyncio.Future[Any]] = []
        ranges = encode_batch(batch, self.options)
        reasons = [reason_of(letter) for made in ranges for letter in made.dead]
        rows = len(batch.records) - len(reasons) - sum(made.ended for made in ranges)
        self.begun.setdefault(batch.partition, batch.first)
        for made in ranges:
            futures += await self._send(batch.partition, made)
            await asyncio.sleep(0)
        self.tally.encoded(source_of(batch.partition), rows=rows, reasons=reasons)
        batch.records.clear()
        self.finished_s = self.finished_s if self.unfinished else time.monotonic()
        self.unfinished += 1
        await self._durable.put((futures, acknowledge))

    async def _send(self, partition: int, made: Range) -> list[asyncio.Future[Any]]:
        before = self.clocks.get(partition, Clock(0, NO_TIME, -1))
        clock = Clock(made.stop, max(before.last_ms, made.last_ms), max(before.ingest_ms, made.ingest_ms))
        frames, letters = self.connection.topic("frames"), self.connection.topic("dead-letter")
        futures: list[asyncio.Future[Any]] = []
        for tenant, raws in enumerate(made.frames):
            quiet = self._quiet_tick(partition, tenant, clock, made)
            futures += [await self.producer.send(frames, raw, partition=tenant) for raw in [*raws, *quiet]]
        futures += [
            await self.producer.send(letters, letter.value, key=letter.key, headers=letter.headers)
            for letter in made.dead
        ]
        self.clocks[partition] = clock
        if made.ended:
            self.ended.add(partition)
        elif made.last_ms != NO_TIME:
            self.ended.discard(partition)  # somebody wrote an end too early
        self.sent += len(futures) - len(made.dead)
        self.dead += len(made.dead)
        return futures

    def _quiet_tick(self, partition: int, tenant: int, clock: Clock, made: Range) -> list[bytes]:
        """A tick for a tenant whose own events are rarer than the partition's, well behind those."""
        time_ms = clock.last_ms - self.connection.idle_ms
        if made.ended or clock.last_ms == NO_TIME or made.seen_ms[tenant] >= time_ms:
            return []
        if time_ms < self.ticked.get((partition, tenant), NO_TIME) + self.pane_ms:
            return []
        self.ticked[partition, tenant] = time_ms
        return [markers.tick(source_of(partition), position=made.stop, time_ms=time_ms)]

    async def _acknowledging(self) -> None:
        """Acknowledge batches in order, each when all of it is durable."""
        while True:
            futures, acknowledge = await self._durable.get()
            await asyncio.gather(*futures)
            await acknowledge()
            self.unfinished, self.finished_s = self.unfinished - 1, time.monotonic()
            self._durable.task_done()

    # --- time ------------------------------------------------------------------

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_EVERY_S)
            for tp in self.application.assignment():
                if not self._silent(tp):
                    self.heard.pop(tp.partition, None)
                    continue
                if tp.partition not in self.clocks and tp.partition not in self.recalled:
                    await self._recall(tp)
                clock = self.clocks.get(tp.partition)
                if clock is not None and clock.last_ms != NO_TIME and clock.ingest_ms >= 0:
                    await self._tick(tp.partition, self._own_time_ms(tp, clock), clock.stop, follows=False)
                else:
                    time_ms = self._followed_ms(tp)
                    if time_ms is not None:
                        await self._tick(tp.partition, time_ms, clock.stop if clock else 0, follows=True)

    async def _tick(self, partition: int, time_ms: int, position: int, *, follows: bool) -> None:
        for tenant in range(len(self.options.tenants)):
            # One that follows says so again and again: a judge that was restored must learn it too.
            if follows or time_ms > self.ticked.get((partition, tenant), NO_TIME):
                self.ticked[partition, tenant] = time_ms
                raw = markers.tick(source_of(partition), position=position, time_ms=time_ms, follows=follows)
                sent = await self.producer.send(self.connection.topic("frames"), raw, partition=tenant)
                sent.add_done_callback(self._stamp)

    def _stamp(self, sent: asyncio.Future[Any]) -> None:
        """Learn the broker's clock from when it appended: by the time that we hear of it, it is that late at least."""
        if sent.cancelled() or sent.exception() is not None:
            return
        found = sent.result()
        # A frames topic that is not stamped by its broker leaves us our own clock.
        time_ms = found.timestamp if found.timestamp_type == APPENDED else int(time.time() * 1000)
        self.stamped = (time_ms, time.monotonic())

    async def _recall(self, tp: TopicPartition) -> None:
        """Learn the clock of a partition that was read to its end before it came to us, from its last records."""
        recalled, stop = self.recalled, self.application.consumer.stop_of(tp) or 0
        try:
            first, records = await self._tail(tp, stop)
        except (KafkaError, ReadError) as wrong:
            log.warning("partition %d: its last records cannot be read yet: %s", tp.partition, wrong)
            return
        made = encode_batch(Batch(tp.partition, first, stop, records), self.options)
        # Whoever got the partition, or records of it, meanwhile knows better.
        if recalled is not self.recalled or tp.partition in self.clocks:
            return
        recalled.add(tp.partition)
        if made and not made[-1].ended:
            latest = max(part.last_ms for part in made)
            self.clocks[tp.partition] = Clock(stop, latest, made[-1].ingest_ms)

    async def _tail(self, tp: TopicPartition, stop: int) -> tuple[int, list[Any]]:
        """Read the last records before `stop`; also returns where they begin."""
        first = max((await self.application.consumer.log_starts(tp))[tp], stop - TAIL_RECORDS)
        if first >= stop:
            return first, []
        place = TopicPartition(tp.topic, tp.partition)  # not Faust's: aiokafka tells them apart
        async with make_reader(self.connection) as reader:
            return first, [r async for r in read_stretch(reader, place, first=first, stop=stop)]

    def _silent(self, tp: TopicPartition) -> bool:
        """Whether everything that the partition's log holds was read and sent."""
        if tp.partition in self.ended or not self._read_to_end(tp):
            return False
        clock = self.clocks.get(tp.partition)
        return clock is None or clock.stop == self.application.consumer.stop_of(tp)

    def _own_time_ms(self, tp: TopicPartition, clock: Clock) -> int:
        """The clock of a partition that held events: it goes on as the broker's does, `idle_ms` behind.

        What counts is the broker's time when a fetch last found nothing. As long as it is unknown a tick says
        what is known, and its receipt tells the time.
        """
        end = self.application.consumer.end_of_log(tp)
        polled_ms = clock.ingest_ms
        if end is not None and self.stamped is not None:
            stamp_ms, at_s = self.stamped
            fetched_ms_ago = max(0.0, time.time() * 1000 - end[1])
            polled_ms = int(stamp_ms + (time.monotonic() - at_s) * 1000 - fetched_ms_ago)
        time_ms = clock.last_ms + max(0, polled_ms - clock.ingest_ms - self.connection.idle_ms)
        self.advanced[tp.partition] = time_ms
        return time_ms

    def _followed_ms(self, tp: TopicPartition) -> int | None:
        """The time that a partition without a clock of its own may be given now.

        Others may be read ahead of this one. So their time counts only once a fetch that began `idle_ms` after
        we heard of it found nothing here: what was appended beside the events that it is from would have come.
        """
        end = self.application.consumer.end_of_log(tp)
        heard = self.heard.get(tp.partition)
        if heard is not None and (end is None or end[1] < heard.at_ms + self.connection.idle_ms):
            return None
        time_ms = self._others_time_ms(but=tp.partition)
        if time_ms is None:
            return None
        self.heard[tp.partition] = Heard(int(time.time() * 1000), time_ms)
        return heard.time_ms if heard is not None else None

    def _others_time_ms(self, *, but: int) -> int | None:
        """The slowest clock among the other sources that have one of their own; None where none has."""
        ours = {source_of(tp.partition) for tp in self.application.assignment()}
        known = [self._clock_of(source_of(p)) for p in self.clocks if p != but]
        known += [
            place.time_ms
            for progress in self.progress.values()
            for name, place in progress.sources.items()
            if name not in ours and place.time_ms is not None and not place.follows and not place.ended
        ]
        return min((ms for ms in known if ms != NO_TIME), default=None)

    def _clock_of(self, source: str) -> int:
        own = {source_of(p): max(clock.last_ms, self.advanced.get(p, NO_TIME)) for p, clock in self.clocks.items()}
        if own.get(source, NO_TIME) != NO_TIME:
            return own[source]
        places = [p.sources[source].time_ms for p in self.progress.values() if source in p.sources]
        said = [ms for ms in places if ms is not None]
        return max(said, default=NO_TIME)

    # --- evenness --------------------------------------------------------------

    async def _aligning(self) -> None:
        """Pause the partitions that are more than `align_ms` ahead of the slowest, all where a judge is far behind."""
        while True:
            await asyncio.sleep(ALIGN_EVERY_S)
            ours = self.application.assignment()
            if ours:
                self.application.hold(
                    ours if self.backlog() > self.connection.backlog_records_max else self.ahead(ours)
                )

    def ahead(self, ours: set[TopicPartition]) -> set[TopicPartition]:
        """Those of our partitions that must wait for slower ones: not for those that have nothing to read."""
        waited = {name for p in self.progress.values() for name, place in p.sources.items() if not place.ended}
        done = {source_of(tp.partition) for tp in ours if self._read_to_end(tp)}
        waited |= {source_of(tp.partition) for tp in ours}
        limit = min(map(self._clock_of, waited - done), default=-NO_TIME) + self.connection.align_ms
        return {tp for tp in ours if tp.partition in self.clocks and self.clocks[tp.partition].last_ms > limit}

    def backlog(self) -> int:
        """How many records of our partitions the judge furthest behind has still before it."""

        def before(tenant: int) -> int:
            folded = self.progress[tenant].sources if tenant in self.progress else {}
            lag = 0
            for partition, clock in self.clocks.items():
                place = folded.get(source_of(partition))
                # For a judge that has not begun it began where we did.
                at = place.position if place and place.position >= 0 else self.begun.get(partition, clock.stop)
                lag += max(0, clock.stop - at)
            return lag

        return max(map(before, range(len(self.options.tenants))))

    def _read_to_end(self, tp: TopicPartition) -> bool:
        consumer = self.application.consumer
        end = consumer.end_of_log(tp)
        return end is not None and (consumer.stop_of(tp) or 0) >= end[0]

    async def _following(self) -> None:
        """Keep the judges' newest progress records."""
        partitions = await partitions_of(self.connection, "progress")
        places = [TopicPartition(self.connection.topic("progress"), p) for p in partitions]
        async with make_reader(self.connection) as reader:
            reader.assign(places)
            await reader.seek_to_beginning()
            while True:
                fetched = await reader.getmany(timeout_ms=1_000)
                for place, records in fetched.items():
                    if records and records[-1].value:
                        self.progress[place.partition] = read_progress(records[-1].value)
