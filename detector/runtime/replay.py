"""Replay: feed files through the engine and write every file of DIR.

Purpose: the analyst's door. The same judge as live, fed from files.
Invariants: equal input, settings and keys give byte-equal alerts, decisions and
members, with any number of workers. A line is written whole or not at all; an
interrupt leaves complete lines and says how far the run came.
Limits: outputs are written as the engine emits them, in order of event time.
"""

import hashlib
import platform
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import orjson

from detector import __version__
from detector.cases import Output
from detector.config import Settings, config_hash
from detector.frames import Frame, empty_frame
from detector.hashing import key_digest
from detector.judge import Judge
from detector.panes import Refused
from detector.records import Alert, Decision, Member, Reject, encode, format_time
from detector.runtime.feed import Piece, pieces
from detector.runtime.sources import check_input

FILES = ("alerts.jsonl", "decisions.jsonl", "members.jsonl", "rejects.jsonl", "metrics.json", "manifest.json")


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
    first_ms: int
    last_ms: int
    accounts: int
    acted_on: int
    coverage: Any
    raw_text: bool
    interrupted: bool
    judges: dict[str, Judge]


class _Run:
    """The judges of a run and the files that it writes."""

    def __init__(self, inputs: list[str], out: Path, settings: Settings) -> None:
        self.inputs, self.settings = inputs, settings
        self.judges: dict[str, Judge] = {}
        self.ended: list[str] = []
        self.alerts: dict[str, Alert] = {}
        self.decisions = 0
        self.acted_on: set[tuple[str, str]] = set()
        self.rejects: Counter[str] = Counter()
        self.files: dict[str, IO[bytes]] = {name: (out / name).open("wb") for name in FILES if name.endswith(".jsonl")}

    def judge(self, tenant: str) -> Judge:
        """A tenant's judge, made when the tenant first shows."""
        if tenant not in self.judges:
            made = self.judges[tenant] = Judge(tenant, tuple(self.inputs), self.settings)
            for source in self.ended:
                made.end(source)
        return self.judges[tenant]

    def fold(self, piece: Piece) -> None:
        """Give a range to every tenant's judge, empty where it holds nothing for one."""
        for reject in piece.rejects:
            self.reject(reject)
        frames: dict[str, Frame] = {f.tenant: f for f in piece.frames if len(f.positions)}
        for tenant in sorted({*frames, *self.judges}):
            frame = frames.get(tenant) or empty_frame(tenant, piece.source, first=piece.first, stop=piece.stop)
            self.judge(tenant).apply(frame)
        self.drain()

    def end(self, source: str) -> None:
        """Close an input."""
        self.ended.append(source)
        for _, judge in sorted(self.judges.items()):
            judge.end(source)
        self.drain()

    def reject(self, reject: Reject) -> None:
        """Write a reject line and count it."""
        self.rejects[reject.reason] += 1
        self.files["rejects.jsonl"].write(encode(reject) + b"\n")

    def drain(self) -> None:
        """Write what the judges made since the last call, by event time."""
        made: list[tuple[int, str, Output]] = []
        for tenant, judge in sorted(self.judges.items()):
            made += [(_time_of(o), tenant, o) for o in judge.take_outputs()]
            for refused in judge.take_refused():
                self.reject(_refusal(refused, tenant))
        if len(self.judges) > 1:
            made.sort(key=lambda item: item[:2])
        for _, _, output in made:
            if isinstance(output, Alert):
                self.alerts[output.alert_id] = output
                self.files["alerts.jsonl"].write(encode(output) + b"\n")
            else:
                self.decisions += 1
                if output.state == "active" and output.action in ("challenge", "block"):
                    self.acted_on.add((output.tenant, output.value))
                self.files["decisions.jsonl"].write(encode(output) + b"\n")

    def members(self) -> list[Member]:
        """Write and return every campaign's members."""
        members = [m for _, judge in sorted(self.judges.items()) for m in judge.members()]
        self.files["members.jsonl"].write(b"".join(encode(m) + b"\n" for m in members))
        return members


def _time_of(output: Output) -> int:
    return output.issued_at if isinstance(output, Decision) else output.last_seen


def _refusal(refused: Refused, tenant: str) -> Reject:
    table = refused.source.endswith(".parquet")
    return Reject(
        source=refused.source,
        reason=refused.reason,
        tenant=tenant,
        line=None if table else refused.position,
        offset=refused.position if table else None,
    )


def replay(
    inputs: list[str],
    *,
    out: Path,
    settings: Settings,
    key: bytes,
    workers: int = 1,
    limit: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    command: Iterable[str] = (),
) -> Result:
    """Replay inputs into `out`; an interrupt is a result. Raises `InputError` where an input cannot be opened."""
    for name in inputs:
        check_input(name)  # before the results of an earlier run are overwritten
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(inputs, out, settings)
    rows, interrupted, raw_text, end_ms = 0, False, False, 0
    try:
        try:
            for piece in pieces(inputs, key=key, tenants=settings.tenants, workers=workers):
                if isinstance(piece, str):
                    run.end(piece)
                    continue
                rows += piece.rows
                raw_text |= piece.raw_text
                end_ms = max(end_ms, piece.end_ms)
                run.fold(piece)
                progress(Progress(piece.share, rows, end_ms, len(run.alerts)))
                if limit is not None and rows >= limit:
                    break
        except KeyboardInterrupt:
            interrupted = True
        for source in inputs:
            if source not in run.ended and not interrupted:
                run.end(source)
        run.drain()
        members = run.members()
    finally:
        for file in run.files.values():
            file.close()
    result = _result(run, members, rows=rows, raw_text=raw_text, interrupted=interrupted)
    (out / "metrics.json").write_bytes(orjson.dumps(metrics(result), option=orjson.OPT_INDENT_2))
    (out / "manifest.json").write_bytes(
        orjson.dumps(manifest(inputs, settings=settings, key=key, command=list(command)), option=orjson.OPT_INDENT_2)
    )
    return result


def _result(run: _Run, members: list[Member], *, rows: int, raw_text: bool, interrupted: bool) -> Result:
    judges = run.judges
    return Result(
        alerts=sorted(run.alerts.values(), key=lambda a: (a.detected_at, a.alert_id)),
        decisions=run.decisions,
        members=members,
        rejects=run.rejects,
        rows=rows,
        first_ms=min((j.first_ms for j in judges.values()), default=0),
        last_ms=max((j.last_ms for j in judges.values()), default=0),
        accounts=sum(j.accounts.index.live() + j.accounts.evicted for j in judges.values()),
        acted_on=len(run.acted_on),
        coverage={tenant: msgspec.to_builtins(j.coverage()[1]) for tenant, j in sorted(judges.items())},
        raw_text=raw_text,
        interrupted=interrupted,
        judges=judges,
    )


def metrics(result: Result) -> dict[str, Any]:
    """The counts of a run; nothing here depends on the clock."""
    return {
        "events": result.rows,
        "accounts": result.accounts,
        "first_event": format_time(result.first_ms),
        "last_event": format_time(result.last_ms),
        "alerts": len(result.alerts),
        "decisions": result.decisions,
        "accounts_acted_on": result.acted_on,
        "rejects": dict(sorted(result.rejects.items())),
        "interrupted": result.interrupted,
        "coverage": result.coverage,
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


def manifest(inputs: list[str], *, settings: Settings, key: bytes, command: list[str]) -> dict[str, Any]:
    """What produced a run: inputs with digests, settings, key name, versions, command."""
    listed: list[dict[str, str | int]] = []
    for name in inputs:
        path = Path(name)
        if name == "-" or not path.is_file():
            listed.append({"path": name})
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        listed.append({"path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": digest})
    return {
        "inputs": listed,
        "settings": msgspec.to_builtins(settings),
        "config_hash": config_hash(settings),
        "hash_key": key_digest(key),
        "seed": settings.seed,
        "version": __version__,
        "python": platform.python_version(),
        "staleness_checked": False,  # files carry no ingest times
        "command": command,
    }
