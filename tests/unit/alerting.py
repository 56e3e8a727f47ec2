"""Alerts as the judge makes them, for tests of who reads them."""

from typing import Any

import msgspec

from detector.records import (
    Alert,
    CampaignBlock,
    Coverage,
    Damage,
    Entity,
    Evidence,
    Fact,
    LinkSummary,
    Producer,
    Sample,
    SignatureOff,
    Verdict,
    Window,
)

NOW_MS = 1_782_050_400_000
HOUR_MS = 3_600_000


def alert(*, number: int = 1, revision: int = 0, **more: Any) -> Alert:
    """A campaign's alert: enforced, high, open at revision 0 and updated after it."""
    made = Alert(
        alert_id=f"a-{number:016x}",
        revision=revision,
        dedup_key=f"default/c-{number:016x}",
        status="updated" if revision else "open",
        kind="campaign",
        signature_ids=("a7_machine_pace", "c10_short_lived", "c1_shared_template"),
        config_hash="00ff",
        version="0.1.0",
        title="Coordinated distillation campaign",
        summary="212 accounts sent 48,310 requests in 4.0 h that share template_fp and took 9,000,000 output tokens.",
        severity="high",
        risk_score=87,
        entity=Entity(scope="campaign", value=f"c-{number:016x}", tenant="default"),
        campaign=CampaignBlock(
            id=f"c-{number:016x}",
            accounts=212,
            requests=48_310,
            members_sample=("acct_1", "acct_2", "acct_3"),
            links=(
                LinkSummary(kind="template_fp", value="t" * 32, accounts=200, requests=40_000),
                LinkSummary(kind="subnet", value="203.0.113.0/24", accounts=90, requests=9_000),
            ),
            shape="harvester",
            capabilities=("reasoning_or_training_data",),
        ),
        window=Window(start=NOW_MS - 4 * HOUR_MS, end=NOW_MS),
        first_seen=NOW_MS - 4 * HOUR_MS,
        last_seen=NOW_MS - 1,
        detected_at=NOW_MS - 3 * HOUR_MS,
        evidence=(
            Evidence(
                signature="a7_machine_pace",
                family="timing",
                log_odds=2.5,
                counted=True,
                facts={"gap_spread": Fact(value=0.31, lower=0.28, upper=0.34, threshold=0.47, unit="log")},
            ),
            Evidence(signature="a1_template_dominance", family="content", log_odds=1.5, counted=False),
            Evidence(
                signature="c1_shared_template",
                family="content",
                log_odds=5.0,
                counted=True,
                facts={
                    "organisations": Fact(value=210, lower=190, threshold=8, unit="organisations", baseline=1.2),
                    "purity": Fact(value=0.93, threshold=0.3, unit="share of a member's requests"),
                },
            ),
            Evidence(signature="c10_short_lived", family="lifecycle", log_odds=3.0, counted=True),
            Evidence(signature="n1_crowded_prefix", family="network", log_odds=-0.5, counted=True),
        ),
        verdict=Verdict(log_odds=2.0, prior=-8.0, cap=5.0, threshold=1.5),
        innocent_twins={
            "a7_machine_pace": "an application that works through its customers' items in bulk",
            "c10_short_lived": "trials, courses, hackathons and launches",
            "c1_shared_template": "a coding harness, a bring-your-own-key application, a course",
        },
        samples=(Sample(event_id="e-1", event_time=NOW_MS - 5, account_id="acct_1"),),
        damage=Damage(requests=48_310, output_tokens=9_000_000, reasoning_tokens=400_000, cost_usd=135.5),
        coverage=Coverage(
            active=("a7_machine_pace", "c1_shared_template"),
            off=(SignatureOff(signature="p1_shared_payment", missing=("payment_fp",)),),
        ),
        recommended_action="challenge",
        decision_ids=("d-1", "d-2"),
        mode="enforce",
        runbook="deploy/runbooks/c1_shared_template.md",
        producer=Producer(version="0.1.0"),
    )
    return msgspec.structs.replace(made, **more)


def resolved(*, number: int = 1, revision: int = 1, **more: Any) -> Alert:
    """Its end."""
    return alert(
        **{
            "number": number,
            "revision": revision,
            "status": "resolved",
            "status_reason": "idle",
            "recommended_action": "observe",
            **more,
        }
    )


def operational(**more: Any) -> Alert:
    """An alert storm: about nobody."""
    return alert(
        number=9,
        **{
            "alert_id": "o-0000000000000009",
            "dedup_key": "default/alert_storm/495014",
            "kind": "operational",
            "signature_ids": (),
            "title": "Alert storm",
            "summary": "More than 30 campaign alerts opened in one hour.",
            "severity": "critical",
            "risk_score": 0,
            "entity": Entity(scope="tenant", value="default", tenant="default"),
            "campaign": None,
            "evidence": (),
            "verdict": None,
            "innocent_twins": {},
            "samples": (),
            "damage": None,
            "attack": (),
            "recommended_action": "observe",
            "decision_ids": (),
            "runbook": "deploy/runbooks/operational_storm.md",
            **more,
        },
    )
