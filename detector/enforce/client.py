"""The client of a limiter: load the decisions, follow them, answer requests; keep each lease to its end.

Purpose: `DecisionClient` reads the decisions topic in a thread of its own and answers
`lookup` from memory; adapters are told of each change.
Invariants: only committed records count. Not ready until everything that the topic held
at the start is read. A lost connection, a broken broker or a missing topic flushes
nothing: the table stays and its leases lapse by this machine's clock. After a silence in
which a tombstone may have been compacted away the topic is read anew, beside the old table.
Limits: what a lookup sees is as old as the last poll, `POLL_MS` on a quiet topic. Clocks
may differ from the judge's by some seconds: a lease acts and ends by that much sooner or later.
Source: Kafka's log compaction (`delete.retention.ms`); complaints about bouncers that fail closed.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from detector.enforce.leases import Attributes, Lease, LeaseTable
from detector.records import DetectorError
from detector.runtime.background import Background
from detector.runtime.kafka.connection import Connection, client_arguments

log = logging.getLogger("stillwatch.enforce")

POLL_MS: Final = 100
# A client that polls a broker that is gone hears nothing: it must ask now and then.
PROBE_EVERY_S: Final = 2.0
PROBE_TIMEOUT_MS: Final = 2_000
PRUNE_EVERY_S: Final = 60.0
BACK_OFF_S: Final = (0.1, 10.0)
# Tombstones live for a day at least (`delete.retention.ms`): half of it leaves room for slow clocks.
RELOAD_AFTER_S: Final = 43_200.0

FailureMode = Literal["last_state", "open", "closed"]
Changed = Callable[[bytes, bytes | None], None]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe or a gauge shows. Seconds of wall clock; `lag_records` is -1 before the first answer."""

    ready: bool
    connected: bool
    disconnected_s: float
    lag_records: int
    active: int
    applied: int
    unread: int
    enforcement: str
    error: str


def now_ms() -> int:
    """This machine's time, as epoch milliseconds."""
    return time.time_ns() // 1_000_000


class UnavailableError(DetectorError):
    """Decisions were never loaded, or the source is away and `failure_mode` is `closed`."""


class DecisionClient:
    """Follows `decisions`; `lookup` may be called from any thread."""

    def __init__(
        self,
        connection: Connection,
        *,
        failure_mode: FailureMode = "last_state",
        changed: Changed | None = None,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        """Nothing connects before `start`. `changed` is called, in the client's thread, for each record that counts."""
        self.connection, self.failure_mode = connection, failure_mode
        self.table = LeaseTable()
        self.applied, self.error = 0, ""
        self.ready = threading.Event()
        self._clock_ms, self.changed = clock_ms, changed
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._loading: LeaseTable | None = self.table
        self._away_s: float | None = time.monotonic()
        self._loop = Background(self._run, name="decisions")

    def start(self, *, timeout_s: float | None = None) -> bool:
        """Begin to follow; with `timeout_s` wait that long for everything to be loaded. Returns whether it is."""
        self._loop.start()
        return self.ready.wait(timeout_s) if timeout_s is not None else self.ready.is_set()

    def stop(self) -> None:
        """Stop following; the table stays readable."""
        self._loop.stop()

    def lookup(self, attributes: Attributes, *, tenant: str = "default", model: str = "") -> Lease | None:
        """The strictest lease that a request falls under now; None lets it pass.

        Raises `UnavailableError` under `failure_mode="closed"` only: while nothing was loaded or the source is away.
        """
        if self.failure_mode != "last_state" and (self._away_s is not None or not self.ready.is_set()):
            if self.failure_mode == "closed":
                raise UnavailableError(f"decisions are not available: {self.error or 'not loaded yet'}")
            return None
        return self.table.lookup(attributes, tenant=tenant, model=model, now_ms=self._clock_ms())

    def status(self) -> Status:
        """How the client stands."""
        away_s = self._away_s
        lags = [end - self._positions.get(tp, 0) for tp, end in self._ends.items()]
        return Status(
            ready=self.ready.is_set(),
            connected=away_s is None,
            disconnected_s=round(time.monotonic() - away_s, 3) if away_s is not None else 0.0,
            lag_records=max(0, sum(lags)) if lags else -1,
            active=sum(1 for _ in self.table.leases(now_ms=self._clock_ms())),
            applied=self.applied,
            unread=self.table.unread,
            enforcement=self.table.enforcement,
            error=self.error,
        )

    # --- the thread ------------------------------------------------------------

    def _run(self) -> None:
        wait_s = BACK_OFF_S[0]
        while not self._loop.stopped.is_set():
            try:
                consumer = self._connect()
                try:
                    self._follow(consumer)
                    wait_s = BACK_OFF_S[0]
                finally:
                    consumer.close()
            except (KafkaError, OSError, DetectorError) as wrong:
                if self._away_s is None:
                    self._away_s, wait_s = time.monotonic(), BACK_OFF_S[0]
                if not self.error:
                    log.warning("decisions: the source is away: %s", type(wrong).__name__)
                self.error = f"{type(wrong).__name__}: {wrong}"
                if isinstance(wrong, OffsetOutOfRangeError):
                    self._positions.clear()  # another log under the same name: its sequence numbers go on
                self._loop.stopped.wait(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads tries, no secret
                wait_s = min(wait_s * 2, BACK_OFF_S[1])

    def _connect(self) -> KafkaConsumer:
        if self._away_s is not None and time.monotonic() - self._away_s > RELOAD_AFTER_S:
            self._positions.clear()
            self._loading = LeaseTable()
        consumer = KafkaConsumer(
            **client_arguments(self.connection),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            request_timeout_ms=10_000,
            reconnect_backoff_max_ms=1_000,
        )
        topic = self.connection.topic("decisions")
        numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            consumer.close()
            raise UnavailableError(f"topic {topic} is missing")
        places = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(places)
        begins, self._ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
        for place in places:
            # A log that ends before our place, or begins after it, is another one: read it all; numbers go on.
            held = self._positions.get(place, -1)
            first = held if begins[place] <= held <= self._ends[place] else begins[place]
            self._positions[place] = first
            consumer.seek(place, first)
        return consumer

    def _follow(self, consumer: KafkaConsumer) -> None:
        begun = dict(self._ends)
        pruned_s = probed_s = time.monotonic()
        while not self._loop.stopped.is_set():
            fetched = consumer.poll(timeout_ms=POLL_MS)
            self._apply(fetched)
            for place in self._ends:
                self._positions[place] = consumer.position(place)  # passes what transactions write of their own
                self._ends[place] = max(self._ends[place], consumer.highwater(place) or 0)
            if self._away_s is not None and all(self._positions[p] >= end for p, end in begun.items()):
                self._loaded()
            now_s = time.monotonic()
            if fetched:
                probed_s = now_s
            elif now_s - probed_s > PROBE_EVERY_S:
                consumer.end_offsets(list(begun), timeout_ms=PROBE_TIMEOUT_MS)
                probed_s = time.monotonic()
            if now_s - pruned_s > PRUNE_EVERY_S:
                pruned_s = now_s
                self.table.prune(now_ms=self._clock_ms())

    def _apply(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        table = self._loading or self.table
        for records in fetched.values():
            for record in records:
                if not table.apply(record.key, record.value):
                    continue
                self.applied += 1
                if self.changed is not None and table is self.table:
                    self.changed(record.key, record.value)

    def _loaded(self) -> None:
        """Everything that the log held when we connected is read."""
        if self._loading is not None:
            self.table, self._loading = self._loading, None
        self._away_s, self.error = None, ""
        self.ready.set()
