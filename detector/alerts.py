"""Alerts: what a campaign's state says to a person at three in the morning.

Purpose: build the full `alert.v1` snapshot of a campaign.
Invariants: a pure function of the campaign and the settings' hash; equal campaigns
give equal alerts; `detected_at` is the first revision's and stays.
Limits: 20 members and 25 samples are shown; the rest are in members.jsonl.
Source: the alert record of the contract; summaries carry the numbers.
"""

from typing import Literal

from detector import __version__, hashing
from detector.campaigns import Campaign
from detector.config import Settings
from detector.records import (
    EXTRACT_MODEL,
    MEMBERS_SAMPLE_MAX,
    SAMPLES_MAX,
    Alert,
    Attack,
    CampaignBlock,
    Coverage,
    Damage,
    Entity,
    LinkSummary,
    Producer,
    Sample,
    Window,
)
from detector.signatures.registry import BY_ID
from detector.vocabulary import AlertStatus

HOUR_MS = 3_600_000
CRITICAL_ACCOUNTS = 1_000
CRITICAL_REQUESTS = 100_000
PROXY_SERVICES = Attack(technique="AML.T0008", sub_technique="AML.T0008.005")


def severity_of(campaign: Campaign) -> Literal["high", "critical"]:
    """Harm if true: by size."""
    large = len(campaign.members) >= CRITICAL_ACCOUNTS or campaign.requests >= CRITICAL_REQUESTS
    return "critical" if large else "high"


def risk_of(campaign: Campaign) -> int:
    """Map log-odds above the threshold to 50..100."""
    return max(0, min(100, round(50 + 8 * (campaign.verdict.log_odds - campaign.verdict.threshold))))


def alert_id(campaign: Campaign) -> str:
    """Derive the alert's id from its campaign's."""
    return f"a-{hashing.content_digest(campaign.id.encode())}"


def summary_of(campaign: Campaign) -> str:
    """One sentence with the numbers."""
    hours = max((campaign.last_ms - campaign.first_ms) / HOUR_MS, 0.1)
    kinds = sorted({kind for kind, _ in campaign.core.values()})
    why = "; ".join(BY_ID[s].title.lower() for s in campaign.signature_ids)
    return (
        f"{len(campaign.members):,} accounts sent {campaign.requests:,} requests in {hours:,.1f} h that share "
        f"{', '.join(kinds)} and took {campaign.output_tokens:,} output tokens: {why}."
    )


def campaign_alert(
    campaign: Campaign,
    *,
    tenant: str,
    settings: Settings,
    config_hash: str,
    coverage: Coverage,
    link_sizes: dict[int, tuple[int, int]],
    decision_ids: tuple[str, ...],
    absorbed_by: str | None = None,
) -> Alert:
    """Build the current revision. `link_sizes` maps core links to (accounts, requests)."""
    identity = alert_id(campaign)
    members = sorted(m.name for m in campaign.members.values())
    status: AlertStatus = "resolved" if campaign.closed else "open" if campaign.revision == 0 else "updated"
    links = tuple(
        LinkSummary(
            kind=kind, value=value, accounts=link_sizes.get(key, (0, 0))[0], requests=link_sizes.get(key, (0, 0))[1]
        )
        for key, (kind, value) in sorted(campaign.core.items())
    )
    return Alert(
        alert_id=identity,
        revision=campaign.revision,
        dedup_key=f"{tenant}/{campaign.id}",
        status=status,
        status_reason=campaign.closed or None,
        kind="campaign",
        signature_ids=campaign.signature_ids,
        config_hash=config_hash,
        version=__version__,
        title=f"Coordinated distillation campaign: {len(campaign.members):,} accounts",
        summary=summary_of(campaign),
        severity=severity_of(campaign),
        risk_score=risk_of(campaign),
        entity=Entity(scope="campaign", value=campaign.id, tenant=tenant),
        campaign=CampaignBlock(
            id=campaign.id,
            accounts=len(campaign.members),
            requests=campaign.requests,
            members_sample=tuple(members[:MEMBERS_SAMPLE_MAX]),
            links=links,
            shape="harvester",
        ),
        window=Window(start=campaign.first_ms, end=campaign.last_ms + 1),
        first_seen=campaign.first_ms,
        last_seen=campaign.last_ms,
        detected_at=campaign.opened_ms + settings.lateness_ms,
        evidence=campaign.evidence,
        verdict=campaign.verdict,
        samples=tuple(Sample(event_id=e, event_time=t, account_id=a) for e, t, a in campaign.samples[:SAMPLES_MAX]),
        damage=Damage(
            requests=campaign.requests,
            output_tokens=campaign.output_tokens,
            reasoning_tokens=campaign.reasoning_tokens,
            cost_usd=campaign.cost_micro_usd / 1e6 if campaign.cost_micro_usd else None,
        ),
        attack=(EXTRACT_MODEL, PROXY_SERVICES),
        coverage=coverage,
        recommended_action="challenge" if campaign.contains else "throttle",
        decision_ids=decision_ids,
        mode=settings.mode,
        superseded_by=absorbed_by,
        runbook=f"deploy/runbooks/{campaign.signature_ids[0]}.md" if campaign.signature_ids else None,
        producer=Producer(version=__version__),
    )
