"""OCSF: an alert as a Detection Finding, class 2004 of the Open Cybersecurity Schema Framework 1.8.0.

Purpose: for security data lakes and SIEMs that speak it.
Invariants: `finding_info.uid` is the alert's id, `metadata.uid` names the revision; times are epoch
milliseconds; a value that is not known is left out. Analytics are our signatures. Identifiers are
exact, whatever stands in them; sentences are printable.
Limits: what OCSF has no place for (damage, coverage, whom it might wrong) stands in `unmapped`.
Source: https://schema.ocsf.io/1.8.0/classes/detection_finding, profiles security_control and incident.
"""

from typing import Any, Final

from detector import story
from detector.records import Alert, Attack, Evidence
from detector.signatures.registry import BY_ID
from detector.sinks.escaping import printable
from detector.vocabulary import Action, Family, Severity

VERSION: Final = "1.8.0"
SEVERITIES: Final[dict[Severity, tuple[int, str]]] = {
    "info": (1, "Informational"),
    "low": (2, "Low"),
    "medium": (3, "Medium"),
    "high": (4, "High"),
    "critical": (5, "Critical"),
}
# What enforcement does: action_id and disposition_id, with their captions.
DONE: Final[dict[Action, tuple[int, str, int, str]]] = {
    "observe": (3, "Observed", 15, "Detected"),
    "throttle": (4, "Modified", 14, "Delayed"),
    "challenge": (4, "Modified", 23, "Challenge"),
    "block": (2, "Denied", 2, "Blocked"),
}
# Kinds of analytic: 1 rule, 2 behavioural, 4 learning, 5 fingerprinting.
ANALYTICS: Final[dict[Family, int]] = {
    "content": 5,
    "timing": 2,
    "network": 1,
    "identity": 1,
    "lifecycle": 2,
    "behaviour": 2,
}
LEARNING: Final = "m1_population_outlier"
ACTIVITIES: Final = {1: "Create", 2: "Update", 3: "Close"}
SUBNET: Final = 12  # of the kinds of observable
NAMES: Final = {
    "AML.T0024": "Exfiltration via AI Inference API",
    "AML.T0024.002": "Extract AI Model",
    "AML.T0008": "Acquire Infrastructure",
    "AML.T0008.005": "AI Service Proxies",
}
TACTICS: Final = {
    "AML.T0024": {"uid": "AML.TA0010", "name": "Exfiltration"},
    "AML.T0008": {"uid": "AML.TA0003", "name": "Resource Development"},
}


def finding_of(alert: Alert, *, runbooks: str = "") -> dict[str, Any]:
    """The finding of one revision. `runbooks` is the runbooks' URL; without one nothing is linked."""
    activity = 3 if alert.status == "resolved" else 2 if alert.revision else 1
    severity_id, severity = SEVERITIES[alert.severity]
    held = alert.mode == "enforce" and bool(alert.decision_ids)
    action_id, action, disposition_id, disposition = DONE[alert.recommended_action if held else "observe"]
    status_id, status = _status(alert)
    told = story.tell(alert, runbooks=runbooks)
    made = {
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "category_uid": 2,
        "category_name": "Findings",
        "activity_id": activity,
        "activity_name": ACTIVITIES[activity],
        "type_uid": 200_400 + activity,
        "type_name": f"Detection Finding: {ACTIVITIES[activity]}",
        "time": alert.detected_at,
        "start_time": alert.first_seen,
        "end_time": alert.last_seen,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_detail": printable(alert.status_reason) if alert.status_reason else None,
        "risk_score": alert.risk_score,
        "is_alert": alert.status in ("open", "updated"),
        "message": printable(alert.summary),
        "count": alert.campaign.requests if alert.campaign is not None else None,
        "action_id": action_id,
        "action": action,
        "disposition_id": disposition_id,
        "disposition": disposition,
        **_confidence(alert),
        "metadata": _metadata(alert),
        "finding_info": _info(alert, told, linked=bool(runbooks)),
        "evidences": _evidences(alert),
        "anomaly_analyses": _anomalies(alert),
        "resources": [{"uid": alert.entity.tenant, "type": "LLM API"}],
        "remediation": {"desc": told.todo, "references": [told.read_on] if told.read_on else []},
        "observables": _observables(alert),
        "unmapped": _unmapped(alert, told),
    }
    return {name: value for name, value in made.items() if value not in (None, [], {})}


def _status(alert: Alert) -> tuple[int, str]:
    # OCSF's own "Suppressed" says that somebody found it benign, which nobody did.
    words = {"open": (1, "New"), "updated": (1, "New"), "resolved": (4, "Resolved")}
    return words.get(alert.status, (99, "Held back by an alert storm"))


def _confidence(alert: Alert) -> dict[str, Any]:
    if alert.confidence is None:
        return {"confidence_id": 0, "confidence": "Unknown"}
    step = 3 if alert.confidence >= 0.9 else 2 if alert.confidence >= 0.5 else 1
    words = {1: "Low", 2: "Medium", 3: "High"}
    return {"confidence_id": step, "confidence": words[step], "confidence_score": round(100 * alert.confidence)}


def _metadata(alert: Alert) -> dict[str, Any]:
    return {
        "version": VERSION,
        "uid": f"{alert.alert_id}:{alert.revision}",
        "correlation_uid": alert.campaign.id if alert.campaign is not None else alert.dedup_key,
        "tenant_uid": alert.entity.tenant,
        "profiles": ["security_control", "incident"],
        "product": {"name": "stillwatch", "vendor_name": "stillwatch", "version": alert.producer.version},
        "log_name": "stillwatch.alerts",
        "event_code": alert.signature_ids[0] if alert.signature_ids else alert.kind,
    }


def _analytic(signature: str) -> dict[str, Any]:
    known = BY_ID.get(signature)
    if known is None:
        return {"uid": signature, "name": signature, "type_id": 0}
    kind = 4 if signature == LEARNING else ANALYTICS[known.family]
    return {"uid": signature, "name": known.title, "type_id": kind, "version": str(known.version)}


def _info(alert: Alert, told: story.Story, *, linked: bool) -> dict[str, Any]:
    analytics = [_analytic(bar.signature) for bar in told.why if bar.counted and bar.log_odds > 0]
    made = {
        "uid": alert.alert_id,
        "title": printable(alert.title),
        "desc": printable(" ".join((alert.summary, *(f"Wrong {reason}." for reason in told.wrong)))),
        "types": ["model_distillation" if alert.kind != "operational" else "operational"],
        "created_time": alert.detected_at,
        "modified_time": max(alert.detected_at, alert.last_seen),
        "first_seen_time": alert.first_seen,
        "last_seen_time": alert.last_seen,
        "src_url": told.read_on or None if linked else None,
        "related_events_count": alert.campaign.requests if alert.campaign is not None else None,
        "analytic": analytics[0] if analytics else None,
        "related_analytics": analytics[1:],
        "attacks": [_attack(attack) for attack in alert.attack],
        "tags": [
            {"name": name, "value": value}
            for name, value in (("dedup_key", alert.dedup_key), ("mode", alert.mode), ("kind", alert.kind))
        ],
    }
    return {name: value for name, value in made.items() if value not in (None, [])}


def _attack(attack: Attack) -> dict[str, Any]:
    made: dict[str, Any] = {
        "version": f"{attack.framework} {attack.version}",
        "technique": {"uid": attack.technique, "name": NAMES.get(attack.technique, attack.technique)},
    }
    if attack.technique in TACTICS:
        made["tactic"] = TACTICS[attack.technique]
    if attack.sub_technique is not None:
        made["sub_technique"] = {
            "uid": attack.sub_technique,
            "name": NAMES.get(attack.sub_technique, attack.sub_technique),
        }
    return made


def _evidences(alert: Alert) -> list[dict[str, Any]]:
    """Members by account, and what they share."""
    if alert.campaign is None:
        return []
    members = [
        {"name": "account", "uid": name, "user": {"uid": name, "type_id": 99, "type": "Account"}}
        for name in alert.campaign.members_sample
    ]
    links = [
        {
            "name": f"shared {link.kind}",
            "data": {
                "kind": link.kind,
                "value": link.value,
                "accounts": link.accounts,
                "requests": link.requests,
            },
        }
        for link in alert.campaign.links
    ]
    return [*members, *links]


def _anomalies(alert: Alert) -> list[dict[str, Any]]:
    """Each counted piece of evidence: what was measured, and what the population shows or the threshold is."""
    targets = [{"name": alert.entity.value, "type": alert.entity.scope}]
    made = []
    for item in alert.evidence:
        if item.counted and item.facts:
            found: dict[str, Any] = {"analysis_targets": targets, "anomalies": _observed(item, baseline=False)}
            baselines = _observed(item, baseline=True)
            made.append(found | ({"baselines": baselines} if baselines else {}))
    return made


def _observed(item: Evidence, *, baseline: bool) -> list[dict[str, Any]]:
    said = []
    for name, fact in item.facts.items():
        usual = [f"population {fact.baseline:g}"] if fact.baseline is not None else []
        usual += [f"threshold {fact.threshold:g}"] if fact.threshold is not None else []
        values = usual if baseline else [f"{fact.value:g} {fact.unit}"]
        if values:
            said.append(
                {
                    "observation_parameter": f"{item.signature}.{name}",
                    "observation_type": item.family,
                    "observations": [{"value": value} for value in values],
                }
            )
    return said


def _observables(alert: Alert) -> list[dict[str, Any]]:
    links = alert.campaign.links if alert.campaign is not None else ()
    return [
        {"name": "evidences[].data.value", "type_id": SUBNET, "type": "Subnet", "value": link.value}
        for link in links
        if link.kind == "subnet"
    ]


def _unmapped(alert: Alert, told: story.Story) -> dict[str, Any]:
    made = {
        "left_the_building": told.lost,
        "wrong": [printable(reason) for reason in told.wrong],
        "verdict": told.verdict,
        "config_hash": alert.config_hash,
        "decision_ids": list(alert.decision_ids),
        "superseded_by": alert.superseded_by,
        "signatures_off": [off.signature for off in alert.coverage.off],
    }
    return {name: value for name, value in made.items() if value}
