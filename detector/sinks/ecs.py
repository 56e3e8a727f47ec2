"""ECS: an alert as a document of the Elastic Common Schema.

Purpose: for Elasticsearch and whatever else indexes by ECS.
Invariants: `event.id` names the revision, `event.risk_score` and `event.severity` are the risk score;
what ECS has no field for stands under `stillwatch`. Identifiers are exact, sentences printable.
Limits: accounts stand in `related.user`; an alert knows no single source address.
Source: https://www.elastic.co/docs/reference/ecs, version 9.
"""

from typing import Any, Final

from detector import story
from detector.records import Alert, format_time
from detector.sinks.escaping import printable
from detector.sinks.ocsf import NAMES

VERSION: Final = "9.1.0"


def document_of(alert: Alert, *, runbooks: str = "") -> dict[str, Any]:
    """The document of one revision. `runbooks` is the runbooks' URL."""
    told = story.tell(alert, runbooks=runbooks)
    made = {
        "@timestamp": story.ended_at(alert),
        "ecs": {"version": VERSION},
        "message": printable(alert.summary),
        "tags": [alert.kind, alert.mode, alert.status],
        "event": {
            "kind": "alert",
            "category": ["threat"],
            "type": ["indicator"],
            "dataset": "stillwatch.alert",
            "module": "stillwatch",
            "provider": "stillwatch",
            "id": f"{alert.alert_id}:{alert.revision}",
            "action": alert.recommended_action,
            "severity": alert.risk_score,
            "risk_score": float(alert.risk_score),
            "start": format_time(alert.first_seen),
            "end": format_time(alert.last_seen),
            "created": format_time(alert.detected_at),
            "reason": printable("; ".join(f"{bar.title}: {bar.facts}" for bar in told.why if bar.counted)),
            "reference": told.read_on if runbooks else None,
        },
        "rule": {
            "id": alert.signature_ids[0] if alert.signature_ids else alert.kind,
            "name": printable(alert.title),
            "version": alert.version,
            "ruleset": alert.config_hash,
            "reference": told.read_on,
        },
        "threat": _threat(alert),
        "organization": {"id": alert.entity.tenant},
        "observer": {"vendor": "stillwatch", "product": "stillwatch", "version": alert.producer.version},
        "related": {"user": list(alert.campaign.members_sample) if alert.campaign else None},
        "stillwatch": _own(alert, told),
    }
    return _without_none(made)


def _threat(alert: Alert) -> dict[str, Any]:
    techniques = [attack.technique for attack in alert.attack]
    parts = [attack.sub_technique for attack in alert.attack if attack.sub_technique is not None]
    below = {"id": parts, "name": [NAMES.get(p, p) for p in parts]} if parts else None
    named = {"id": techniques, "name": [NAMES.get(t, t) for t in techniques], "subtechnique": below}
    return {"framework": "MITRE ATLAS", "technique": named} if techniques else {}


def _own(alert: Alert, told: story.Story) -> dict[str, Any]:
    block, damage = alert.campaign, alert.damage
    return {
        "alert_id": alert.alert_id,
        "revision": alert.revision,
        "dedup_key": alert.dedup_key,
        "status": alert.status,
        "severity": alert.severity,
        "signatures": list(alert.signature_ids),
        "campaign": {"id": block.id, "accounts": block.accounts, "requests": block.requests} if block else None,
        "damage": {"requests": damage.requests, "output_tokens": damage.output_tokens} if damage else None,
        "todo": told.todo,
        "wrong": [printable(reason) for reason in told.wrong],
        "decision_ids": list(alert.decision_ids),
        "superseded_by": alert.superseded_by,
    }


def _without_none(value: Any) -> Any:
    """Leave out what is not known, empty objects and lists too."""
    if not isinstance(value, dict):
        return value
    kept = {name: _without_none(item) for name, item in value.items()}
    return {name: item for name, item in kept.items() if item not in (None, {}, [])}
