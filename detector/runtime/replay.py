"""Replay: feed files through the engine and write every file of DIR.

Purpose: the analyst's door. The same judge as live, fed from files.
Invariants: equal input, settings and keys give byte-equal alerts, decisions and
members, with any number of workers. A line is written whole or not at all; an
interrupt leaves complete lines and says how far the run came.
Limits: outputs are written as the engine emits them, in order of event time.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import msgspec
import orjson

from detector.cases import Output
from detector.config import Settings
from detector.decision import Tombstone
from detector.formats import AUTO
from detector.frames import Frame, empty_frame
from detector.judge import Judge
from detector.operators import Control
from detector.panes import Refused
from detector.records import ACTIONS, Alert, Member, Reject, encode
from detector.runtime import scores_file, timeline_file
from detector.runtime.feed import ALWAYS, Piece, pieces
from detector.runtime.operators_file import Recorded, read_operators
from detector.runtime.outcome import DERIVED, FILES, Progress, Result, manifest, metrics
from detector.runtime.pace import Pace
from detector.runtime.scores_file import write_scores
from detector.runtime.sources import TOPIC_SCHEME, Opener, check_format, check_input, open_input
from detector.runtime.timeline_file import Timeline
from detector.sinks.lines import line_of
from detector.vocabulary import Action, AlertFormat

FOREIGN_ALERTS = {"ocsf": "alerts.ocsf.jsonl", "ecs": "alerts.ecs.jsonl", "cef": "alerts.cef"}


class _Run:
    """The judges of a run and the files that it writes."""

    def __init__(
        self,
        inputs: list[str],
        out: Path,
        settings: Settings,
        *,
        key: bytes,
        orders: Recorded | None,
        approve_ms: int,
        alert_format: AlertFormat,
        watch: Callable[[Judge], None],
    ) -> None:
        self.inputs, self.settings, self.key = inputs, settings, key
        self.orders, self.approve_ms, self.watch = orders, approve_ms, watch
        self.judges: dict[str, Judge] = {}
        self.ended: list[str] = []
        self.alerts: dict[str, Alert] = {}
        self.decisions = self.rows = self.outside = 0
        self.raw_text = False
        self.strictest: dict[tuple[str, str], Action] = {}
        self.made: list[tuple[int, str, Output]] = []  # what may still have to be merged with another tenant's
        self.rejects: Counter[str] = Counter()
        self.timeline = Timeline()
        self.alert_format = alert_format
        names = [name for name in FILES if name.endswith(".jsonl")]
        names += [FOREIGN_ALERTS[alert_format]] if alert_format != "native" else []
        self.files: dict[str, IO[bytes]] = {name: (out / name).open("wb") for name in names}

    def judge(self, tenant: str) -> Judge:
        """A tenant's judge, made when the tenant first shows."""
        if tenant not in self.judges:
            made = self.judges[tenant] = Judge(tenant, tuple(self.inputs), self.settings)
            made.cases.desk.approve_after_ms = self.approve_ms
            self.watch(made)
            if self.orders is not None:
                made.operate(self.orders.frame(tenant, key=self.key))
            for source in self.ended:
                made.end(source)
        return self.judges[tenant]

    def follow(self, feed: Iterable[Piece | str], *, limit: int | None, progress: Callable[[Progress], None]) -> bool:
        """Fold all that comes and close the inputs; returns whether it was interrupted."""
        interrupted, end_ms = False, 0
        for reject in self.orders.rejects if self.orders is not None else ():
            self.reject(reject)
        try:
            for piece in feed:
                if isinstance(piece, str):
                    self.end(piece)
                    continue
                self.rows += piece.rows
                self.outside += piece.outside
                self.raw_text |= piece.raw_text
                end_ms = max(end_ms, piece.end_ms)
                self.fold(piece)
                progress(Progress(piece.share, self.rows, end_ms, len(self.alerts)))
                if limit is not None and self.rows >= limit:
                    break
        except KeyboardInterrupt:
            interrupted = True
        for source in self.inputs:
            if source not in self.ended and not interrupted:
                self.end(source)
        self.drain(final=not interrupted)
        return interrupted

    def fold(self, piece: Piece) -> None:
        """Give a range to every tenant's judge, empty where it holds nothing for one."""
        for reject in piece.rejects:
            self.reject(reject)
        self.timeline.add(piece.frames)
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

    def drain(self, *, final: bool = False) -> None:
        """Write what the judges made, merged by the event time at which it was made, ties by tenant.

        What another tenant's judge may still come before waits, so that cuts do not show.
        """
        for tenant, judge in sorted(self.judges.items()):
            self.made += [(at_ms, tenant, output) for at_ms, output in judge.take_stamped()]
            for refused in judge.take_refused():
                self.reject(_refusal(refused, tenant))
        if len(self.judges) > 1:
            self.made.sort(key=lambda item: item[:2])
        reached_ms = min((judge.reached_ms() for judge in self.judges.values()), default=0)
        ready = (
            len(self.made) if final or len(self.judges) == 1 else bisect_left(self.made, reached_ms, key=itemgetter(0))
        )
        for _, _, output in self.made[:ready]:
            self.write(output)
        del self.made[:ready]

    def write(self, output: Output) -> None:
        """Write one alert or decision and count it; tombstones and the kill switch are for the topics only."""
        if isinstance(output, Tombstone | Control):
            return
        if isinstance(output, Alert):
            self.alerts[output.alert_id] = output
            self.files["alerts.jsonl"].write(encode(output) + b"\n")
            if self.alert_format != "native":
                foreign = line_of(output, form=self.alert_format)
                self.files[FOREIGN_ALERTS[self.alert_format]].write(foreign + b"\n")
            return
        self.decisions += 1
        if output.state == "active" and output.scope == "account":
            who = (output.tenant, output.value)
            self.strictest[who] = max(self.strictest.get(who, "observe"), output.action, key=ACTIONS.index)
        self.files["decisions.jsonl"].write(encode(output) + b"\n")

    def members(self) -> list[Member]:
        """Write and return every campaign's members."""
        members = [m for _, judge in sorted(self.judges.items()) for m in judge.members()]
        self.files["members.jsonl"].write(b"".join(encode(m) + b"\n" for m in members))
        return members


def _refusal(refused: Refused, tenant: str) -> Reject:
    table = refused.source.endswith(".parquet") or refused.source.startswith(TOPIC_SCHEME)
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
    form: str = AUTO,
    workers: int = 1,
    limit: int | None = None,
    window_ms: tuple[int, int] = ALWAYS,
    speed: float | None = None,
    operators: Path | None = None,
    approve_after_ms: int = -1,
    alert_format: AlertFormat = "native",
    progress: Callable[[Progress], None] = lambda _: None,
    command: Iterable[str] = (),
    opener: Opener = open_input,
    watch: Callable[[Judge], None] = lambda _: None,
) -> Result:
    """Replay inputs into `out`; an interrupt is a result.

    `form` is the inputs' format, for the manifest; `opener` opens them; `window_ms` keeps events in [start, end);
    `speed` is event time over clock time, None as fast as it goes; `operators` are recorded operators' records;
    every campaign is approved `approve_after_ms` after it was detected, unless negative; alerts are also written as
    `alert_format`, into a file of its own, where that is not native; `watch` is shown each
    tenant's judge before it begins. Raises `InputError` where an input cannot be opened.
    """
    for name in (n for n in inputs if not n.startswith(TOPIC_SCHEME)):
        check_input(name)  # before the results of an earlier run are overwritten
        check_format(name, form=form)
    orders = read_operators(operators, tenants=settings.tenants) if operators is not None else None
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(
        inputs,
        out,
        settings,
        key=key,
        orders=orders,
        approve_ms=approve_after_ms,
        alert_format=alert_format,
        watch=watch,
    )
    paced = {"paced": Pace(speed).parts} if speed is not None else {}
    feed = pieces(
        inputs, key=key, tenants=settings.tenants, workers=workers, window_ms=window_ms, opener=opener, **paced
    )
    try:
        interrupted = run.follow(feed, limit=limit, progress=progress)
        members = run.members()
    finally:
        for file in run.files.values():
            file.close()
    result = _result(run, members, interrupted=interrupted)
    about = manifest(
        inputs,
        form=form,
        settings=settings,
        key=key,
        command=list(command),
        operators=operators,
        window_ms=window_ms,
        approve_after_ms=approve_after_ms,
    )
    _write_about(run, result, about, out=out)
    return result


def _write_about(run: _Run, result: Result, about: dict[str, Any], *, out: Path) -> None:
    """Write what is said about the run beside what it made."""
    for name in DERIVED:
        (out / name).unlink(missing_ok=True)  # of an earlier run into the same directory
    judges = [judge for _, judge in sorted(run.judges.items()) if judge.events]
    write_scores(out / scores_file.FILE, judges, alerts=result.alerts, members=result.members)
    run.timeline.write(out / timeline_file.FILE, span_ms=(result.first_ms or 0, result.last_ms or 0))
    (out / "metrics.json").write_bytes(orjson.dumps(metrics(result), option=orjson.OPT_INDENT_2))
    (out / "manifest.json").write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))


def _result(run: _Run, members: list[Member], *, interrupted: bool) -> Result:
    judges = run.judges
    return Result(
        alerts=sorted(run.alerts.values(), key=lambda a: (a.detected_at, a.alert_id)),
        decisions=run.decisions,
        members=members,
        rejects=run.rejects,
        rows=run.rows,
        # Nothing is judged before the first pane has closed, as when a run is interrupted early.
        first_ms=min((j.first_ms for j in judges.values() if j.events), default=None),
        last_ms=max((j.last_ms for j in judges.values() if j.events), default=None),
        accounts=sum(j.accounts.index.live() + j.accounts.evicted for j in judges.values()),
        strictest=run.strictest,
        outside=run.outside,
        coverage={tenant: msgspec.to_builtins(j.coverage()[1]) for tenant, j in sorted(judges.items())},
        raw_text=run.raw_text,
        interrupted=interrupted,
        judges=judges,
    )
