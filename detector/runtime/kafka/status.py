"""What a worker process says of itself: whether it is ready, and where it stands.

Purpose: one reading of the roles' state for probes, `/status` and metrics.
Invariants: reading changes nothing. Ready means: the group has said which partitions are ours,
the state of each tenant among them is restored or nothing of it is there to be read, and what
is produced becomes durable. A worker that the group gave nothing to stands by, and is ready.
Limits: reads the engine's state between two batches, in the fold's own thread.
Source: the operators' handbook names what an operator asks first.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from detector import __version__, hashing
from detector.config import Settings, config_hash
from detector.decision import blocks_in_hour
from detector.judge import Judge
from detector.panes import NEVER
from detector.records import format_time
from detector.runtime.kafka.application import Reading
from detector.runtime.kafka.encode_role import EncodeRole
from detector.runtime.kafka.judge_role import JudgeRole
from detector.runtime.kafka.session import Session
from detector.runtime.kafka.tally import Tally

Role = EncodeRole | JudgeRole


class Process:
    """A worker process as it is looked at: its roles (replaced when they are started again) and its counts."""

    def __init__(self, settings: Settings, *, key: bytes) -> None:
        """Begin with no role."""
        self.settings, self.config_hash = settings, config_hash(settings)
        self.key_digest = hashing.key_digest(key)
        self.tally = Tally()
        self.roles: list[Role] = []
        self.running = False
        self.begun_s = time.monotonic()

    def sessions(self) -> list[Session]:
        """The judges of this process, by partition."""
        judges = (role for role in self.roles if isinstance(role, JudgeRole))
        return [session for role in judges for _, session in sorted(role.sessions.items())]


class Caps(NamedTuple):
    """How much of what policy allows is used: shares of the accounts that acted in 24 h and of about a day's tokens."""

    contained_share: float
    blocked_share: float
    blocked_tokens_share: float
    blocks_in_hour: int
    active_accounts: int
    active_tokens: int
    blocked_tokens: int


def caps_of(judge: Judge) -> Caps:
    """Say how near a tenant is to its caps."""
    ledger, active = judge.cases.ledger, max(judge.cases.active_accounts, 1)
    tokens = judge.cases.active_tokens
    now_ms = judge.reached_ms()
    return Caps(
        contained_share=round(ledger.contained / active, 6),
        blocked_share=round(ledger.blocked / active, 6),
        blocked_tokens_share=round(ledger.blocked_tokens / max(tokens, 1), 6),
        blocks_in_hour=blocks_in_hour(ledger, now_ms) if now_ms > NEVER else 0,
        active_accounts=judge.cases.active_accounts,
        active_tokens=tokens,
        blocked_tokens=ledger.blocked_tokens,
    )


def waiting_for(process: Process) -> list[str]:
    """List what this worker still waits for; empty when it is ready."""
    if not process.running:
        return ["start: the roles are not running, brokers may be away"]
    return [reason for role in process.roles for reason in _waiting(role)]


def _waiting(role: Role) -> Iterator[str]:
    if not role.application.settled:
        yield f"{role.name}: partitions are not assigned"
        return
    if isinstance(role, EncodeRole):
        if not role.producing:
            yield "encode: what is sent does not become durable"
        return
    for reading in role.application.readings():
        if reading.partition >= len(role.tenants):
            continue
        session = role.sessions.get(reading.partition)
        if session is None:
            if reading.end is None or reading.end > (reading.position or 0):
                yield f"judge: the state of partition {reading.partition} is not restored"
        elif session.broken:
            yield f"judge: the producer of partition {reading.partition} is fenced or broken"
        elif session.recovering:
            yield f"judge: partition {reading.partition} is catching up with what was published"


def _lag(reading: Reading) -> int | None:
    known = reading.end is not None and reading.position is not None
    return max(0, (reading.end or 0) - (reading.position or 0)) if known else None


def _time(time_ms: int) -> str | None:
    return format_time(time_ms) if time_ms > 0 else None  # a source without an event stands long before that


def _tenant(session: Session) -> dict[str, Any]:
    judge, now_s = session.judge, time.monotonic()
    buffer, cases = judge.buffer, judge.cases
    _, coverage = judge.coverage()
    held = session.progress.snapshot
    all_signatures = len(coverage.active) + len(coverage.off)
    return {
        "tenant": session.place.tenant,
        "partition": session.place.partition,
        "ready": not session.broken and not session.recovering,
        "frame_offset": session.next_offset,
        "published_offset": session.published,
        "watermark": _time(buffer.watermark_ms()),
        "pane_end": _time(buffer.closed_ms),
        "sources": [
            {"source": name, "position": s.stop, "watermark": _time(s.max_ms), "ended": s.ended}
            | ({"follows": True} if name in session.following else {})
            for name, s in buffer.sources.items()
        ],
        "coverage": {
            "said": f"{len(coverage.active)} of {all_signatures} signatures active",
            "active": list(coverage.active),
            "off": [{"signature": o.signature, "missing": list(o.missing)} for o in coverage.off],
        },
        "events": judge.events,
        "accounts": judge.accounts.index.live(),
        "links": judge.links.index.live(),
        "campaigns_open": sum(1 for c in cases.campaigns.values() if c.revision and not c.closed),
        "leases": len(cases.ledger.leases),
        "enforcement": cases.desk.enforcement,
        "caps": caps_of(judge)._asdict() | {"hits": cases.ledger.cap_hits, "vetoes": dict(cases.ledger.vetoes)},
        "panes_forced": buffer.forced,
        "snapshot": {
            "generation": held.generation if held is not None else 0,
            "age_s": round(now_s - session.durable_s, 1),
            "frame_offset": session.snapshot_offset,
        },
    }


def _role(role: Role) -> dict[str, Any]:
    readings = role.application.readings() if role.application.settled else []
    return {
        "role": role.name,
        "assigned": role.application.settled,
        "partitions": [reading._asdict() | {"lag": _lag(reading)} for reading in readings],
    }


def status_of(process: Process) -> dict[str, Any]:
    """Say everything that `/status` says, as plain values."""
    waits, tally, decision = waiting_for(process), process.tally, process.settings.decision
    return {
        "version": __version__,
        "config_hash": process.config_hash,
        "fingerprint_key": process.key_digest,
        "mode": process.settings.mode,
        "ready": not waits,
        "waiting_for": waits,
        "up_s": round(time.monotonic() - process.begun_s, 1),
        "limits": {
            "contained_share_max": decision.contained_share_max,
            "blocked_share_max": decision.blocked_share_max,
            "blocked_tokens_share_max": decision.blocked_tokens_share_max,
            "blocks_per_hour_max": decision.blocks_per_hour_max,
            "accounts_max": process.settings.tables.accounts_max,
            "links_max": process.settings.tables.links_max,
        },
        "events_ok": sum(n for (_, result), n in tally.events.items() if result == "ok"),
        "rejects": dict(sorted((tally.dead + tally.refused).items())),
        "roles": [_role(role) for role in process.roles] if process.running else [],
        "tenants": [_tenant(session) for session in process.sessions()],
    }


def as_text(value: Any, *, indent: str = "") -> str:
    r"""Write plain values as indented lines for a person.

    >>> print(as_text({"a": 1, "b": [], "c": [{"d": "x"}, {"d": None}]}), end="")
    a: 1
    b: none
    c:
      - d: x
      - d: unknown
    """
    out = []
    for name, item in value.items():
        if isinstance(item, dict) and item:
            out.append(f"{indent}{name}:\n{as_text(item, indent=indent + '  ')}")
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            entries = (as_text(entry, indent=indent + "    ") for entry in item)
            out.append(f"{indent}{name}:\n" + "".join(f"{indent}  - {text[len(indent) + 4 :]}" for text in entries))
        elif isinstance(item, list | dict):
            out.append(f"{indent}{name}: {', '.join(map(str, item)) or 'none'}\n")
        else:
            out.append(f"{indent}{name}: {'unknown' if item is None else item}\n")
    return "".join(out)
