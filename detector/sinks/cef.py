"""CEF: an alert as one line of ArcSight's Common Event Format.

Purpose: for collectors that read syslog lines.
Invariants: one alert is one line; nothing that a stranger wrote ends a field or begins another.
Limits: the most important facts only, `msg` cut at `MESSAGE_CHARS_MAX`.
Source: ArcSight Common Event Format, revision 25.
"""

from typing import Final

from detector import __version__, story
from detector.records import Alert
from detector.sinks.escaping import cef_header, cef_value, shortened
from detector.vocabulary import Severity

MESSAGE_CHARS_MAX: Final = 1_023
SEVERITIES: Final[dict[Severity, int]] = {"info": 1, "low": 3, "medium": 5, "high": 8, "critical": 10}


def line_of(alert: Alert, *, runbooks: str = "") -> str:
    """The line of one revision, without its end. `runbooks` is the runbooks' URL."""
    told = story.tell(alert, runbooks=runbooks)
    signature = alert.signature_ids[0] if alert.signature_ids else alert.kind
    header = ("stillwatch", "stillwatch", __version__, signature, alert.title, str(SEVERITIES[alert.severity]))
    block = alert.campaign
    subnets = [link.value for link in block.links if link.kind == "subnet"] if block is not None else []
    extension: dict[str, str | int | None] = {
        "rt": max(alert.detected_at, alert.last_seen),
        "start": alert.first_seen,
        "end": alert.last_seen,
        "externalId": f"{alert.alert_id}:{alert.revision}",
        "suser": block.members_sample[0] if block is not None and block.members_sample else None,
        # CEF wants an address, and our links name a prefix: its first address.
        "src": subnets[0].partition("/")[0] if subnets else None,
        "cnt": block.requests if block is not None else None,
        "act": alert.recommended_action,
        "outcome": alert.status,
        "msg": shortened(alert.summary, chars_max=MESSAGE_CHARS_MAX),
        "cs1Label": "campaign" if block is not None else None,
        "cs1": block.id if block is not None else None,
        "cs2Label": "tenant",
        "cs2": alert.entity.tenant,
        "cs3Label": "runbook" if told.read_on else None,
        "cs3": told.read_on or None,
        "cs4Label": "mode",
        "cs4": alert.mode,
        "cn1Label": "risk",
        "cn1": alert.risk_score,
    }
    fields = (f"{name}={cef_value(str(value))}" for name, value in extension.items() if value is not None)
    return f"CEF:0|{'|'.join(map(cef_header, header))}|{' '.join(fields)}"
