"""Cards: an alert as a reader meets it, on the report and on the live page.

Purpose: title, one sentence with the numbers, how sure, the evidence as bars, what would have
cleared it, what its accounts share, where to look.
Invariants: a function of the alert alone (and of the families that an alert needs); the bars'
lengths compare within one alert.
Limits: the first links and samples are shown; the alert's record has the rest.
"""

from collections.abc import Iterable

from detector.pages.blocks import Bar, Card, Table, Tone, columns
from detector.pages.words import UNKNOWN, count, number, plural, share, when
from detector.records import Alert, Evidence
from detector.runtime.explain import clearing
from detector.signatures.registry import BY_ID
from detector.story import facts_of
from detector.vocabulary import Severity

LINKS_SHOWN, SAMPLES_SHOWN, MEMBERS_SHOWN = 8, 5, 3
TONES: dict[Severity, Tone] = {"critical": "bad", "high": "bad", "medium": "warn", "low": "plain", "info": "plain"}


def title_of(signature: str) -> str:
    """What a signature looks for, in words; its id where this release does not know it."""
    return BY_ID[signature].title if signature in BY_ID else signature


def _bars(evidence: Iterable[Evidence]) -> tuple[Bar, ...]:
    items = sorted(evidence, key=lambda e: (not e.counted, -abs(e.log_odds), e.signature))
    longest = max((abs(e.log_odds) for e in items), default=0.0) or 1.0
    return tuple(
        Bar(
            label=f"{title_of(e.signature)} ({e.signature})",
            family=e.family,
            weight=e.log_odds,
            share=abs(e.log_odds) / longest,
            counted=e.counted,
            facts=facts_of(e),
        )
        for e in items
    )


def _links(alert: Alert) -> Table | None:
    if alert.campaign is None or not alert.campaign.links:
        return None
    links = sorted(alert.campaign.links, key=lambda x: (-x.accounts, x.kind, x.value))
    rest = len(links) - LINKS_SHOWN
    return Table(
        "Shared attributes",
        columns("kind", "value", "#accounts", "#requests"),
        tuple((x.kind, x.value, count(x.accounts), count(x.requests)) for x in links[:LINKS_SHOWN]),
        note=f"And {rest} more in the alert's record." if rest > 0 else "",
    )


def _samples(alert: Alert) -> Table | None:
    if not alert.samples:
        return None
    newest = sorted(alert.samples, key=lambda s: (-s.event_time, s.event_id))[:SAMPLES_SHOWN]
    rows = tuple((s.event_id, when(s.event_time), s.account_id) for s in newest)
    return Table("Newest events of the sample", columns("event", "time (UTC)", "account"), rows)


def _fields(alert: Alert, done: str) -> tuple[tuple[str, str], ...]:
    fields = [("status", alert.status + (f" ({alert.status_reason})" if alert.status_reason else ""))]
    block, damage = alert.campaign, alert.damage
    if block is not None:
        some = ", ".join(block.members_sample[:MEMBERS_SHOWN])
        fields.append(("accounts", f"{count(block.accounts)}, such as {some}" if some else count(block.accounts)))
    if damage is not None:
        taken = f"{plural(damage.requests, 'request')}, {count(damage.output_tokens)} output tokens"
        taken += f", {count(damage.reasoning_tokens)} of reasoning" if damage.reasoning_tokens else ""
        taken += f", {damage.cost_usd:,.2f} USD" if damage.cost_usd is not None else ""
        fields.append(("has left the building", taken))
    if block is None:
        fields.append(("about", f"{alert.entity.scope} {alert.entity.value}"))
    else:
        fields += [
            ("seen (UTC)", f"{when(alert.first_seen)} to {when(alert.last_seen)}"),
            ("recommended", f"{alert.recommended_action} ({alert.mode} mode)"),
            ("done", done),
            ("confidence", share(alert.confidence) if alert.confidence is not None else "not calibrated"),
        ]
    fields += [
        ("detected (UTC)", when(alert.detected_at)),
        ("tenant", alert.entity.tenant if alert.entity.tenant != "default" else ""),
        ("alert", alert.alert_id),
        ("runbook", alert.runbook or UNKNOWN),
    ]
    if alert.superseded_by is not None:
        fields.append(("went into", alert.superseded_by))
    return tuple((name, value) for name, value in fields if value)


def card_of(alert: Alert, *, name: str, families_min: int, done: str = "", open_: bool = False) -> Card:
    """Make an alert's card. `name` is its place on the page, `done` what was decided about its accounts."""
    verdict = alert.verdict
    said = f"log odds {number(verdict.log_odds)}, an alert needs {number(verdict.threshold)}" if verdict else ""
    closed = alert.status in ("resolved", "suppressed")
    return Card(
        name=name,
        title=f"{alert.entity.value}: {alert.title}" if alert.kind == "campaign" else alert.title,
        badge=alert.severity,
        tone="plain" if closed else TONES[alert.severity],
        summary=alert.summary,
        fields=_fields(alert, done),
        bars=_bars(alert.evidence),
        verdict=said,
        cleared=tuple(clearing(alert, families_min)) if verdict is not None else (),
        shares=_links(alert),
        samples=_samples(alert),
        open=open_,
    )
