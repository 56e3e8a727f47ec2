"""Alerts: what a campaign's state says to a person at three in the morning.

Purpose: build the full `alert.v1` snapshot of a campaign, and the operational alerts that
say where a cap held policy back or alerts came too fast.
Invariants: a pure function of the campaign and the settings' hash; equal campaigns
give equal alerts; `detected_at` is the first revision's and stays. An alert has at least
one account; its runbook is that of the strongest signature.
Limits: 20 members and 25 samples are shown; the rest are in members.jsonl.
Source: the alert record of the contract; summaries carry the numbers.
"""

from typing import Literal, NamedTuple

import msgspec

from detector import __version__, hashing
from detector.campaigns import Campaign
from detector.config import Settings
from detector.records import (
    DEDUP_KEY_CHARS_MAX,
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
from detector.signatures.twins import TWINS
from detector.vocabulary import AlertStatus, Shape

HOUR_MS = 3_600_000
CRITICAL_ACCOUNTS = 1_000
CRITICAL_REQUESTS = 100_000
PROXY_SERVICES = Attack(technique="AML.T0008", sub_technique="AML.T0008.005")
RUNBOOKS = "deploy/runbooks"
# Equal for all campaigns and in all revisions: receivers group by it, the numbers stand in the summary.
CAMPAIGN_TITLE = "Coordinated distillation campaign"
# One text on many accounts is how a harvest looks; a relay carries its customers' own texts.
HARVEST_SIGNATURES = frozenset({"a1_template_dominance", "c1_shared_template", "c3_work_queue", "n3_prefix_template"})
RELAY_SIGNATURES = frozenset({"a15_many_systems", "n7_handed_afar"})
CAPABILITY_OF = {"a2_elicitation": "reasoning_or_training_data"}
CAP_WORDS = {
    "contained_share": "accounts challenged or blocked would exceed their share of the accounts active in 24 h",
    "blocks_per_hour": "new blocks of this hour would exceed their number",
    "blocked_share": "blocked accounts would exceed their share of the accounts active in 24 h",
    "blocked_tokens_share": "blocked accounts would exceed their share of the tokens of about a day",
    "blocks_per_campaign": "blocked accounts of this campaign would exceed their number before approval",
}


class Issuer(NamedTuple):
    """Who says it: the tenant, the settings, and what the signatures could see."""

    tenant: str
    settings: Settings
    config_hash: str
    coverage: Coverage


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


def dedup_key(tenant: str, what: str) -> str:
    """Name a case for receivers, within their bound: a tenant with a very long name is named by its digest.

    >>> dedup_key("default", "c-1"), len(dedup_key("x" * 256, "c-1"))
    ('default/c-1', 20)
    """
    whole = f"{tenant}/{what}"
    return whole if len(whole) <= DEDUP_KEY_CHARS_MAX else f"{hashing.content_digest(tenant.encode())}/{what}"


def strongest(campaign: Campaign) -> str | None:
    """Name the signature that weighs most, ties by name."""
    counted = [e for e in campaign.evidence if e.counted and e.log_odds > 0]
    most = min(counted, key=lambda e: (-e.log_odds, e.signature), default=None)
    return most.signature if most is not None else None


def _runbook(campaign: Campaign) -> str | None:
    """The page of the strongest signature."""
    signature = strongest(campaign)
    return f"{RUNBOOKS}/{signature}.md" if signature is not None else None


def _shape(campaign: Campaign) -> Shape:
    """Name the shape; where users' conversations move between seats it is a relay, whatever else is shared."""
    if set(campaign.signature_ids) >= RELAY_SIGNATURES:
        return "relay"
    return "harvester" if HARVEST_SIGNATURES & set(campaign.signature_ids) else "unknown"


def _capabilities(campaign: Campaign) -> tuple[str, ...]:
    """What it is after, as far as a signature tells, whether its family counts it or not."""
    found = {CAPABILITY_OF[e.signature] for e in campaign.evidence if e.log_odds > 0 and e.signature in CAPABILITY_OF}
    return tuple(sorted(found))


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
    issuer: Issuer,
    link_sizes: dict[int, tuple[int, int]],
    decision_ids: tuple[str, ...],
    absorbed_by: str | None = None,
    suppressed: bool = False,
) -> Alert:
    """Build the current revision. `link_sizes` maps core links to (accounts, requests)."""
    identity = alert_id(campaign)
    members = sorted(m.name for m in campaign.members.values())
    assert members, f"campaign {campaign.id} has no members"
    status: AlertStatus = "resolved" if campaign.closed else "open" if campaign.revision == 0 else "updated"
    if suppressed:
        status = "suppressed"
    links = tuple(
        LinkSummary(
            kind=kind, value=value, accounts=link_sizes.get(key, (0, 0))[0], requests=link_sizes.get(key, (0, 0))[1]
        )
        for key, (kind, value) in sorted(campaign.core.items())
    )
    return Alert(
        alert_id=identity,
        revision=campaign.revision,
        dedup_key=dedup_key(issuer.tenant, campaign.id),
        status=status,
        status_reason=campaign.closed or ("alert storm" if suppressed else campaign.remark or None),
        kind="campaign",
        signature_ids=campaign.signature_ids,
        config_hash=issuer.config_hash,
        version=__version__,
        title=CAMPAIGN_TITLE,
        summary=summary_of(campaign),
        severity=severity_of(campaign),
        risk_score=risk_of(campaign),
        entity=Entity(scope="campaign", value=campaign.id, tenant=issuer.tenant),
        campaign=CampaignBlock(
            id=campaign.id,
            accounts=len(campaign.members),
            requests=campaign.requests,
            members_sample=tuple(members[:MEMBERS_SAMPLE_MAX]),
            links=links,
            shape=_shape(campaign),
            capabilities=_capabilities(campaign),
        ),
        window=Window(start=campaign.first_ms, end=campaign.last_ms + 1),
        first_seen=campaign.first_ms,
        last_seen=campaign.last_ms,
        detected_at=campaign.opened_ms + issuer.settings.lateness_ms,
        evidence=campaign.evidence,
        verdict=campaign.verdict,
        innocent_twins={s: TWINS[s] for s in campaign.signature_ids},
        samples=tuple(Sample(event_id=e, event_time=t, account_id=a) for e, t, a in campaign.samples[:SAMPLES_MAX]),
        damage=Damage(
            requests=campaign.requests,
            output_tokens=campaign.output_tokens,
            reasoning_tokens=campaign.reasoning_tokens,
            cost_usd=campaign.cost_micro_usd / 1e6 if campaign.cost_micro_usd else None,
        ),
        attack=(EXTRACT_MODEL, PROXY_SERVICES),
        coverage=issuer.coverage,
        recommended_action="observe" if campaign.closed else "challenge" if campaign.contains else "throttle",
        decision_ids=decision_ids,
        mode=issuer.settings.mode,
        superseded_by=absorbed_by,
        runbook=_runbook(campaign),
        producer=Producer(version=__version__),
    )


def cap_alert(cap: str, campaign: Campaign, *, issuer: Issuer, now_ms: int) -> Alert:
    """Say that a cap holds a campaign's decisions back: one alert per cap, campaign and hour."""
    return _operational(
        f"{cap}/{campaign.id}/{now_ms // HOUR_MS}",
        title=f"Blast-radius cap reached: {cap}",
        summary=f"Campaign {campaign.id}: {CAP_WORDS[cap]}; further members get a milder action until it is approved.",
        entity=Entity(scope="campaign", value=campaign.id, tenant=issuer.tenant),
        runbook=f"{RUNBOOKS}/operational_cap.md",
        issuer=issuer,
        now_ms=now_ms,
    )


def storm_alert(issuer: Issuer, *, now_ms: int) -> Alert:
    """Say that more campaigns opened in an hour than people can read: further ones are written, but suppressed."""
    return _operational(
        f"alert_storm/{now_ms // HOUR_MS}",
        title="Alert storm",
        summary=(
            f"More than {issuer.settings.decision.alerts_per_hour_max} campaign alerts opened in one hour; "
            "further ones of this hour are suppressed, their decisions are not."
        ),
        entity=Entity(scope="tenant", value=issuer.tenant, tenant=issuer.tenant),
        runbook=f"{RUNBOOKS}/operational_storm.md",
        issuer=issuer,
        now_ms=now_ms,
    )


def test_alert(issuer: Issuer, *, now_ms: int) -> Alert:
    """An alert that an operator asked for, to see that alerts arrive; the judge does not know of it."""
    said = _operational(
        f"test/{now_ms}",
        title="Test alert: nothing happened",
        summary="An operator asked for this alert to see whether alerts arrive. Nothing was detected or decided.",
        entity=Entity(scope="tenant", value=issuer.tenant, tenant=issuer.tenant),
        runbook=f"{RUNBOOKS}/operational_test.md",
        issuer=issuer,
        now_ms=now_ms,
    )
    return msgspec.structs.replace(
        said, status="resolved", status_reason="test", severity="info", detected_at=now_ms, recommended_action="observe"
    )


def over(alert: Alert) -> Alert:
    """The last revision of an operational alert: what it tells of is over with its hour."""
    return msgspec.structs.replace(
        alert, revision=1, status="resolved", status_reason="its hour is over", recommended_action="observe"
    )


def _operational(
    what: str,
    *,
    title: str,
    summary: str,
    entity: Entity,
    runbook: str,
    issuer: Issuer,
    now_ms: int,
) -> Alert:
    start_ms, key = now_ms // HOUR_MS * HOUR_MS, dedup_key(issuer.tenant, what)
    return Alert(
        alert_id=f"o-{hashing.content_digest(key.encode())}",
        revision=0,
        dedup_key=key,
        status="open",
        kind="operational",
        signature_ids=(),
        config_hash=issuer.config_hash,
        version=__version__,
        title=title,
        summary=summary,
        severity="critical",
        risk_score=0,
        entity=entity,
        window=Window(start=start_ms, end=start_ms + HOUR_MS),
        first_seen=now_ms,
        last_seen=now_ms,
        detected_at=now_ms + issuer.settings.lateness_ms,
        attack=(),
        coverage=issuer.coverage,
        mode=issuer.settings.mode,
        runbook=runbook,
        producer=Producer(version=__version__),
    )
