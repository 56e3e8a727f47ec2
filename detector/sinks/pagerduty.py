"""PagerDuty: an alert as an event of the Events API v2.

Purpose: wake somebody for what is worth it, once per case, and let them sleep when it is over.
Invariants: `dedup_key` is the alert's own, so that a repeated event changes nothing; severity is
mapped, never constant. Only what is high or critical and enforced triggers; a resolve follows
every trigger, whatever became of severity and mode since.
Limits: at most 255 characters of key, 1,024 of summary, 512 KB in all (samples are left out).
Source: PagerDuty's developer documentation, "Send an Alert Event" and "Events API v2 Overview".
"""

from typing import Any, Final

from detector import story
from detector.records import Alert, format_time
from detector.sinks.escaping import printable, shortened
from detector.vocabulary import Severity

SUMMARY_CHARS_MAX: Final = 1_024
BAR_WIDTH: Final = 20
SEVERITIES: Final[dict[Severity, str]] = {
    "critical": "critical",
    "high": "error",
    "medium": "warning",
    "low": "info",
    "info": "info",
}
PAGED: Final = ("high", "critical")


def event_of(alert: Alert, *, routing_key: str, triggered: bool, runbooks: str = "") -> dict[str, Any] | None:
    """The event of one revision, None where nobody is to be told.

    `triggered` says whether an earlier revision of the alert was sent; `runbooks` is the runbooks' URL.
    """
    head = {"routing_key": routing_key, "dedup_key": alert.dedup_key}
    if alert.status == "resolved":
        return {**head, "event_action": "resolve"} if triggered else None
    if alert.status == "suppressed" or alert.severity not in PAGED or alert.mode != "enforce":
        return None
    told = story.tell(alert, runbooks=runbooks)
    summary = printable(f"{alert.title}: {alert.summary}")
    return {
        **head,
        "event_action": "trigger",
        "payload": {
            "summary": shortened(summary, chars_max=SUMMARY_CHARS_MAX),
            "source": printable(alert.entity.tenant),
            "severity": SEVERITIES[alert.severity],
            "timestamp": format_time(alert.detected_at),
            "component": alert.signature_ids[0] if alert.signature_ids else alert.kind,
            "group": alert.campaign.id if alert.campaign is not None else printable(alert.entity.value),
            "class": "model_distillation",
            "custom_details": details_of(alert, told),
        },
        "client": "stillwatch",
        "links": [{"href": told.read_on, "text": "Runbook"}] if runbooks and told.read_on else [],
    }


def details_of(alert: Alert, told: story.Story) -> dict[str, Any]:
    """What a person reads under the event, in the order in which they need it."""
    said: dict[str, Any] = {
        "do": told.todo,
        "left the building": told.lost,
        "why": [
            f"{story.drawn(bar.log_odds, full=bar.full, width=BAR_WIDTH)} {bar.log_odds:+.1f} {bar.title}: {bar.facts}"
            for bar in told.why
            if bar.counted
        ],
        "verdict": told.verdict,
        "wrong": list(told.wrong),
        "runbook": told.read_on,
        "alert": f"{alert.alert_id} revision {alert.revision}",
        "accounts, some of them": list(alert.campaign.members_sample) if alert.campaign is not None else [],
    }
    return {name: _plain(value) for name, value in said.items() if value}


def _plain(value: Any) -> Any:
    return [printable(item) for item in value] if isinstance(value, list) else printable(value)
