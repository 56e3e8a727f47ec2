"""The client of a limiter: load the decisions, follow them, answer requests; keep each lease to its end.

Purpose: `DecisionClient` reads the decisions topic in a thread of its own and answers
`lookup` from memory; adapters are told of each change.
Invariants: only committed records count. Not ready until everything that the topic held
at the start is read. A lost connection, a broken broker or a missing topic flushes
nothing: the table stays and its leases lapse by this machine's clock. After a silence in
which a tombstone may have been compacted away (a machine that slept counts too) the topic is
read anew, beside the old table. An error of any kind is a lost connection, never the end of
following. A judge that died or hangs inside a transaction hides what was written after it: if
that is the kill switch, it is looked for there.
Limits: what a lookup sees is as old as the last poll, `POLL_MS` on a quiet topic. Clocks
may differ from the judge's by some seconds: a lease acts and ends by that much sooner or later;
`clock_ahead_ms` says by how much, and beyond `SKEW_MS_MAX` so does a warning.
Source: Kafka's log compaction (`delete.retention.ms`); complaints about bouncers that fail closed.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal, get_args

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from detector.enforce.leases import CONTROL_KEY, Attributes, Lease, LeaseTable
from detector.records import DetectorError
from detector.runtime.background import Background
from detector.runtime.histogram import Histogram
from detector.runtime.kafka.connection import Connection, client_arguments

log = logging.getLogger("stillwatch.enforce")

POLL_MS: Final = 100
# A client that polls a broker that is gone hears nothing: it must ask now and then.
PROBE_EVERY_S: Final = 2.0
PROBE_TIMEOUT_MS: Final = 2_000
PRUNE_EVERY_S: Final = 60.0
BACK_OFF_S: Final = (0.1, 10.0)
# Tombstones live for a day at least (`delete.retention.ms`): half of it leaves room for slow clocks.
RELOAD_AFTER_MS: Final = 43_200_000
# Transactions take milliseconds: what is still uncommitted after this time hangs.
HANGS_AFTER_S: Final = 1.0
SKEW_MS_MAX: Final = 30_000
APPLY_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0)

FailureMode = Literal["last_state", "open", "closed"]
Answered = Literal["passed", "throttled", "refused", "unavailable"]
Changed = Callable[[bytes, int | None], None]  # a record's key, and when it was sent; None: before we were ready


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe or a gauge shows. Seconds of wall clock; `lag_records` is -1 before the first answer.

    `clock_ahead_ms` is this machine's clock less the judge's, delivery included, of the newest record that came while
    we followed; None before one has.
    """

    ready: bool
    connected: bool
    disconnected_s: float
    lag_records: int
    active: int
    applied: int
    unread: int
    enforcement: str
    clock_ahead_ms: int | None
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
        self.lag = Histogram(APPLY_S)  # seconds from the sending of a change until it was applied here
        self.answers: Counter[str] = Counter(dict.fromkeys(get_args(Answered), 0))
        self.ready = threading.Event()
        self._clock_ms, self.changed = clock_ms, changed
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._loading: LeaseTable | None = self.table
        self._away_s: float | None = time.monotonic()
        self._current_ms = 0  # by the wall clock: when the table last had all that the topic had
        self._ahead_ms: int | None = None
        self._counting = threading.Lock()
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
            clock_ahead_ms=self._ahead_ms,
            error=self.error,
        )

    def answered(self, answer: Answered) -> None:
        """Count what a gateway was answered."""
        with self._counting:
            self.answers[answer] += 1

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
            except Exception as wrong:
                if self._away_s is None:
                    self._away_s, wait_s = time.monotonic(), BACK_OFF_S[0]
                unforeseen = not isinstance(wrong, KafkaError | OSError | DetectorError)
                if not self.error:
                    ours = isinstance(wrong, DetectorError)
                    log.warning(
                        "decisions: the source is away: %s (%s); trying again, what is held runs to its end",
                        wrong if ours else type(wrong).__name__, self.connection.bootstrap, exc_info=unforeseen,
                    )  # fmt: skip
                # The text of what nobody foresaw may quote what was read.
                self.error = type(wrong).__name__ if unforeseen else f"{type(wrong).__name__}: {wrong}"
                if isinstance(wrong, OffsetOutOfRangeError):
                    self._positions.clear()  # another log under the same name: its sequence numbers go on
                self._loop.stopped.wait(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads tries, no secret
                wait_s = min(wait_s * 2, BACK_OFF_S[1])

    def _connect(self) -> KafkaConsumer:
        if self._outdated():
            self._positions.clear()
            self._loading = LeaseTable()
        consumer = self._consumer("read_committed")
        topic = self.connection.topic("decisions")
        numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            consumer.close()
            self._positions.clear()  # what comes back under the name is another log: sequence numbers go on
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

    def _consumer(self, isolation: str) -> KafkaConsumer:
        return KafkaConsumer(
            **client_arguments(self.connection),
            group_id=None,
            enable_auto_commit=False,
            allow_auto_create_topics=False,  # a topic that comes back must be the installation's own
            auto_offset_reset="none",
            isolation_level=isolation,
            request_timeout_ms=10_000,
            reconnect_backoff_max_ms=1_000,
        )

    def _outdated(self) -> bool:
        """Whether tombstones may have gone unseen."""
        return self._current_ms > 0 and self._clock_ms() - self._current_ms > RELOAD_AFTER_MS

    def _follow(self, consumer: KafkaConsumer) -> None:
        begun = dict(self._ends)
        pruned_s = probed_s = moved_s = time.monotonic()
        while not self._loop.stopped.is_set():
            fetched = consumer.poll(timeout_ms=POLL_MS)
            if self._outdated() and self._loading is None:  # this machine slept, with the connection open
                raise UnavailableError("nothing was heard for long: decisions are read anew")
            self._apply(fetched)
            for place in self._ends:
                self._positions[place] = consumer.position(place)  # passes what transactions write of their own
                self._ends[place] = max(self._ends[place], consumer.highwater(place) or 0)
            if self._away_s is not None and all(self._positions[p] >= end for p, end in begun.items()):
                self._loaded()
            now_s = time.monotonic()
            if self._away_s is None:
                self._current_ms = self._clock_ms()
            hidden = {p: self._positions[p] for p, end in self._ends.items() if self._positions[p] < end}
            if fetched or not hidden:
                moved_s = now_s
            elif now_s - moved_s > HANGS_AFTER_S:
                self._look_behind(hidden)
                moved_s = time.monotonic()
            if fetched:
                probed_s = now_s
            elif now_s - probed_s > PROBE_EVERY_S:
                consumer.end_offsets(list(begun), timeout_ms=PROBE_TIMEOUT_MS)
                probed_s = time.monotonic()
            if now_s - pruned_s > PRUNE_EVERY_S:
                pruned_s = now_s
                self.table.prune(now_ms=self._clock_ms())

    def _look_behind(self, hidden: dict[TopicPartition, int]) -> None:
        """Look for the kill switch among what an open transaction hides; only what lets more pass counts here."""
        consumer = self._consumer("read_uncommitted")
        try:
            consumer.assign(list(hidden))
            for place, position in hidden.items():
                consumer.seek(place, position)
            until_s = time.monotonic() + HANGS_AFTER_S
            while time.monotonic() < until_s and any(consumer.position(p) < self._ends[p] for p in hidden):
                for place, records in consumer.poll(timeout_ms=POLL_MS).items():
                    for record in records:
                        if record.key == CONTROL_KEY and self.table.loosens(record.value):
                            self._apply({place: [record]})
        except KafkaError as wrong:
            log.info("decisions: a look behind an open transaction failed: %s", type(wrong).__name__)
        finally:
            consumer.close()

    def _note_clock(self, record: Any) -> None:
        """Compare clocks by a record that has just come; the judge's stamped it."""
        ahead_ms = self._clock_ms() - record.timestamp
        known, self._ahead_ms = self._ahead_ms, ahead_ms
        if abs(ahead_ms) > SKEW_MS_MAX and (known is None or abs(known) <= SKEW_MS_MAX):
            log.warning(
                "decisions: this machine's clock is %.0f s %s the judge's, or decisions come late: leases act and end "
                "by it", abs(ahead_ms) / 1000, "ahead of" if ahead_ms > 0 else "behind",
            )  # fmt: skip

    def _apply(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        table = self.table if self._loading is None else self._loading  # an empty table is false
        for records in fetched.values():
            if self._away_s is None and records:
                self._note_clock(records[-1])
            for record in records:
                if not table.apply(record.key, record.value):
                    continue
                self.applied += 1
                if table is not self.table:
                    continue
                sent_ms = record.timestamp if self.ready.is_set() else None
                if sent_ms is not None:
                    self.lag.add(max(0, self._clock_ms() - sent_ms) / 1000)
                if self.changed is not None:
                    self.changed(record.key, sent_ms)

    def _loaded(self) -> None:
        """Everything that the log held when we connected is read."""
        if self._loading is not None:
            self.table, self._loading = self._loading, None
        self._away_s, self._current_ms, self.error = None, self._clock_ms(), ""
        self.ready.set()
