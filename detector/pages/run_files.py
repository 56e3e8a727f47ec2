"""Run files: what a replay's directory holds, read for its report.

Purpose: the last revision of every alert, how each grew, counts of decisions and members, the
run's metrics and manifest, and, where labels were given, its accounts and time line.
Invariants: of every alert one revision is held, of a decision a count: memory follows alerts,
accounts and hours, not records.
Limits: a directory of an older release may lack what it did not write; such parts are None.
Source: the files of the record contract; `tuning.detail` writes the Parquet ones.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet

from detector.records import ACTIONS, Alert, SchemaError, decode, parse_time
from detector.vocabulary import Action

HOUR_MS = 3_600_000


class _Damage(msgspec.Struct):
    requests: int
    output_tokens: int


class _Revision(msgspec.Struct):
    """What of a revision is kept when a later one comes."""

    alert_id: str
    last_seen: str
    damage: _Damage | None = None


class _Decided(msgspec.Struct):
    """What of a decision is counted."""

    tenant: str
    scope: str
    value: str
    state: str
    action: Action
    mode: str
    origin: str
    effective_at: str
    decision_id: str
    campaign_id: str | None = None


class _Joined(msgspec.Struct):
    campaign_id: str
    account_id: str
    tenant: str
    requests: int


class Growth(NamedTuple):
    """A campaign's damage at one revision: when, and how much by then."""

    last_seen_ms: int
    requests: int
    output_tokens: int


class Decided(NamedTuple):
    """Counts over the decisions of a run."""

    records: int
    made: int  # decisions, renewals aside
    by_kind: Counter[tuple[str, str, str, str]]  # (action, mode, origin, state) -> records
    strictest: dict[tuple[str, str, str], Action]  # (tenant, scope, value) -> the strictest active action
    by_campaign: dict[str, Counter[str]]  # campaign id -> its targets by strictest action
    by_hour: dict[int, Counter[str]]  # hour -> records that took effect, by action


class RunFiles(NamedTuple):
    """A run as its report needs it."""

    folder: Path
    alerts: list[Alert]  # last revisions, earliest detection first
    revisions: int
    growth: dict[str, list[Growth]]  # alert id -> its revisions
    decided: Decided
    members: Counter[str]  # campaign id -> members
    requests_of_members: int
    metrics: dict[str, Any]
    manifest: dict[str, Any]
    timeline: pa.Table | None
    accounts: pa.Table | None
    scores: pa.Table | None

    @property
    def truth(self) -> dict[str, Any] | None:
        """The scores against labels; None where no labels were given."""
        found: dict[str, Any] | None = self.metrics.get("scores")
        return found

    @property
    def campaigns(self) -> list[Alert]:
        """The campaign alerts."""
        return [a for a in self.alerts if a.kind == "campaign"]


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _alerts(path: Path) -> tuple[list[Alert], dict[str, list[Growth]], int]:
    brief = msgspec.json.Decoder(_Revision)
    last: dict[str, bytes] = {}
    growth: dict[str, list[Growth]] = {}
    count = 0
    for raw in _lines(path):
        revision = brief.decode(raw)
        count += 1
        last[revision.alert_id] = raw
        if revision.damage is not None:
            at_ms = parse_time(revision.last_seen)
            point = Growth(at_ms, revision.damage.requests, revision.damage.output_tokens)
            growth.setdefault(revision.alert_id, []).append(point)
    alerts = [decode(raw, kind=Alert) for raw in last.values()]
    return sorted(alerts, key=lambda a: (a.detected_at, a.alert_id)), growth, count


def _decisions(path: Path) -> Decided:
    brief = msgspec.json.Decoder(_Decided)
    kinds: Counter[tuple[str, str, str, str]] = Counter()
    strictest: dict[tuple[str, str, str], Action] = {}
    campaign_of: dict[tuple[str, str, str], str] = {}
    by_hour: dict[int, Counter[str]] = {}
    ids = set()
    for raw in _lines(path):
        one = brief.decode(raw)
        kinds[one.action, one.mode, one.origin, one.state] += 1
        ids.add(one.decision_id)
        if one.state != "active":
            continue
        key = (one.tenant, one.scope, one.value)
        strictest[key] = max(strictest.get(key, "observe"), one.action, key=ACTIONS.index)
        campaign_of[key] = one.campaign_id or ""
        by_hour.setdefault(parse_time(one.effective_at) // HOUR_MS, Counter())[one.action] += 1
    by_campaign: dict[str, Counter[str]] = {}
    for key, action in strictest.items():
        by_campaign.setdefault(campaign_of[key], Counter())[action] += 1
    return Decided(kinds.total(), len(ids), kinds, strictest, by_campaign, by_hour)


def _table(path: Path) -> pa.Table | None:
    return pyarrow.parquet.read_table(path) if path.exists() else None


def read_files(folder: Path) -> RunFiles:
    """Read DIR. Raises `OSError` where a file is missing and `SchemaError` where one is damaged."""
    try:
        alerts, growth, revisions = _alerts(folder / "alerts.jsonl")
        decided = _decisions(folder / "decisions.jsonl")
        member = msgspec.json.Decoder(_Joined)
        joined = [member.decode(raw) for raw in _lines(folder / "members.jsonl")]
        metrics, manifest = (orjson.loads((folder / f"{name}.json").read_bytes()) for name in ("metrics", "manifest"))
        tables = [_table(folder / f"{name}.parquet") for name in ("timeline", "accounts", "scores")]
    except (msgspec.DecodeError, orjson.JSONDecodeError, pa.ArrowInvalid) as wrong:
        raise SchemaError(f"{folder} holds a damaged file: {wrong}; replay again") from wrong
    missing = {"settings", "inputs", "command", "version", "config_hash"} - set(manifest)
    if missing:
        raise SchemaError(f"{folder / 'manifest.json'} lacks {', '.join(sorted(missing))}; replay again")
    return RunFiles(
        folder=folder,
        alerts=alerts,
        revisions=revisions,
        growth=growth,
        decided=decided,
        members=Counter(m.campaign_id for m in joined),
        requests_of_members=sum(m.requests for m in joined),
        metrics=metrics,
        manifest=manifest,
        timeline=tables[0],
        accounts=tables[1],
        scores=tables[2],
    )
