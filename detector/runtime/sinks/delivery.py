"""Deliver the alerts' topic to one sink: in order, none lost, none twice, whatever the sink does.

Purpose: a consumer group of its own for each sink, so that one that is down holds up nobody: not the
judge, not its neighbours. What it has not taken yet waits in the topic.
Invariants: an offset is committed after the sink took the alert, or after the dead-letter topic holds a
letter about it; so nothing is lost. A revision that the memory has is passed over; so what
comes again is not told again. Records of a partition, and thus of a `dedup_key`, are told in order.
A new sink begins at the end of the topic, and that place is written down at once.
Limits: a crash between a receiver's yes and the memory's tells it once more, which its keys make
harmless; Slack, which has none, is asked first. Alerts wait as long as the topic keeps them.
Source: Kafka's consumer groups; exponential back-off with jitter.
"""

import asyncio
import contextlib
import hashlib
import logging
import random
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from detector.runtime.kafka.connection import Connection, client_arguments
from detector.runtime.kafka.views import alert_of
from detector.runtime.sinks.memory import Memory
from detector.runtime.sinks.posting import RETRY_AFTER_S_MAX, Outcome
from detector.runtime.sinks.receivers import Sink
from detector.runtime.sinks.settings import Common

log = logging.getLogger("stillwatch.sinks")

POLL_MS: Final = 500
BROKER_WAIT_S: Final = 1.0
# Longer than any wait between two polls, or the brokers would take the partitions away.
POLL_INTERVAL_MS_MAX: Final = int(2 * RETRY_AFTER_S_MAX * 1_000)
NO_ALERT: Final = Outcome("refused", "no alert.v1")


def group_of(connection: Connection, name: str) -> str:
    """The consumer group of a sink.

    >>> group_of(Connection(), "oncall")
    'stillwatch-sink-oncall'
    """
    return f"{connection.group}-sink-{name}"


class _Beginning(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Where a group has no place yet, write down the one at which it begins."""

    def __init__(self, consumer: AIOKafkaConsumer, *, from_beginning: bool) -> None:
        self.consumer, self.from_beginning = consumer, from_beginning
        self.settled = False

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Nothing is held."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Seek and commit."""
        places = [place for place in assigned if await self.consumer.committed(place) is None]
        if places:
            ask = self.consumer.beginning_offsets if self.from_beginning else self.consumer.end_offsets
            begin = await ask(places)
            for place, offset in begin.items():
                self.consumer.seek(place, offset)
            await self.consumer.commit(begin)
        self.settled = True  # with no partition too: another process has them, and this one stands by


def wait_s(given: Common, *, failures: int, asked_s: float) -> float:
    """How long to wait after so many failures in a row: as asked, else doubling, spread over the upper half."""
    grown_ms = min(given.back_off_ms * 2 ** min(failures - 1, 30), given.back_off_ms_max)
    spread = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret
    return max(asked_s, grown_ms * spread / 1_000)


def _again(consumer: AIOKafkaConsumer, place: TopicPartition, offset: int) -> None:
    """Let a record be the next one again; where its partition is another process' by now, it is that one's."""
    with contextlib.suppress(IllegalStateError):
        consumer.seek(place, offset)


class Delivery:
    """One sink's loop."""

    def __init__(
        self, given: Common, sink: Sink, memory: Memory, connection: Connection, *, from_beginning: bool = False
    ) -> None:
        """Nothing connects yet."""
        self.given, self.sink, self.memory, self.connection = given, sink, memory, connection
        self.from_beginning = from_beginning
        self.failures = self.taken = self.parked = self.retried = 0
        self.why = ""  # of the last failure, while there is one
        self.unreminded = False
        self._joined: tuple[AIOKafkaConsumer, _Beginning] | None = None
        self.reached: dict[TopicPartition, int] = {}  # the offset before which everything was told or parked
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        """Deliver until stopped. Raises `KafkaError` where the brokers cannot be reached at the start."""
        consumer = AIOKafkaConsumer(
            **client_arguments(self.connection),
            group_id=group_of(self.connection, self.given.name),
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # a place that the topic has dropped: what it still has is all there is
            isolation_level="read_committed",
            session_timeout_ms=self.connection.session_timeout_ms,
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
        )
        listener = _Beginning(consumer, from_beginning=self.from_beginning)
        consumer.subscribe([self.connection.topic("alerts")], listener=listener)
        await consumer.start()
        self._joined = consumer, listener
        try:
            while not self.stopped.is_set():
                try:
                    await self._step(consumer)
                except KafkaError as wrong:
                    said = {"action": "sink.broker_away"}
                    log.warning("sink %s: %s", self.given.name, type(wrong).__name__, extra=said)
                    await self._wait(BROKER_WAIT_S)
        finally:
            self._joined = None
            await consumer.stop()

    def ready(self) -> bool:
        """Whether the group has said which partitions are ours."""
        return self._joined is not None and self._joined[1].settled

    def lags(self) -> dict[int, int]:
        """By partition of ours: the records that are not yet told, as far as the brokers have said where it ends."""
        if self._joined is None:
            return {}
        consumer, _ = self._joined
        ends = {place: consumer.last_stable_offset(place) for place in consumer.assignment() if place in self.reached}
        return {p.partition: max(0, end - self.reached[p]) for p, end in sorted(ends.items()) if end is not None}

    async def _step(self, consumer: AIOKafkaConsumer) -> None:
        """Take the next record, if there is one, as far as it goes."""
        due = await self.sink.remind(self.memory)
        if due.kind == "later":
            self.unreminded = True
            await self._failed(due, alert_id=None)
            return
        if self.unreminded:
            self._recovered()
        fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=1)
        for place, records in fetched.items():
            for record in records:
                try:
                    await self._deliver(consumer, place, record)
                except KafkaError:
                    _again(consumer, place, record.offset)
                    raise
        for place in consumer.assignment():
            self.reached[place] = await consumer.position(place)

    async def _deliver(self, consumer: AIOKafkaConsumer, place: TopicPartition, record: Any) -> None:
        alert = alert_of(record)
        told = self.memory.get(alert.alert_id) if alert is not None else None
        if alert is None:
            outcome = NO_ALERT
        elif told is not None and told.revision >= alert.revision:
            outcome = Outcome("taken")
        else:
            outcome = await self.sink.take(alert, self.memory)
        alert_id = alert.alert_id if alert is not None else None
        if outcome.kind == "later":
            _again(consumer, place, record.offset)
            await self._failed(outcome, alert_id=alert_id)
            return
        if outcome.kind == "refused":
            await self._park(record, outcome, alert_id=alert_id)
        self._recovered()
        self.taken += outcome.kind == "taken"
        await consumer.commit({place: record.offset + 1})

    def _recovered(self) -> None:
        if self.failures:
            log.info("sink %s takes alerts again", self.given.name, extra={"action": "sink.recovered"})
        self.failures, self.why, self.unreminded = 0, "", False

    async def _failed(self, outcome: Outcome, *, alert_id: str | None) -> None:
        self.failures, self.retried, self.why = self.failures + 1, self.retried + 1, outcome.why
        if self.failures == 1:
            said = {"action": "sink.failed", "alert_id": alert_id}
            log.warning("sink %s does not take alerts: %s", self.given.name, outcome.why, extra=said)
        await self._wait(wait_s(self.given, failures=self.failures, asked_s=outcome.wait_s))

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)

    async def _park(self, record: Any, outcome: Outcome, *, alert_id: str | None) -> None:
        """Write a letter about an alert that its receiver will never take; the alert itself stays on its topic."""
        raw = record.value or b""
        headers = [
            ("__streams.errors.topic", record.topic.encode()),
            ("__streams.errors.partition", str(record.partition).encode()),
            ("__streams.errors.offset", str(record.offset).encode()),
            ("stillwatch.error.code", b"sink_refused"),
            ("stillwatch.error.length", str(len(raw)).encode()),
            # An alert holds no prompt that a digest could confirm.
            ("stillwatch.error.digest", hashlib.blake2b(raw, digest_size=16).hexdigest().encode()),
            ("stillwatch.error.sink", self.given.name.encode()),
            ("stillwatch.error.answer", outcome.why.encode()),
        ]
        producer = AIOKafkaProducer(**client_arguments(self.connection), enable_idempotence=True, acks="all")
        await producer.start()
        try:
            letters = self.connection.topic("dead-letter")
            await producer.send_and_wait(letters, b"", key=record.key, headers=headers)
        finally:
            await producer.stop()
        self.parked += 1
        said = {"action": "alert.parked", "alert_id": alert_id, "partition": record.partition, "offset": record.offset}
        log.error("sink %s refuses an alert for good: %s", self.given.name, outcome.why, extra=said)
