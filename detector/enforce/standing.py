"""What an enforcer's process says of itself: whether it is ready, what is wrong, what it holds, how late it applies.

Purpose: one reading of the client, and of the copy where there is one, for probes, `/status` and metrics.
Invariants: reading changes nothing, and nothing of it names whom a decision is about. A source or a copy that is away
does not make the process unready once it was ready: what is held acts on, and to start anew would lose it. `/healthz`
names it.
Limits: the lag of what was read at the start, or read anew, is not counted: it says when we came, not how late it is.
Source: the operators' handbook: enforcers export what is active, what was applied, and the lag.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from detector import __version__
from detector.enforce.client import DecisionClient, now_ms
from detector.enforce.push import Pusher
from detector.runtime.kafka.http import Told
from detector.runtime.kafka.metrics import ENFORCER_FAMILIES, Measured, registry

ENFORCEMENT = ("on", "observe_only", "off")


def _waits(client: DecisionClient, pusher: Pusher | None) -> list[str]:
    if not client.ready.is_set():
        return ["decisions are not loaded yet"]
    return ["the copy was never in step yet"] if pusher is not None and not pusher.begun.is_set() else []


def _wrong(client: DecisionClient, pusher: Pusher | None) -> list[str]:
    said, copied = client.status(), pusher.status() if pusher is not None else None
    out = [] if said.connected or not said.ready else [f"the source is away: {said.error or 'no answer'}"]
    if copied is not None and copied.error:
        out.append(f"the copy does not take decisions: {copied.error}")
    return [*_waits(client, pusher), *out]


def _status(client: DecisionClient, pusher: Pusher | None) -> dict[str, Any]:
    waits = _waits(client, pusher)
    said: dict[str, Any] = {"version": __version__, "ready": not waits, "waiting_for": waits}
    said["decisions"] = msgspec.to_builtins(client.status())
    return said | ({"copy": msgspec.to_builtins(pusher.status())} if pusher is not None else {})


def _samples(client: DecisionClient, pusher: Pusher | None) -> Iterator[Measured]:
    said = client.status()
    yield "build_info", (__version__,), 1
    yield "ready", (), int(not _waits(client, pusher))
    yield "decision_apply_lag_seconds", (), client.lag if pusher is None else pusher.lag
    held = Counter((lease.action, lease.record.scope) for lease in client.table.leases(now_ms=now_ms()))
    for labels, number in sorted(held.items()):
        yield "enforcer_decisions_active", labels, number
    yield "enforcer_decisions_applied", (), said.applied
    yield "enforcer_decisions_unread", (), said.unread
    yield "enforcer_connected", (), int(said.connected)
    if said.lag_records >= 0:
        yield "enforcer_lag_records", (), said.lag_records
    if said.clock_ahead_ms is not None:
        yield "enforcer_clock_ahead_seconds", (), said.clock_ahead_ms / 1000
    for state in ENFORCEMENT:
        yield "enforcer_enforcement", (state,), int(said.enforcement == state)
    for answer, number in client.answers.items():
        yield "enforcer_answers", (answer,), number
    if pusher is not None:
        copied = pusher.status()
        yield "enforcer_copy_in_step", (), int(copied.in_step)
        yield "enforcer_copy_held", (), copied.held
        yield "enforcer_copy_failures", (), copied.failures


def told_of(client: DecisionClient, pusher: Pusher | None = None) -> Told:
    """What the HTTP server answers; the lag is the copy's where there is one."""
    metrics = registry(ENFORCER_FAMILIES, partial(_samples, client, pusher))
    both = client, pusher
    return Told(partial(_waits, *both), partial(_wrong, *both), partial(_status, *both), metrics)
