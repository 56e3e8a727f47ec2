"""What a run did: its files, its counts, what produced it.

Purpose: the records about a replay itself, `metrics.json` and `manifest.json`.
Invariants: the counts depend on input, settings and options only, never on the clock.
Limits: standard input has no digest.
Source: the record contract's files of DIR.
"""

import hashlib
import platform
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from detector import __version__
from detector.config import Settings, config_hash
from detector.formats import AUTO
from detector.hashing import key_digest
from detector.judge import Judge
from detector.policy import contains
from detector.records import Alert, Member, format_time
from detector.vocabulary import Action

FILES = (
    *("alerts.jsonl", "decisions.jsonl", "members.jsonl", "rejects.jsonl", "metrics.json", "manifest.json"),
    *("scores.parquet", "timeline.parquet", "report.html"),
)
# What is made of the others, some of it only where labels are given.
DERIVED = ("report.html", "accounts.parquet")


class Progress(NamedTuple):
    """How far a run came: for the progress line."""

    share: float | None
    rows: int
    end_ms: int
    alerts: int


class Result(NamedTuple):
    """What a run did."""

    alerts: list[Alert]  # the last revision of each
    decisions: int
    members: list[Member]
    rejects: Counter[str]
    rows: int
    first_ms: int | None  # None: no event was judged
    last_ms: int | None
    accounts: int
    strictest: dict[tuple[str, str], Action]  # the strictest action on each (tenant, account)
    outside: int  # events before --since or after --until
    coverage: Any
    raw_text: bool
    interrupted: bool
    judges: dict[str, Judge]


def _time(time_ms: int | None) -> str | None:
    return format_time(time_ms) if time_ms is not None else None


def metrics(result: Result) -> dict[str, Any]:
    """The counts of a run; nothing here depends on the clock."""
    return {
        "events": result.rows,
        "accounts": result.accounts,
        "first_event": _time(result.first_ms),
        "last_event": _time(result.last_ms),
        "alerts": len(result.alerts),
        "decisions": result.decisions,
        "accounts_acted_on": sum(contains(action) for action in result.strictest.values()),
        "accounts_by_strictest_action": dict(sorted(Counter(result.strictest.values()).items())),
        "events_outside_window": result.outside,
        "rejects": dict(sorted(result.rejects.items())),
        "interrupted": result.interrupted,
        "coverage": result.coverage,
        "policy": {
            tenant: {
                "vetoes": dict(sorted(j.cases.ledger.vetoes.items())),
                "cap_hits": j.cases.ledger.cap_hits,
                "operators": dict(sorted(j.cases.desk.outcomes.items())),
                "operators_not_reached": sum(1 for item in j.cases.desk.waiting if item.source),
                "enforcement": j.cases.desk.enforcement,
            }
            for tenant, j in sorted(result.judges.items())
        },
        "state": {
            tenant: {
                "accounts": j.accounts.index.live(),
                "accounts_evicted": j.accounts.evicted,
                "links": j.links.index.live(),
                "links_evicted": j.links.evicted,
                "gate_load": int(j.links.gate_load[0]),
                "late_rows": j.buffer.late,
            }
            for tenant, j in sorted(result.judges.items())
        },
    }


def _digested(name: str) -> dict[str, str | int]:
    path = Path(name)
    if name == "-" or not path.is_file():
        return {"path": name}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": digest}


def manifest(
    inputs: list[str],
    *,
    form: str = AUTO,
    settings: Settings,
    key: bytes,
    command: list[str],
    operators: Path | None,
    window_ms: tuple[int, int],
    approve_after_ms: int,
) -> dict[str, Any]:
    """What produced a run: inputs, digests, format, settings, what else shaped it, key name, versions, command."""
    since, until = (format_time(t) if abs(t) < 1 << 61 else None for t in window_ms)
    return {
        "inputs": [_digested(name) for name in inputs],
        "format": form,
        "operators": _digested(str(operators)) if operators is not None else None,
        "since": since,
        "until": until,
        "approve_after_ms": approve_after_ms if approve_after_ms >= 0 else None,
        "settings": msgspec.to_builtins(settings),
        "config_hash": config_hash(settings),
        "hash_key": key_digest(key),
        "seed": settings.seed,
        "version": __version__,
        "python": platform.python_version(),
        "staleness_checked": False,  # files carry no ingest times
        "command": command,
    }
