"""A Faust application over record batches: the shape in which nothing is lost.

Purpose: the one place that makes Faust applications; what they do with batches is given.
Invariants: bytes in, acknowledgement by hand and in order, no topic made by accident, no
web server, no file, one batch at a time; an exception in the work stops the application with
nothing acknowledged that was not finished.
Limits: scale by processes and partitions, never by concurrency.
Source: traps of faust-streaming 0.15.3 are held by the integration tests.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import faust
from faust.exceptions import ConsumerNotStarted
from faust.types import TP
from mode import CrashingSupervisor
from yarl import URL

from detector.runtime.kafka.batches import Batch
from detector.runtime.kafka.connection import Connection, password_of, tls_context
from detector.runtime.kafka.delivery import BatchConsumer, BatchTransport
from detector.runtime.kafka.tally import Tally

BUFFERED_BATCHES: Final = 4
# Decoding and encoding a batch costs some milliseconds whatever its size: 4 MiB are some thousand records.
FETCH_BYTES: Final = 4 << 20
COMMIT_INTERVAL_S: Final = 1.0
CRASH_POLL_S: Final = 0.1

Acknowledge = Callable[[], Awaitable[None]]
Work = Callable[[Batch, Acknowledge], Awaitable[None]]
Moved = Callable[[frozenset[int]], Awaitable[None]]


def _credentials(connection: Connection) -> Any:
    context = tls_context(connection)
    if connection.sasl:
        return faust.SASLCredentials(
            username=connection.username,
            password=password_of(connection),
            ssl_context=context,
            mechanism=connection.sasl_mechanism,
        )
    return faust.SSLCredentials(context) if context is not None else None


class Reading(NamedTuple):
    """Where a partition of ours is read: the offset after what was delivered, and the log's end; None: unknown."""

    topic: str
    partition: int
    position: int | None
    end: int | None


class _App(faust.App):
    """An application without tables has nothing to keep in a directory of its own."""

    def _create_directories(self) -> None:
        """Make none: Faust's would stand in whatever directory the worker was started in."""


class Application:
    """One consumer group over some topics. `work` gets each batch and the call that acknowledges it."""

    def __init__(
        self,
        role: str,
        topics: tuple[str, ...],
        connection: Connection,
        *,
        tally: Tally,
        work: Work,
        assigned: Moved | None = None,
        revoked: Moved | None = None,
        linger_ms: int = 0,
    ) -> None:
        """Build the application; nothing connects before `start`."""
        self.topics = tuple(map(connection.topic, topics))
        session_s = connection.session_timeout_ms / 1000
        self.role, self.tally = role, tally
        self.joined = False
        self.app = _App(
            f"{connection.group}-{role}",
            broker=[URL(f"aiokafka://{host}") for host in connection.bootstrap.split(",")],
            broker_credentials=_credentials(connection),
            broker_session_timeout=session_s,
            broker_heartbeat_interval=session_s / 10,
            broker_request_timeout=max(session_s * 1.5, 40.0),
            broker_commit_interval=COMMIT_INTERVAL_S,
            broker_client_id=f"stillwatch-{role}",
            key_serializer="raw",
            value_serializer="raw",
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=FETCH_BYTES,
            stream_buffer_maxsize=BUFFERED_BATCHES,
            # Waiting for what was begun would wait for what a rebalance threw out of the queue as well, and Faust
            # keeps a reference to that: the rebalance would last its whole timeout. What comes again is skipped.
            stream_wait_empty=False,
            agent_supervisor=CrashingSupervisor,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            worker_redirect_stdouts=False,
        )
        self.app.transport = BatchTransport(self.app.conf.broker_consumer, self.app, self.app.loop)
        self.app.transport.linger_ms = linger_ms
        channel = self.app.topic(*self.topics, key_serializer="raw", value_serializer="raw")
        self.error: BaseException | None = None

        async def consume(stream: Any) -> None:
            kept = stream.noack()
            async for event in kept.events():
                begun_s = time.monotonic()
                try:
                    await work(event.value, _acknowledge(kept, event))
                except Exception as wrong:
                    self.error = wrong
                    raise
                tally.worked(role, time.monotonic() - begun_s)

        self.app.agent(channel, name=f"{role}-batches", concurrency=1)(consume)
        self.app.on_partitions_assigned.connect(_moved(self._placed), weak=False)
        if assigned is not None:
            self.app.on_partitions_assigned.connect(_moved(assigned), weak=False)
        if revoked is not None:
            self.app.on_partitions_revoked.connect(_moved(revoked), weak=False)

    @property
    def consumer(self) -> BatchConsumer:
        """The consumer, once started."""
        consumer = self.app.consumer
        assert isinstance(consumer, BatchConsumer)
        return consumer

    async def _placed(self, partitions: frozenset[int]) -> None:
        """The group has settled; a worker that it gave nothing to stands by."""
        del partitions
        self.joined = True
        self.tally.rebalances[self.role] += 1

    @property
    def settled(self) -> bool:
        """Whether the group has said which partitions are ours, if any, and is not moving them now."""
        return self.joined and not self.app.rebalancing and not self.crashed

    def readings(self) -> list[Reading]:
        """How far each of our partitions is read."""
        ends = {tp: self.consumer.end_of_log(tp) for tp in sorted(self.assignment())}
        return [
            Reading(tp.topic, tp.partition, self.consumer.stop_of(tp), end[0] if end is not None else None)
            for tp, end in ends.items()
        ]

    @property
    def crashed(self) -> bool:
        """Whether an exception ended it."""
        return self.error is not None or bool(self.app.crashed)

    def assignment(self) -> set[TP]:
        """The partitions that are ours now."""
        try:
            return {tp for tp in self.consumer.assignment() if tp.topic in self.topics}
        except ConsumerNotStarted:
            return set()

    def hold(self, waiting: set[TP]) -> None:
        """Fetch nothing of these partitions, and of all others of ours."""
        if self.consumer.flow_active and not self.app.rebalancing:
            self.consumer.resume_partitions(self.assignment() - waiting - self.consumer.buffered)
            self.consumer.pause_partitions(waiting)

    async def start(self) -> None:
        """Connect and begin; returns when the application runs."""
        self.app.finalize()
        await self.app.start()

    def halt(self) -> None:
        """Take no further batches."""
        self.consumer.stop_flow()

    async def stop(self) -> None:
        """Stop: what is acknowledged is committed, partitions are given back."""
        await self.app.stop()

    async def wait_crashed(self) -> BaseException:
        """Wait until the application fails; returns why."""
        while not self.crashed:  # noqa: ASYNC110 - Faust has no event that says so for all of its parts
            await asyncio.sleep(CRASH_POLL_S)
        return self.error or self.app.crash_reason or RuntimeError("the application stopped by itself")


def _acknowledge(stream: Any, event: Any) -> Acknowledge:
    async def acknowledge() -> None:
        await stream.ack(event)

    return acknowledge


def _moved(call: Moved) -> Callable[..., Awaitable[None]]:
    async def moved(_app: Any, partitions: set[TP], **_: Any) -> None:
        await call(frozenset(tp.partition for tp in partitions))

    return moved
