"""What the process of the sinks says of itself: whether it is ready, who does not take alerts, and how far each is.

Purpose: one reading of the loops for probes, `/status` and metrics.
Invariants: reading changes nothing. A receiver that is down does not make the process unready, or unfit to live: to
start it anew would help nobody. `/healthz` names it.
Limits: a lag is known once the brokers have answered a fetch; a process that stands by has none.
Source: as `runtime.kafka.status` of workers.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from detector import __version__
from detector.runtime.kafka.http import Told
from detector.runtime.kafka.metrics import SINK_FAMILIES, Measured, registry
from detector.runtime.sinks.delivery import Delivery


def _waits(deliveries: Sequence[Delivery]) -> list[str]:
    return [f"sink {d.given.name}: partitions are not assigned" for d in deliveries if not d.ready()]


def _wrong(deliveries: Sequence[Delivery]) -> list[str]:
    failing = (d for d in deliveries if d.failures)
    return [*_waits(deliveries), *(f"sink {d.given.name} does not take alerts: {d.why}" for d in failing)]


def _status(deliveries: Sequence[Delivery]) -> dict[str, Any]:
    return {
        "version": __version__,
        "ready": not _waits(deliveries),
        "waiting_for": _waits(deliveries),
        "sinks": [
            {
                "sink": d.given.name,
                "taken": d.taken,
                "parked": d.parked,
                "retried": d.retried,
                "failures_in_a_row": d.failures,
                "why": d.why or None,
                "lag": sum(d.lags().values()) if d.lags() else None,
            }
            for d in deliveries
        ],
    }


def _samples(deliveries: Sequence[Delivery]) -> Iterator[Measured]:
    yield "build_info", (__version__,), 1
    yield "ready", (), int(not _waits(deliveries))
    for d in deliveries:
        name = d.given.name
        yield "sink_alerts", (name, "taken"), d.taken
        yield "sink_alerts", (name, "parked"), d.parked
        yield "sink_retries", (name,), d.retried
        yield "sink_failing", (name,), int(d.failures > 0)
        for partition, lag in d.lags().items():
            yield "sink_lag_records", (name, str(partition)), lag


def told_of(deliveries: Sequence[Delivery]) -> Told:
    """What the HTTP server answers."""
    metrics = registry(SINK_FAMILIES, partial(_samples, deliveries))
    return Told(partial(_waits, deliveries), partial(_wrong, deliveries), partial(_status, deliveries), metrics)
