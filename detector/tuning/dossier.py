"""Dossier: one campaign told as the published letters tell theirs, for people and for programs.

Purpose: `dossier` gathers what alert, members, decisions, labels and (where the log is at hand) the members' traffic
say into one tree, `dossier.v1`; `dossier_text` writes it for people.
Invariants: a pure function of its inputs; every number stands with what it counts. No text, and no account beyond the
sample that the alert itself names.
Limits: without a log there is no pathway beyond what the accounts were found to share. Who is behind a campaign is
not said: nothing here can know it.
Source: the table of incidents in the letters on distillation (accounts, exchanges, window, capabilities targeted,
pathway, damage); the evidence as the alert has it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from detector.operators import Label
from detector.records import Alert, Decision, DetectorError, Member, format_time
from detector.signatures.registry import BY_ID
from detector.tuning.traffic import Traffic

VERSION = "dossier.v1"
DAY_MS = 86_400_000
ATTRIBUTES_SHOWN = 10
LINKS_SHOWN = 10
SHARE_TOLD = 0.05  # of requests that asked for something, from here on it is a capability
CAPABILITIES = {
    "cot": "reasoning",
    "rubric_grading": "judging by rubric",
    "rewrite": "rewriting",
    "self_instruct": "task generation",
    "tool_trace": "tool use traces",
    "refusal_probe": "refusal behaviour",
    "json_dataset": "data sets",
    "signature_replay": "hidden reasoning",
    "tools": "tool use",
    "logprobs_requested": "token probabilities",
    "structured_output": "structured output",
}


class NoCampaignError(DetectorError):
    """The alert is about no campaign: there is nothing to tell in a dossier."""


class CaseFile(NamedTuple):
    """Everything that is known about one campaign."""

    alert: Alert  # its last revision
    revisions: Sequence[Alert] = ()
    members: Sequence[Member] = ()
    decisions: Sequence[Decision] = ()
    labels: Sequence[Label] = ()
    traffic: Traffic | None = None


def case_file(
    alert_id: str,
    *,
    alerts: Iterable[Alert],
    members: Iterable[Member],
    decisions: Iterable[Decision],
    labels: Iterable[Label] = (),
) -> CaseFile | None:
    """Pick what concerns one campaign, by its own or its alert's id; None where there is no such alert.

    Raises `NoCampaignError` where the alert is about something else.
    """
    revisions = [a for a in alerts if alert_id in (a.alert_id, a.entity.value)]
    told = [a for a in revisions if a.campaign is not None]
    if revisions and not told:
        raise NoCampaignError(f"alert {alert_id} is {revisions[-1].kind}: a dossier is about a campaign")
    if not told:
        return None
    last = max(told, key=lambda a: a.revision)
    assert last.campaign is not None
    campaign = last.campaign.id
    return CaseFile(
        alert=last,
        revisions=[a for a in told if a.alert_id == last.alert_id],
        members=[m for m in members if m.campaign_id == campaign],
        decisions=[d for d in decisions if d.campaign_id == campaign],
        labels=[n for n in labels if n.alert_id == last.alert_id],
    )


def accounts_of(case: CaseFile) -> set[str]:
    """The accounts that are known to belong: members, else those sampled or decided on."""
    assert case.alert.campaign is not None
    sampled = {*case.alert.campaign.members_sample} | {d.value for d in case.decisions if d.scope == "account"}
    return {m.account_id for m in case.members} or sampled


def dossier(case: CaseFile) -> dict[str, Any]:
    """One campaign as a JSON-ready tree, `dossier.v1`."""
    alert, campaign, traffic = case.alert, case.alert.campaign, case.traffic
    assert campaign is not None
    days = max(alert.last_seen - alert.first_seen, 1) / DAY_MS
    damage = alert.damage
    return {
        "schema_version": VERSION,
        "campaign_id": campaign.id,
        "alert_id": alert.alert_id,
        "revision": alert.revision,
        "tenant": alert.entity.tenant,
        "status": alert.status,
        "status_reason": alert.status_reason,
        "actor": "not attributed",
        "shape": campaign.shape,
        "accounts": {
            "total": campaign.accounts,
            "per_account_day": round(campaign.requests / max(campaign.accounts, 1) / days, 3),
            "by_tier": traffic.tiers if traffic is not None else None,
            "young_share": _share(traffic.young, traffic.age_known) if traffic is not None else None,
            "sample": list(campaign.members_sample),
        },
        "exchanges": campaign.requests,
        "window": {
            "first_seen": format_time(alert.first_seen),
            "last_seen": format_time(alert.last_seen),
            "detected_at": format_time(alert.detected_at),
            "days": round(days, 3),
            "requests_per_day": round(campaign.requests / days, 1),
        },
        "capabilities": _capabilities(case),
        "pathway": _pathway(case),
        "damage": {
            "requests": damage.requests if damage else None,
            "output_tokens": damage.output_tokens if damage else None,
            "reasoning_tokens": damage.reasoning_tokens if damage else None,
            "cost_usd": damage.cost_usd if damage else None,
        },
        "evidence": _evidence(alert),
        "verdict": None if alert.verdict is None else {n: getattr(alert.verdict, n) for n in _VERDICT},
        "techniques": [a.sub_technique or a.technique for a in alert.attack],
        "decisions": _decisions(case),
        "timeline": _timeline(case),
        "labels": [{"verdict": n.verdict, "by": n.by, "note": n.note, "at": format_time(n.at)} for n in case.labels],
        "blind": [{"signature": s.signature, "missing": list(s.missing)} for s in alert.coverage.off],
        "runbook": alert.runbook,
        "producer": {"version": alert.version, "config_hash": alert.config_hash},
    }


_VERDICT = ("log_odds", "prior", "threshold")


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _capabilities(case: CaseFile) -> list[dict[str, Any]]:
    """What it was after: what the alert says, and what enough of the members' requests asked for."""
    assert case.alert.campaign is not None
    told: list[dict[str, Any]] = [
        {"capability": name.replace("_", " "), "share": None} for name in case.alert.campaign.capabilities
    ]
    if case.traffic is not None and case.traffic.requests:
        shares = {
            CAPABILITIES[n]: c / case.traffic.requests for n, c in case.traffic.asked.items() if n in CAPABILITIES
        }
        told += [{"capability": n, "share": round(s, 4)} for n, s in shares.items() if s >= SHARE_TOLD]
    return told


def _pathway(case: CaseFile) -> dict[str, Any]:
    """How it came in: what its accounts share, and over which networks, programs and payments."""
    alert, traffic = case.alert, case.traffic
    assert alert.campaign is not None
    kinds = Counter(link.kind for link in alert.campaign.links)
    strongest = sorted(alert.campaign.links, key=lambda n: (-n.accounts, -n.requests, n.kind, n.value))
    out: dict[str, Any] = {
        "links": dict(sorted(kinds.items())),
        "strongest_links": [
            {"kind": n.kind, "value": n.value, "accounts": n.accounts, "requests": n.requests}
            for n in strongest[:LINKS_SHOWN]
        ],
        "traffic": None,
    }
    if traffic is not None:
        out["traffic"] = {
            "accounts_seen": traffic.accounts,
            "requests_seen": traffic.requests,
            "models": traffic.models,
            "networks": traffic.networks,
            "asns": traffic.asns,
            "subnets": traffic.subnets,
            "payments": traffic.payments,
            "email_domains": traffic.email_domains,
            "shared": [a._asdict() for a in traffic.attributes[:ATTRIBUTES_SHOWN]],
            "other_accounts_seen": traffic.others,
        }
    return out


def _evidence(alert: Alert) -> list[dict[str, Any]]:
    return [
        {
            "signature": e.signature,
            "title": BY_ID[e.signature].title if e.signature in BY_ID else e.signature,
            "family": e.family,
            "log_odds": e.log_odds,
            "counted": e.counted,
            "facts": {
                name: {"value": f.value, "unit": f.unit, "threshold": f.threshold, "baseline": f.baseline}
                for name, f in e.facts.items()
            },
        }
        for e in sorted(alert.evidence, key=lambda e: (-e.counted, -e.log_odds, e.signature))
    ]


def _decisions(case: CaseFile) -> dict[str, Any]:
    """What was done: keys by their strictest action, and how many records that took."""
    order = ("observe", "throttle", "challenge", "block")
    strictest: dict[tuple[str, str], str] = {}
    for d in case.decisions:
        if d.state == "active":
            held = strictest.get((d.scope, d.value), "observe")
            strictest[d.scope, d.value] = max(held, d.action, key=order.index)
    return {
        "records": len(case.decisions),
        "keys_by_strictest_action": dict(sorted(Counter(strictest.values()).items())),
        "modes": dict(sorted(Counter(d.mode for d in case.decisions).items())),
        "revoked": sum(1 for d in case.decisions if d.state == "revoked"),
        "first_at": format_time(min(d.effective_at for d in case.decisions)) if case.decisions else None,
    }


def _timeline(case: CaseFile) -> list[dict[str, Any]]:
    """How it grew: the first revision, each doubling, the last one."""
    out, doubled = [], 0
    for alert in sorted(case.revisions, key=lambda a: a.revision):
        assert alert.campaign is not None
        if alert.campaign.requests >= doubled or alert.revision == case.alert.revision:
            doubled = 2 * alert.campaign.requests
            out.append(
                {
                    "at": format_time(max(alert.last_seen, alert.detected_at)),
                    "revision": alert.revision,
                    "accounts": alert.campaign.accounts,
                    "requests": alert.campaign.requests,
                    "severity": alert.severity,
                }
            )
    return out
