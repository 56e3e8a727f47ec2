"""Keep a copy of the leases elsewhere: told of each change, made anew after it was away.

Purpose: the loop between a `DecisionClient` and a copy such as Redis, a webhook or a file.
Invariants: a copy that fails never stops the loop and never loses an order: what was not
taken stays due, as the truth of the moment when it is tried again. After any failure the
copy is reconciled before orders go on, because it may have been restarted empty, or hold
what we think that it does not.
Limits: one thread; `IDLE_S` between looks. Back-off grows to `BACK_OFF_S_MAX`.
"""

import logging
import queue
import random
import threading
from typing import Final, Protocol

import msgspec
import orjson

from detector.enforce.client import APPLY_S, DecisionClient, now_ms
from detector.enforce.leases import CONTROL_KEY
from detector.enforce.transitions import Key, Transition, Transitions
from detector.runtime.background import Background
from detector.runtime.histogram import Histogram

log = logging.getLogger("stillwatch.enforce")

IDLE_S: Final = 0.05
BATCH: Final = 1_000
BACK_OFF_S: Final = 0.2
BACK_OFF_S_MAX: Final = 30.0


class CopyError(Exception):
    """The copy did not take it: it is away, slow, or refuses. Holds no secret and no identifier."""


class Copy(Protocol):
    """Where leases are held a second time."""

    def reconcile(self, wanted: set[Key]) -> None:
        """Drop whatever of ours is held beyond `wanted`. Raises `CopyError`."""

    def take(self, transitions: list[Transition], enforcement: str) -> None:
        """Apply all or raise `CopyError`; to apply one twice is harmless."""


class PushStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the copy stands."""

    in_step: bool
    held: int
    taken: int
    failures: int
    error: str


class Pusher:
    """One copy's loop."""

    def __init__(self, client: DecisionClient, copy: Copy) -> None:
        """`client.changed` is taken over; start the client after this."""
        self.client, self.copy = client, copy
        self.taken = self.failures = 0
        self.error = ""
        self.begun = threading.Event()  # the copy has been in step once
        self.lag = Histogram(APPLY_S)  # seconds from a change's sending, or effect, until the copy has it
        self._sent_ms: dict[Key, int] = {}  # of changes that the copy does not have yet
        self._touched: queue.SimpleQueue[tuple[bytes, int | None]] = queue.SimpleQueue()
        client.changed = self._touch
        self._told = Transitions(client.table)
        self._enforcement = client.table.enforcement
        self._reconciled = False
        self._loop = Background(self._run, name="push")

    def start(self) -> None:
        """Begin, once the client is ready: a table half loaded would take leases back."""
        self._loop.start()

    def stop(self) -> None:
        """Stop; the copy stays as it is, its entries end by themselves."""
        self._loop.stop()

    def status(self) -> PushStatus:
        """How the copy stands."""
        return PushStatus(
            in_step=self._reconciled and not self.error,
            held=self._told.shown,
            taken=self.taken,
            failures=self.failures,
            error=self.error,
        )

    def _touch(self, key: bytes, sent_ms: int | None) -> None:
        self._touched.put((key, sent_ms))

    def _run(self) -> None:
        wait_s = BACK_OFF_S
        while not self._loop.stopped.is_set():
            if not self.client.ready.wait(IDLE_S):
                continue
            try:
                busy = self._step()
            except Exception as wrong:
                if not self.error:
                    said = "the copy does not take decisions: %s"
                    log.warning(said, wrong, exc_info=not isinstance(wrong, CopyError))
                self.failures, self._reconciled = self.failures + 1, False
                # The text of what nobody foresaw may hold a secret or an identifier.
                self.error = (str(wrong) if isinstance(wrong, CopyError) else "") or type(wrong).__name__
                self._loop.stopped.wait(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads tries, no secret
                wait_s = min(wait_s * 2, BACK_OFF_S_MAX)
                continue
            wait_s, self.error = BACK_OFF_S, ""
            if not busy:
                self._loop.stopped.wait(IDLE_S)

    def _step(self) -> bool:
        """Bring the copy up to this moment; returns whether there may be more."""
        if self.client.table is not self._told.table:
            self._told.follow(self.client.table)
        self._drain()
        enforcement = self.client.table.enforcement
        turned = enforcement != self._enforcement
        if turned:
            self._enforcement = enforcement
            self._told.touch_all()
        now = now_ms()
        if not self._reconciled:
            self._told.forget()
            self.copy.reconcile({t.key for t in self._told.due(now_ms=now) if t.lease is not None})
            self._reconciled = True
            self.copy.take([], enforcement)
        made = self._told.due(now_ms=now)[:BATCH]
        if made or turned:
            self.copy.take(made, enforcement)
            for transition in made:
                self._told.delivered(transition)
                self._measure(transition.key)
            self.taken += len(made)
        if len(made) == BATCH:
            return True
        # What is not due by now will be when it takes effect, or changes nothing that is applied.
        self._sent_ms = {
            key: sent for key, sent in self._sent_ms.items() if self._told.effect_ms(key, now_ms=now) > now
        }
        self.begun.set()
        return False

    def _measure(self, key: Key) -> None:
        """Count how late the copy learnt of a change; a moment that was known beforehand is late from itself on."""
        sent_ms, now = self._sent_ms.pop(key, None), now_ms()
        if sent_ms is not None:
            since_ms = max(sent_ms, self._told.effect_ms(key, now_ms=now))
            self.lag.add(max(0, now - since_ms) / 1000)

    def _drain(self) -> None:
        while True:
            try:
                key, sent_ms = self._touched.get_nowait()
            except queue.Empty:
                return
            if key == CONTROL_KEY:
                self._told.touch_all()
                continue
            tenant, scope, value = orjson.loads(key)
            self._told.touch((tenant, scope, value))
            if sent_ms is not None:
                self._sent_ms.setdefault((tenant, scope, value), sent_ms)
