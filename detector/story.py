"""Story: an alert in plain words, for whoever is woken by it.

Purpose: what every reader of alerts is told, terminal, pager and chat alike: what happened, why we
think so, what it would take to be wrong, what has left the building, what to do now, where to read on.
Invariants: a pure function of the alert; every number is the alert's own. The words are not escaped:
each receiver's own rules are applied where they are written.
Limits: of a piece of evidence the first facts are told, `FACTS_SHOWN`; the rest stand in the alert.
Source: the sections of a runbook; evidence as log-likelihood ratios (Good, 1950).
"""

from typing import Final, NamedTuple

from detector.records import Alert, Damage, Evidence, Fact, format_time
from detector.signatures.registry import BY_ID
from detector.vocabulary import Action

FACTS_SHOWN: Final = 3
UNIT_CHARS_MAX: Final = 14
FULL, EMPTY = "\u2588", "\u2591"
_WHAT_IT_DOES: Final[dict[Action, str]] = {
    "observe": "watch; nothing needs to be refused",
    "throttle": "limit the requests of its accounts",
    "challenge": "refuse its accounts until their owners have proved who they are",
    "block": "refuse its accounts",
}


class Bar(NamedTuple):
    """One piece of evidence: how much it says (natural log-odds), out of how much it may, and its facts."""

    signature: str
    family: str
    title: str
    log_odds: float
    full: float
    counted: bool
    facts: str


class Story(NamedTuple):
    """The parts of what is told, each a sentence or a list of them; empty where there is nothing to say."""

    headline: str
    summary: str
    why: tuple[Bar, ...]
    verdict: str
    wrong: tuple[str, ...]
    lost: str
    todo: str
    read_on: str


def side_of(fact: Fact) -> str:
    """On which side of its threshold the value of a piece of evidence lies: the one that accuses."""
    return "at least" if fact.threshold is not None and fact.value >= fact.threshold else "at most"


def figure(value: float) -> str:
    """Write a number with as many digits as it deserves.

    >>> figure(0.31234), figure(12345.6), figure(3.0)
    ('0.312', '12,346', '3')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def facts_of(item: Evidence) -> str:
    """The first facts of a piece of evidence, with what they were held against; comparisons with others come first.

    >>> facts = {"rate_spread": Fact(value=0.2, unit="log", threshold=0.7)}
    >>> facts_of(Evidence(signature="c3", family="timing", log_odds=3.0, counted=True, facts=facts))
    'rate spread 0.2 log (at most 0.7)'
    """
    said = []
    ordered = sorted(item.facts.items(), key=lambda named: named[1].baseline is None)
    for name, fact in ordered[:FACTS_SHOWN]:
        held = [f"{side_of(fact)} {figure(fact.threshold)}"] if fact.threshold is not None else []
        held += [f"elsewhere {figure(fact.baseline)}"] if fact.baseline is not None else []
        words = f"{name.replace('_', ' ')} {figure(fact.value)}"
        # A unit that the name says already would be said twice; a long one is `explain`'s to say.
        short = len(fact.unit) <= UNIT_CHARS_MAX and fact.unit not in (*words.split(), "share")
        words += f" {fact.unit}" if short else ""
        said.append(words + (f" ({', '.join(held)})" if held else ""))
    return "; ".join(said)


def drawn(log_odds: float, *, full: float, width: int) -> str:
    """Draw log-odds as a bar of `width` characters; evidence against has its length, and a sign of its own.

    >>> drawn(2.5, full=5.0, width=4), drawn(0.1, full=5.0, width=4), drawn(9.0, full=5.0, width=4)
    ('██░░', '█░░░', '████')
    """
    share = min(abs(log_odds) / full, 1.0) if full > 0 else 0.0
    filled = max(round(share * width), 1) if log_odds else 0
    return FULL * filled + EMPTY * (width - filled)


def without(alert: Alert, item: Evidence) -> float:
    """The verdict's log-odds if one counted item had said nothing: the next of its family counts, if there is one."""
    assert alert.verdict is not None
    rest = (e.log_odds for e in alert.evidence if e.family == item.family and not e.counted)
    return round(alert.verdict.log_odds - item.log_odds + max(rest, default=0.0), 6)


def title_of(signature: str) -> str:
    """What a signature is called; its id where this release does not know it."""
    return BY_ID[signature].title if signature in BY_ID else signature


def strongest_of(alert: Alert) -> str:
    """The signature that weighs most, which is the one of the runbook; the kind of an alert that accuses nobody."""
    accusing = [e for e in alert.evidence if e.counted and e.log_odds > 0]
    most = min(accusing, key=lambda e: (-e.log_odds, e.signature), default=None)
    return most.signature if most is not None else next(iter(alert.signature_ids), alert.kind)


def _why(alert: Alert) -> tuple[Bar, ...]:
    full = alert.verdict.cap if alert.verdict is not None else 1.0
    ordered = sorted(alert.evidence, key=lambda e: (not e.counted, -e.log_odds, e.signature))
    return tuple(
        Bar(e.signature, e.family, title_of(e.signature), e.log_odds, full, e.counted, facts_of(e)) for e in ordered
    )


def _verdict(alert: Alert) -> str:
    v = alert.verdict
    if v is None:
        return ""
    return f"log-odds {v.log_odds:.1f}, of which {v.prior:.1f} before any evidence; an alert needs {v.threshold:.1f}"


def _wrong(alert: Alert) -> tuple[str, ...]:
    """Whom it might wrong, and which single pieces of evidence it rests on."""
    weight = {e.signature: e.log_odds for e in alert.evidence}
    twins = sorted(alert.innocent_twins.items(), key=lambda item: (-weight.get(item[0], 0.0), item[0]))
    said = [f"if it is one of these: {twin} [{signature}]" for signature, twin in twins]
    v = alert.verdict
    if v is not None:
        needed = [e for e in alert.evidence if e.counted and e.log_odds > 0 and without(alert, e) < v.threshold]
        if needed:
            said += [
                f"if {title_of(e.signature).lower()!r} has another reason: {without(alert, e):.1f} would be left"
                for e in sorted(needed, key=lambda e: (-e.log_odds, e.signature))
            ]
        else:
            said.append("no single piece of evidence decides: without any one of them the alert would stand")
    blind = len(alert.coverage.off)
    if blind and v is not None:
        who = "the signature" if blind == 1 else f"one of the {blind} signatures"
        said.append(f"if {who} that could not look, for lack of fields, would have cleared it")
    return tuple(said)


def lost_of(damage: Damage | None) -> str:
    """What has left the building.

    >>> lost_of(Damage(requests=2_000, output_tokens=31_000, cost_usd=4.5))
    '2,000 exchanges with 31,000 output tokens, worth 4.50 USD'
    """
    if damage is None:
        return ""
    reasoning = f", {damage.reasoning_tokens:,} of them reasoning" if damage.reasoning_tokens else ""
    cost = f", worth {damage.cost_usd:,.2f} USD" if damage.cost_usd else ""
    return f"{damage.requests:,} exchanges with {damage.output_tokens:,} output tokens{reasoning}{cost}"


def _todo(alert: Alert) -> str:
    if alert.superseded_by is not None:
        return f"nothing here: it went into {alert.superseded_by}"
    if alert.status == "resolved":
        return f"nothing: it is resolved ({alert.status_reason or 'no reason given'})"
    if alert.kind == "operational":
        return "read the runbook; nobody is accused by this"
    done = "enforced" if alert.mode == "enforce" else "computed only: shadow mode, nothing is enforced"
    # A campaign is published before its first lease.
    none = f"its decisions follow ({done})" if alert.revision == 0 else "nothing is decided"
    decided = f"{len(alert.decision_ids)} decisions or more stand ({done})" if alert.decision_ids else none
    return f"{alert.recommended_action}: {_WHAT_IT_DOES[alert.recommended_action]}; {decided}"


def runbook_of(alert: Alert, *, runbooks: str) -> str:
    """Where the alert's page is: under `runbooks` (a URL that ends in a slash), else its path in the repository."""
    if alert.runbook is None:
        return ""
    return runbooks + alert.runbook.rpartition("/")[2] if runbooks else alert.runbook


def tell(alert: Alert, *, runbooks: str = "") -> Story:
    """Tell an alert. `runbooks` is the URL under which the runbooks are published, empty where they are not."""
    shadow = " (shadow)" if alert.mode == "shadow" and alert.kind != "operational" else ""
    return Story(
        headline=f"{alert.severity.upper()}{shadow}: {alert.title}, {alert.entity.scope} {alert.entity.value}",
        summary=alert.summary,
        why=_why(alert),
        verdict=_verdict(alert),
        wrong=_wrong(alert),
        lost=lost_of(alert.damage),
        todo=_todo(alert),
        read_on=runbook_of(alert, runbooks=runbooks),
    )


def ended_at(alert: Alert) -> str:
    """When the newest thing that an alert speaks of happened, RFC 3339: its last event or its detection."""
    return format_time(max(alert.last_seen, alert.detected_at))
