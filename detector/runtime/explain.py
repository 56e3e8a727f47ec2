"""Explain: why an alert, an account or an event was judged as it was, from a run's files.

Purpose: values, bounds, thresholds and baselines of the evidence, and what would have
cleared it.
Invariants: re-adds the counted evidence and says so if it does not give the verdict.
Limits: reads DIR only; an event is looked up in the inputs that the manifest names.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow.compute as pc

from detector.records import Alert, Decision, DetectorError, Evidence, Member, decode, format_time
from detector.runtime.sources import decode_block, open_input
from detector.signatures.registry import BY_ID


class NotFoundError(DetectorError):
    """The run holds nothing of that name."""


class Run(NamedTuple):
    """A run's records: every alert revision, decision and member."""

    alerts: list[Alert]
    decisions: list[Decision]
    members: list[Member]
    inputs: list[str]


def read_run(folder: Path) -> Run:
    """Read DIR's files. Raises `OSError` where one is missing and `SchemaError` where one is damaged."""

    def lines(name: str) -> Iterator[bytes]:
        with (folder / name).open("rb") as file:
            yield from file

    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    return Run(
        alerts=[decode(raw, kind=Alert) for raw in lines("alerts.jsonl")],
        decisions=[decode(raw, kind=Decision) for raw in lines("decisions.jsonl")],
        members=[decode(raw, kind=Member) for raw in lines("members.jsonl")],
        inputs=[item["path"] for item in manifest["inputs"]],
    )


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
    if not revisions:
        known = ", ".join(sorted({a.alert_id for a in run.alerts}))
        raise NotFoundError(f"no alert {alert_id!r} in this run; it has: {known or 'none'}")
    alert = revisions[-1]
    yield f"{alert.alert_id} revision {alert.revision} ({alert.status}): {alert.title}"
    yield f"  {alert.summary}"
    yield f"  detected {format_time(alert.detected_at)}; settings {alert.config_hash}, version {alert.version}"
    if alert.verdict is None:
        return
    verdict = alert.verdict
    yield (
        f"Verdict: log-odds {verdict.log_odds:.2f} against a threshold of {verdict.threshold:.2f}"
        f" (prior {verdict.prior:.2f})"
    )
    for item in sorted(alert.evidence, key=lambda e: (-e.log_odds * e.counted, e.signature)):
        yield from _item(item)
    total = verdict.prior + sum(e.log_odds for e in alert.evidence if e.counted)
    yield f"  sum of prior and counted items: {total:.2f}" + (
        "" if abs(total - verdict.log_odds) < 1e-6 else "  (DIFFERS from the verdict)"
    )
    yield "What would have cleared it:"
    margin = verdict.log_odds - verdict.threshold
    yield f"  evidence weaker by {margin:.2f} in all, or a fourth family against it"
    for item in alert.evidence:
        if item.counted and item.log_odds > margin:
            conditions = ", ".join(
                f"{name.replace('_', ' ')} short of {_number(fact.threshold)}"
                for name, fact in item.facts.items()
                if fact.threshold is not None
            )
            yield f"  without {item.signature} ({conditions}): {verdict.log_odds - item.log_odds:.2f}"
    for off in alert.coverage.off:
        yield f"Blind: {off.signature} lacked {', '.join(off.missing)}"


def explain_account(run: Run, account_id: str, *, at_ms: int | None = None) -> Iterator[str]:
    """Lines on one account: its campaigns, its decisions (in force at `at_ms` if given)."""
    mine = [m for m in run.members if m.account_id == account_id]
    decided = [d for d in run.decisions if d.scope == "account" and d.value == account_id]
    yield f"account {account_id}"
    if not mine and not decided:
        yield "  belongs to no campaign and no decision was made about it in this run"
    for member in mine:
        yield (
            f"  member of {member.campaign_id} since {format_time(member.joined_at)}:"
            f" {member.requests:,} matching requests"
            f" since {format_time(member.first_seen)}"
        )
        yield "    it sent at least two requests that carry the campaign's links and fit its profile"
        yield f"    (explain alert {member.campaign_id})"
    for decision in decided:
        force = at_ms is not None and decision.effective_at <= at_ms < decision.expires_at
        yield (
            f"  {format_time(decision.effective_at)} seq {decision.seq}: {decision.state} {decision.action}"
            f" until {format_time(decision.expires_at)} ({decision.mode}){'  <- in force' if force else ''}"
        )


def explain_event(run: Run, event_id: str) -> Iterator[str]:
    """Lines on one event: where it stands, whose it is, and what was in force."""
    for name in run.inputs:
        if name == "-":
            continue
        for block in open_input(name):
            decoded = decode_block(block)
            hits = pc.indices_nonzero(pc.equal(decoded.batch.column("event_id"), event_id)).to_pylist()
            for row in hits:
                event = decoded.batch.slice(row, 1).to_pylist()[0]
                yield f"event {event_id} at {format_time(event['event_time'])}, {name}:{int(decoded.positions[row])}"
                yield from explain_account(run, event["account_id"], at_ms=event["event_time"])
                return
    raise NotFoundError(f"no event {event_id!r} in the inputs of this run: {', '.join(run.inputs)}")
