"""Explain: why an alert, an account or an event was judged as it was, from a run's files.

Purpose: values, bounds, thresholds and baselines of the evidence, and what would have
cleared it.
Invariants: re-adds the counted evidence and says so if it does not give the verdict.
Limits: DIR has no record of accounts outside campaigns, nor of events: they are looked up
in the inputs that the manifest names. As of a time, an alert is the last revision whose
events lie before it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from detector.campaigns import HIT_SHARE_MIN, HITS_MIN
from detector.encode import subnet_of
from detector.formats import AUTO
from detector.records import Alert, Decision, DetectorError, Evidence, Member, SchemaError, decode, format_time
from detector.runtime import lookup, scores_file
from detector.runtime.lookup import Link, Seen
from detector.signatures.registry import ACCOUNT_SIGNATURES, BY_ID
from detector.tuning.scores import STRING_COLUMNS
from detector.verdict import COUNTED

Record = TypeVar("Record", Alert, Decision, Member)

LINKS_SHOWN = 5
_SIGNS = (("fires", 1), ("quiet", -1))


class NotFoundError(DetectorError):
    """The run holds nothing of that name."""


class Run(NamedTuple):
    """A run's records: every alert revision, decision and member; how it came about."""

    alerts: list[Alert]
    decisions: list[Decision]
    members: list[Member]
    inputs: list[str]
    form: str  # the inputs' format, as it was asked for
    hash_key: str
    families_min: int
    threshold: float
    scores: Path  # what every signature said at the end; may be missing


def read_run(folder: Path) -> Run:
    """Read DIR's files. Raises `OSError` where one is missing and `SchemaError` where one is damaged."""
    raw_manifest = (folder / "manifest.json").read_bytes()
    try:
        manifest = orjson.loads(raw_manifest)
        inputs = [item["path"] for item in manifest["inputs"]]
        hash_key, verdict = manifest["hash_key"], manifest["settings"]["verdict"]
        families_min, threshold = int(verdict["families_min"]), float(verdict["threshold"])
    except (KeyError, TypeError, ValueError) as wrong:
        raise SchemaError(f"{folder / 'manifest.json'} is not a run's manifest: {wrong!r}; replay again") from wrong
    return Run(
        alerts=list(_records(folder / "alerts.jsonl", kind=Alert)),
        decisions=list(_records(folder / "decisions.jsonl", kind=Decision)),
        members=list(_records(folder / "members.jsonl", kind=Member)),
        inputs=inputs,
        form=manifest.get("format", AUTO),
        hash_key=hash_key,
        families_min=families_min,
        threshold=threshold,
        scores=folder / scores_file.FILE,
    )


def _records(path: Path, *, kind: type[Record]) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                yield decode(raw, kind=kind)
            except SchemaError as wrong:
                raise SchemaError(f"{path} line {number}: {wrong}; replay again") from wrong


def as_of(run: Run, at_ms: int | None) -> Run:
    """The run as it stood at a time; all of it where none is given."""
    if at_ms is None:
        return run
    return run._replace(
        alerts=[a for a in run.alerts if max(a.detected_at, a.last_seen) <= at_ms],
        decisions=[d for d in run.decisions if d.issued_at <= at_ms],
        members=[m for m in run.members if m.joined_at <= at_ms],
    )


def in_force(decisions: list[Decision], at_ms: int) -> list[Decision]:
    """The decisions that act at a time: of each key the one with the highest `seq` so far, if it still runs."""
    governing: dict[tuple[str, str, str], Decision] = {}
    for d in decisions:
        key = (d.tenant, d.scope, d.value)
        if d.effective_at <= at_ms and (key not in governing or d.seq > governing[key].seq):
            governing[key] = d
    return [d for d in governing.values() if d.state == "active" and at_ms < d.expires_at]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"


def _item(item: Evidence) -> Iterator[str]:
    title = BY_ID[item.signature].title if item.signature in BY_ID else item.signature
    use = "counted" if item.counted else "not counted: its family has a stronger item"
    yield f"  {item.family}: {title} [{item.signature}] {item.log_odds:+.2f} ({use})"
    for name, fact in item.facts.items():
        bounds = (
            f" in [{_number(fact.lower)}, {_number(fact.upper)}]"
            if fact.lower is not None or fact.upper is not None
            else ""
        )
        yield (
            f"      {name.replace('_', ' ')} = {_number(fact.value)}{bounds} {fact.unit};"
            f" threshold {_number(fact.threshold)}, population {_number(fact.baseline)}"
        )


def explain_alert(run: Run, alert_id: str) -> Iterator[str]:
    """Lines on one alert: its verdict, item by item, and what would have cleared it. Also takes a campaign's id."""
    revisions = [a for a in run.alerts if alert_id in (a.alert_id, a.entity.value)]
    # A campaign's id also stands in the alerts about its caps.
    alert = next((a for a in reversed(revisions) if a.kind == "campaign"), revisions[-1] if revisions else None)
    if alert is None:
        known = ", ".join(sorted({a.alert_id for a in run.alerts}))
        raise NotFoundError(f"no alert {alert_id!r} in this run; it has: {known or 'none'}")
    reason = f", {alert.status_reason}" if alert.status_reason else ""
    yield f"{alert.alert_id} revision {alert.revision} ({alert.status}{reason}): {alert.title}"
    yield f"  {alert.summary}"
    yield f"  detected {format_time(alert.detected_at)}; settings {alert.config_hash}, version {alert.version}"
    yield f"  what to do: {alert.runbook}; recommended: {alert.recommended_action} ({alert.mode})"
    if alert.superseded_by is not None:
        yield f"  it went into {alert.superseded_by}"
    if alert.verdict is None:
        return
    yield from _verdict(alert, run.families_min)
    if alert.campaign is not None:
        yield "Shared by its accounts:"
        for link in alert.campaign.links[:LINKS_SHOWN]:
            yield f"  {link.kind} {link.value}: {link.accounts:,} accounts, {link.requests:,} requests"
        rest = len(alert.campaign.links) - LINKS_SHOWN
        if rest > 0:
            yield f"  and {rest} more (alerts.jsonl)"
    for off in alert.coverage.off:
        yield f"Blind: {off.signature} lacked {', '.join(off.missing)}"


def _verdict(alert: Alert, families_min: int) -> Iterator[str]:
    verdict = alert.verdict
    assert verdict is not None
    yield (
        f"Verdict: log-odds {verdict.log_odds:.2f} against a threshold of {verdict.threshold:.2f}"
        f" (prior {verdict.prior:.2f}, at most {verdict.cap:.2f} of one family)"
    )
    for item in sorted(alert.evidence, key=lambda e: (-e.log_odds * e.counted, e.signature)):
        yield from _item(item)
    total = verdict.prior + sum(e.log_odds for e in alert.evidence if e.counted)
    yield f"  sum of prior and counted items: {total:.2f}" + (
        "" if abs(total - verdict.log_odds) < 1e-6 else "  (DIFFERS from the verdict)"
    )
    yield "What would have cleared it:"
    yield from (f"  {line}" for line in clearing(alert, families_min))


def countable(item: Evidence) -> bool:
    """Say whether a verdict may count an item: what signatures in shadow say is only shown."""
    return item.signature not in BY_ID or BY_ID[item.signature].maturity in COUNTED


def clearing(alert: Alert, families_min: int) -> Iterator[str]:
    """Say what would have kept an alert with a verdict from being raised, a line each."""
    verdict = alert.verdict
    assert verdict is not None
    margin = verdict.log_odds - verdict.threshold
    yield f"evidence weaker by more than {margin:.2f} in all"
    families = {e.family for e in alert.evidence if e.counted and e.log_odds > 0}
    spare = len(families) - families_min
    yield f"fewer than {families_min} families that accuse: {spare + 1} of {', '.join(sorted(families))} gone"
    for item in sorted(alert.evidence, key=lambda e: (-e.log_odds, e.signature)):
        if item.counted and item.log_odds > margin:
            conditions = ", ".join(
                f"{name.replace('_', ' ')} not past {_number(fact.threshold)} (was {_number(fact.value)})"
                for name, fact in item.facts.items()
                if fact.threshold is not None
            )
            # Without it the next of its family counts, if there is one.
            others = (e for e in alert.evidence if e.family == item.family and not e.counted and countable(e))
            second = max((e.log_odds for e in others), default=0.0)
            left = verdict.log_odds - item.log_odds + second
            word = "cleared" if left < verdict.threshold else "not cleared, its family has another item"
            yield f"without {item.signature} ({conditions}): {left:.2f}, {word}"


def _campaign_links(run: Run) -> dict[str, dict[Link, int]]:
    """Each campaign's links with their accounts, as its last revision names them."""
    last = {a.campaign.id: a.campaign for a in run.alerts if a.campaign is not None}
    return {identity: {(k.kind, k.value): k.accounts for k in block.links} for identity, block in last.items()}


def _decision(decision: Decision, at_ms: int | None) -> str:
    force = at_ms is not None and decision in in_force([decision], at_ms)
    asked = decision.approval
    pending = f", {asked.proposed_action} awaits approval" if asked.state == "pending" else ""
    pending = f", approved by {asked.by}" if asked.state == "approved" else pending
    return (
        f"  {format_time(decision.effective_at)} seq {decision.seq}: {decision.state} {decision.action}"
        f" until {format_time(decision.expires_at)} ({decision.mode}, {decision.origin}{pending})"
        f"{'  <- in force' if force else ''}"
    )


def explain_account(run: Run, account_id: str, *, key: bytes, at_ms: int | None = None) -> Iterator[str]:
    """Lines on one account as of a time: its campaigns and decisions, or why it has none."""
    later = {m.campaign_id: m.joined_at for m in run.members if m.account_id == account_id}
    run = as_of(run, at_ms)
    mine = [m for m in run.members if m.account_id == account_id]
    decided = [d for d in run.decisions if d.scope == "account" and d.value == account_id]
    seen = lookup.account(run.inputs, account_id, key=key, until_ms=at_ms, form=run.form)
    if seen is None and not mine and not decided:
        raise NotFoundError(
            f"no account {account_id!r} in this run's files or inputs{' up to then' if at_ms is not None else ''}"
        )
    yield f"account {account_id}" + (f" as of {format_time(at_ms)}" if at_ms is not None else "")
    if seen is not None:
        yield (
            f"  {seen.requests:,} requests from {format_time(seen.first_ms)} to {format_time(seen.last_ms)},"
            f" {seen.output_tokens:,} output tokens, models {', '.join(seen.models)}"
        )
    for member in mine:
        yield (
            f"  member of {member.campaign_id} since {format_time(member.joined_at)}:"
            f" {member.requests:,} matching requests since {format_time(member.first_seen)}"
            f" (a member needs {HITS_MIN}, and {HIT_SHARE_MIN:.0%} of its requests)"
        )
        yield f"    why the campaign stands accused: explain alert {member.campaign_id}"
    if not mine:
        since = "; ".join(f"{campaign} does since {format_time(joined)}" for campaign, joined in sorted(later.items()))
        yield (f"  no campaign held it then; {since}" if since else "  no campaign of this run holds it")
    if seen is not None:
        yield from _shared(run, seen, member=bool(mine), later=bool(later))
    if at_ms is None:
        yield from _by_itself(run, account_id)
    if not decided:
        yield "  no decision was made about it"
    governing = in_force(decided, at_ms) if at_ms is not None else []
    for decision in decided:
        yield _decision(decision, at_ms if decision in governing else None)


def _by_itself(run: Run, account_id: str) -> Iterator[str]:
    """What signatures say of one account, and how near to an alert its best pool came, at the end of the run."""
    for row in scores_file.read_account(run.scores, account_id):
        said = {word: [s.id for s in ACCOUNT_SIGNATURES if (row.get(s.id) or 0) * sign > 0] for word, sign in _SIGNS}
        words = "; ".join(f"{word}: {', '.join(names)}" for word, names in said.items() if names)
        yield f"  by itself, at the end of the run: {words or 'no signature can judge it'}"
        best = row["log_odds"]
        yield (
            f"  its campaign, else its best pool, reached log-odds {best:.2f}; an alert needs {run.threshold:.2f}"
            f" and {run.families_min} families"
            if best is not None
            else "  no pool large enough to be judged holds it"
        )


def _shared(run: Run, seen: Seen, *, member: bool, later: bool) -> Iterator[str]:
    """What an account has in common with campaigns, and what it would take to be a member."""
    campaigns = _campaign_links(run)
    common = 0
    for identity, links in sorted(campaigns.items()):
        hits = sorted(((seen.links[link], link) for link in links if seen.links[link]), reverse=True)
        common += len(hits)
        for count, link in hits[:LINKS_SHOWN]:
            kind, value = link
            yield (
                f"  shares {kind} {value} with {identity}: {count:,} of its {seen.requests:,} requests carry it,"
                f" {links[link]:,} accounts do"
            )
        if len(hits) > LINKS_SHOWN:
            yield f"  and {len(hits) - LINKS_SHOWN} more with {identity}"
    if not campaigns:
        yield f"  {'no campaign stood then' if later else 'this run has no campaign'} that it could belong to"
    elif not common:
        yield "  none of its attributes is one that a campaign shares"
    if campaigns and not member:
        needed = max(HITS_MIN, -(-int(HIT_SHARE_MIN * 1000) * seen.requests // 1000))
        yield (
            f"  needed to be a member: {needed:,} requests that carry a campaign's text, link or prefix and come from"
            " its program (and without tools or further turns, where the campaign has none)"
        )


def explain_event(run: Run, event_id: str, *, key: bytes) -> Iterator[str]:
    """Lines on one event: where it stands, what it shares with campaigns, what was in force, whose it is."""
    found = next(lookup.find(run.inputs, field="event_id", value=event_id, key=key, form=run.form), None)
    if found is None:
        raise NotFoundError(f"no event {event_id!r} in the inputs of this run: {', '.join(run.inputs)}")
    at_ms = int(found.event["event_time"])
    yield f"event {event_id} at {format_time(at_ms)}, {found.place}, of account {found.event['account_id']}"
    campaigns = _campaign_links(run)
    for kind, value in found.links:
        holders = [identity for identity, links in sorted(campaigns.items()) if (kind, value) in links]
        yield f"  {kind} {value}" + (f"  <- shared by {', '.join(holders)}" if holders else "")
    met = [d for d in in_force(run.decisions, at_ms) if _meets(d, found.event)]
    for decision in met:
        verb = "met" if decision.mode == "enforce" else "would have met"
        yield f"  it {verb} {decision.action} on {decision.scope} {decision.value} ({decision.decision_id})"
    if not met:
        yield "  no decision was in force for it"
    yield from explain_account(run, found.event["account_id"], key=key, at_ms=at_ms)


def _meets(decision: Decision, event: dict[str, Any]) -> bool:
    """Say whether an event falls under a decision by its own attributes."""
    if "*" not in decision.models and event["request_model"] not in decision.models:
        return False
    if (event["tenant"] or "default") != decision.tenant:
        return False
    if decision.scope == "anchor_fp":
        return decision.value in [f"{anchor:016x}" for anchor in event["anchor_fps"] or ()]
    if decision.scope == "subnet":
        return event["client_ip"] is not None and subnet_of(event["client_ip"]) == decision.value
    return bool(event[STRING_COLUMNS[decision.scope]] == decision.value)
