"""Alertmanager: an alert as a `postableAlert` of its API v2.

Purpose: for those who route, group and silence with Prometheus' Alertmanager.
Invariants: labels are identity only, since they are what makes an alert another one there: they are
those of the first revision that was sent, severity aside; when that changes, the alert with the old
one ends as the one with the new begins. Everything else is an annotation.
Limits: an alert without an end must be sent again before Alertmanager's `resolve_timeout`.
An operational alert ends with its last revision, and by itself after `OPERATIONAL_MS`.
Source: api/v2/openapi.yaml of prometheus/alertmanager; Prometheus' notifier, which sends again.
"""

from typing import Any, Final

from detector import story
from detector.records import Alert, format_time
from detector.sinks.escaping import printable

OPERATIONAL_MS: Final = 3_600_000
BAR_WIDTH: Final = 20

Labels = dict[str, str]


def labels_of(alert: Alert, *, first: Labels | None) -> Labels:
    """What the alert is there; `first` are the labels under which it was sent before."""
    named = first or {
        "alertname": story.strongest_of(alert) if alert.kind != "operational" else printable(alert.title),
        "scope": alert.entity.scope,
        "tenant": printable(alert.entity.tenant),
        # A cap's alert is about a campaign too: two campaigns' are two alerts.
        **({"campaign_id": printable(alert.entity.value)} if alert.entity.scope == "campaign" else {}),
    }
    return {**named, "severity": alert.severity}


def alert_of(alert: Alert, *, labels: Labels, runbooks: str = "") -> dict[str, Any]:
    """The alert under its labels, with an end where it has one. `runbooks` is the runbooks' URL."""
    told = story.tell(alert, runbooks=runbooks)
    bars = (
        f"{story.drawn(bar.log_odds, full=bar.full, width=BAR_WIDTH)} {bar.log_odds:+.1f} {bar.title}"
        for bar in told.why
        if bar.counted
    )
    parts = (f"Do: {told.todo}", f"Left the building: {told.lost}" if told.lost else "", *bars)
    wrong = [f"It would be wrong {reason}" for reason in told.wrong]
    made = {
        "labels": labels,
        "annotations": {
            "summary": printable(f"{alert.title}: {alert.summary}"),
            "description": "\n".join(printable(part) for part in (*parts, *wrong) if part),
            "runbook_url": told.read_on,
            "value": str(alert.risk_score),
        },
        "startsAt": format_time(alert.detected_at),
    }
    end_ms = _end_ms(alert)
    return made | ({"endsAt": format_time(end_ms)} if end_ms is not None else {})


def _end_ms(alert: Alert) -> int | None:
    """When it ended, or will by itself: never before it began, which Alertmanager refuses."""
    if alert.kind == "operational":
        over = alert.status == "resolved" and alert.revision > 0  # an alert to test the way is born resolved
        return max(alert.window.end, alert.detected_at + 1) if over else alert.detected_at + OPERATIONAL_MS
    return max(alert.last_seen, alert.detected_at + 1) if alert.status in ("resolved", "suppressed") else None


def ended(alert: dict[str, Any], *, at_ms: int) -> dict[str, Any]:
    """An alert that was sent before, with its end; `at_ms` is the clock."""
    return alert | {"endsAt": max(format_time(at_ms), alert["startsAt"])}
