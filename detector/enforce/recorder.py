"""From a gateway to the access topic: text in, fingerprinted events out, beside the request's way.

Purpose: what a gateway that sees text does for each request: fingerprint it, drop it, and
produce an `access.v1` event.
Invariants: `tell` never waits and never raises: a queue that is full, or brokers that are
away for long, cost events, which are counted, and never a request. No text leaves this process.
Limits: at most `QUEUE_MAX` events wait, with their text; one thread fingerprints, so some
hundred requests a second of a thousand words each; more gateways do more.
Source: `detector/shim/` for the fingerprints; the contract's access event.
"""

import logging
import queue
import threading
from typing import Any, Final, NamedTuple

import orjson
from kafka import KafkaProducer
from kafka.errors import KafkaError

from detector import shim
from detector.runtime.kafka.connection import Connection, client_arguments

log = logging.getLogger("stillwatch.enforce")

QUEUE_MAX: Final = 10_000
CONNECT_AGAIN_S: Final = 2.0
WAIT_MS: Final = 5_000
FLUSH_S: Final = 5.0
RECORD_BYTES_MAX: Final = 1 << 20


class Texts(NamedTuple):
    """What was asked and said."""

    system: str | None = None
    prompt: str | None = None
    output: str | None = None


class Recorder:
    """Produces events, in a thread of its own."""

    def __init__(self, connection: Connection, *, key: bytes) -> None:
        """Nothing connects before `start`. Raises `ValueError` for a key that does not have 32 bytes."""
        shim.fingerprint(system=None, prompt=None, output=None, key=key)
        self.connection, self.key = connection, key
        self.sent = self.dropped = 0
        self._queue: queue.Queue[tuple[dict[str, Any], Texts] | None] = queue.Queue(QUEUE_MAX)
        self._stop = threading.Event()
        self._producer: KafkaProducer | None = None
        self._thread = threading.Thread(target=self._run, name="stillwatch-events", daemon=True)

    def start(self) -> None:
        """Begin to produce."""
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, for at most some seconds, and end."""
        self._stop.set()
        self._put(None)
        if self._thread.is_alive():
            self._thread.join(2 * FLUSH_S)

    def tell(self, event: dict[str, Any], texts: Texts) -> None:
        """Take an event without fields for text, and its text."""
        if not self._put((event, texts)):
            self._lost("the queue is full")

    def _put(self, item: tuple[dict[str, Any], Texts] | None) -> bool:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            return False
        return True

    def _lost(self, why: str) -> None:
        if not self.dropped:
            log.warning("events are lost: %s", why)
        self.dropped += 1

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            event, texts = item
            try:
                made = event | shim.fingerprint(**texts._asdict(), key=self.key)
                raw = orjson.dumps({name: value for name, value in made.items() if value is not None})
                self._send(str(event.get("account_id")).encode(), raw)
            except (KafkaError, OSError) as wrong:
                self._lost(type(wrong).__name__)
            except Exception:  # a request's odd shape must not end the thread
                log.exception("an event could not be made")
                self.dropped += 1
        if self._producer is not None:
            try:
                self._producer.close(timeout=FLUSH_S)
            except KafkaError as wrong:
                self._lost(type(wrong).__name__)

    def _send(self, key: bytes, raw: bytes) -> None:
        if len(raw) > RECORD_BYTES_MAX:
            self._lost("an event is too large")
            return
        while self._producer is None:
            try:
                self._producer = KafkaProducer(
                    **client_arguments(self.connection), acks="all", max_block_ms=WAIT_MS, linger_ms=20
                )
            except (KafkaError, OSError) as wrong:
                if self._stop.wait(CONNECT_AGAIN_S):
                    raise
                log.warning("the brokers do not answer: %s", type(wrong).__name__)
        self._producer.send(self.connection.topic("access"), key=key, value=raw).add_errback(self._failed)
        self.sent += 1

    def _failed(self, wrong: BaseException) -> None:
        self.sent -= 1
        self._lost(type(wrong).__name__)
