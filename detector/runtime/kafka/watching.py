"""Watching: follow the output topics, read-only, for as long as a page is open.

Purpose: keep a `Situation` up to date in a thread of its own, and say how fresh it is.
Invariants: no group is joined and nothing is written; only committed records are read. Brokers
that go away end nothing: what was read stays, with the time since when nothing more is known.
Limits: topics are read from their start when the page begins, and again where a log was replaced.
Source: kafka-python's consumer; a client that polls a broker that is gone hears nothing, so it asks.
"""

import threading
import time
from contextlib import closing
from typing import Any, Final, NamedTuple

from kafka import TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from detector.records import DetectorError
from detector.runtime.background import Background
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.reading import bounds_of, make_consumer, places_of
from detector.runtime.kafka.situation import TOPICS, Situation

POLL_MS: Final = 300
PROBE_EVERY_S: Final = 3.0
PROBE_TIMEOUT_MS: Final = 2_000
PRUNE_EVERY_S: Final = 60.0
BACK_OFF_S: Final = (0.5, 5.0)


class Seen(NamedTuple):
    """The situation, whether everything that the topics held is in it, and since when nothing more is known."""

    situation: Situation
    complete: bool
    trouble: str  # empty while the brokers answer
    since_ms: int  # when the brokers last answered, epoch ms; 0: never


class Watcher:
    """Follows the topics; `seen` may be called from any thread."""

    def __init__(self, connection: Connection) -> None:
        """Nothing connects before `start`."""
        self._connection = connection
        self._situation = Situation()
        self._positions: dict[TopicPartition, int] = {}
        self._complete, self._trouble, self._since_ms = False, "connecting", 0
        self._lock = threading.Lock()
        self._loop = Background(self._run, name="watch")

    def start(self) -> None:
        """Begin to follow."""
        self._loop.start()

    def stop(self) -> None:
        """Stop following."""
        self._loop.stop()

    def seen(self) -> Seen:
        """What is known now."""
        with self._lock:
            return Seen(self._situation.copy(), self._complete, self._trouble, self._since_ms)

    # --- the thread ------------------------------------------------------------

    def _run(self) -> None:
        wait_s = BACK_OFF_S[0]
        while not self._loop.stopped.is_set():
            try:
                with closing(make_consumer(self._connection)) as consumer:
                    begun = self._begin(consumer)
                    wait_s = BACK_OFF_S[0]
                    self._follow(consumer, begun)
            except (KafkaError, OSError, DetectorError) as wrong:
                if isinstance(wrong, OffsetOutOfRangeError):
                    self._positions.clear()
                with self._lock:
                    self._trouble = f"{type(wrong).__name__}: {wrong}"
                self._loop.stopped.wait(wait_s)
                wait_s = min(wait_s * 2, BACK_OFF_S[1])

    def _begin(self, consumer: Any) -> dict[TopicPartition, int]:
        """Take up where we were, or at the start; returns where the logs end now."""
        places = [place for name in TOPICS for place in places_of(consumer, self._connection.topic(name))]
        bounds = bounds_of(consumer, places)
        consumer.assign(places)
        if any(not first <= self._positions.get(place, first) <= stop for place, (first, stop) in bounds.items()):
            self._positions.clear()  # another log under the same name
            with self._lock:
                self._situation, self._complete = Situation(), False
        for place, (first, _) in bounds.items():
            self._positions.setdefault(place, first)
            consumer.seek(place, self._positions[place])
        return {place: stop for place, (_, stop) in bounds.items()}

    def _follow(self, consumer: Any, begun: dict[TopicPartition, int]) -> None:
        probed_s = pruned_s = time.monotonic()
        prefix = len(self._connection.prefix)
        self._answered()
        while not self._loop.stopped.is_set():
            fetched = consumer.poll(timeout_ms=POLL_MS)
            with self._lock:
                for place, records in fetched.items():
                    for record in records:
                        self._situation.apply(place.topic[prefix:], record.key, record.value)
            for place in begun:
                self._positions[place] = consumer.position(place)
            now_s = time.monotonic()
            if not self._complete and all(self._positions[place] >= stop for place, stop in begun.items()):
                with self._lock:
                    self._complete = True
            if fetched:
                probed_s = now_s
                self._answered()
            elif now_s - probed_s > PROBE_EVERY_S:
                consumer.end_offsets(list(begun), timeout_ms=PROBE_TIMEOUT_MS)
                probed_s = time.monotonic()
                self._answered()
            if now_s - pruned_s > PRUNE_EVERY_S:
                pruned_s = now_s
                with self._lock:
                    self._situation.prune(now_ms=time.time_ns() // 1_000_000)

    def _answered(self) -> None:
        with self._lock:
            self._trouble, self._since_ms = "", time.time_ns() // 1_000_000
