"""Validate: what a log holds, what in it is refused, and what the engine will be blind to.

Purpose: the first look at a new log, before a replay: its format and what that can never carry,
fill rates, rejects by reason with positions, time range and order, accounts, and the
signatures that will be off.
Invariants: counts only, never a value of the log; the answer does not depend on how
inputs are cut into blocks.
Limits: accounts are counted exactly up to `ACCOUNTS_MAX`, beyond that "at least".
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np
import pyarrow as pa

from detector.decode import Decoded
from detector.events import FIELDS, EventBatch
from detector.formats import CANONICAL, FORMATS, Format
from detector.hashing import DEVELOPMENT_KEY, digest64
from detector.records import Coverage, Reject, SignatureOff, format_time
from detector.runtime.sources import Block, Opener, decode_block, open_input, reject_record

LATENESS_MS: Final = 5_000
POSITIONS_MAX: Final = 5
ACCOUNTS_MAX: Final = 1_000_000
_NEVER: Final = -(1 << 62)

# What fingerprinting fills from each raw text.
FROM_TEXT: Final = {
    "prompt": (
        *("template_fp", "prompt_fp", "anchor_fps", "run_fps", "prompt_chars", "prompt_lang", "topic_bucket"),
        *("prompt_style", "first_token_class", "elicitation", "fp_key_id"),
    ),
    "system": ("system_prompt_fp",),
    "output": ("output_run_fps", "visible_output_chars"),
}


# What no gateway can know: it comes from enforcement, from an operator, or from this program.
_OURS: Final = frozenset({"tenant", "fp_key_id", "disposition", "decision_id", "declared_use", "canary_hit"})


class SignatureNeeds(Protocol):
    """What is asked of a signature here: its id, and which fields it lacks."""

    @property
    def id(self) -> str:
        """`<catalogue id>_<name>`."""
        ...

    def missing(self, present: frozenset[str]) -> tuple[str, ...]:
        """The fields that it needs and the log lacks."""
        ...


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """How often records were refused for one reason, and where first."""

    reason: str
    records: int
    first: tuple[Reject, ...]


class FormatReport(msgspec.Struct, frozen=True, kw_only=True):
    """A format met: `never` are the fields that no record of it has, `off` the signatures that need one of them.

    `join` says how to supply what is missing; for access.v1 itself all three are empty.
    """

    format: str
    title: str
    inputs: tuple[str, ...]
    never: tuple[str, ...]
    off: tuple[SignatureOff, ...]
    join: str


class InputReport(msgspec.Struct, frozen=True, kw_only=True):
    """One input: format, rows, rejects, and its order in time (times are RFC 3339; absent without rows)."""

    source: str
    format: str
    rows: int
    rejects: int
    late: int
    backwards: int
    first_time: str | None
    last_time: str | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `stillwatch validate` says.

    `fill` is each field's share of accepted rows, 0 included; `late` counts rows more than
    `lateness_ms` behind their input's latest time; `backwards` rows earlier than the row before;
    `passed` records of a foreign format that hold no model call.
    """

    formats: tuple[FormatReport, ...]
    rows: int
    passed: int
    rejects: tuple[Reason, ...]
    inputs: tuple[InputReport, ...]
    fill: dict[str, float]
    raw_text_rows: int
    accounts: int
    accounts_exact: bool
    tenants: tuple[str, ...]
    first_time: str | None
    last_time: str | None
    lateness_ms: int
    late: int
    backwards: int
    coverage: Coverage
    sampled: bool


class _Order:
    """The course of event time in one input."""

    def __init__(self, source: str, form: str) -> None:
        self.source, self.form = source, form
        self.rows = self.rejects = self.late = self.backwards = 0
        self.first_ms, self.last_ms, self.before_ms = -_NEVER, _NEVER, _NEVER

    def add(self, times: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        """Take the event times of the next rows, in file order."""
        if times.size == 0:
            return
        latest = np.maximum.accumulate(np.concatenate(([self.last_ms], times)))[:-1]
        previous = np.concatenate(([self.before_ms], times[:-1]))
        self.late += int((times < latest - LATENESS_MS).sum())
        self.backwards += int((times < previous).sum())
        self.first_ms = min(self.first_ms, int(times.min()))
        self.last_ms = max(self.last_ms, int(times.max()))
        self.before_ms = int(times[-1])
        self.rows += times.size

    def report(self) -> InputReport:
        """What was seen."""
        return InputReport(
            source=self.source,
            format=self.form,
            rows=self.rows,
            rejects=self.rejects,
            late=self.late,
            backwards=self.backwards,
            first_time=format_time(self.first_ms) if self.rows else None,
            last_time=format_time(self.last_ms) if self.rows else None,
        )


class Survey:
    """Counts over the blocks of all inputs; `report` may be asked at any time."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.orders: dict[str, _Order] = {}
        self.filled: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.positions: dict[str, list[Reject]] = {}
        self.accounts: set[int] = set()
        self.tenants: set[str] = set()
        self.raw_text_rows = self.passed = 0
        self.sampled = False

    @property
    def records(self) -> int:
        """Rows and rejects so far."""
        return sum(order.rows for order in self.orders.values()) + self.reasons.total()

    def add(self, block: Block, decoded: Decoded) -> None:
        """Count one decoded block."""
        order = self.orders.setdefault(block.source, _Order(block.source, block.form))
        order.rejects += len(decoded.rejects)
        self.passed += decoded.passed
        for reject in decoded.rejects:
            self.reasons[reject.reason] += 1
            kept = self.positions.setdefault(reject.reason, [])
            if len(kept) < POSITIONS_MAX:
                kept.append(reject_record(reject, block=block))
        self._count(decoded.batch)
        order.add(decoded.batch.column("event_time").to_numpy())
        if decoded.content is not None:
            self._count_text(decoded)

    def _count(self, batch: EventBatch) -> None:
        for f, column in zip(FIELDS, batch.columns, strict=True):
            if column.null_count < batch.num_rows:
                self.filled[f.name] += batch.num_rows - column.null_count
        if len(self.accounts) < ACCOUNTS_MAX:
            digests = digest64(b"account", batch.column("account_id"), key=DEVELOPMENT_KEY)
            self.accounts.update(np.unique(digests).tolist())
        self.tenants.update(batch.column("tenant").unique().to_pylist())

    def _count_text(self, decoded: Decoded) -> None:
        assert decoded.content is not None
        any_text = np.zeros(decoded.batch.num_rows, np.bool_)
        for part, column in decoded.content._asdict().items():
            has_text = column.is_valid().to_numpy(zero_copy_only=False)
            any_text |= has_text
            for name in FROM_TEXT[part]:
                given = decoded.batch.column(name).is_valid().to_numpy(zero_copy_only=False)
                self.filled[name] += int((has_text & ~given).sum())
        self.raw_text_rows += int(any_text.sum())

    def report(self, signatures: Iterable[SignatureNeeds]) -> Report:
        """Sum up; `signatures` are those whose coverage is asked for."""
        signatures = tuple(signatures)
        inputs = tuple(order.report() for order in self.orders.values())
        rows = sum(i.rows for i in inputs)
        times = [(o.first_ms, o.last_ms) for o in self.orders.values() if o.rows]
        fill = {f.name: round(self.filled[f.name] / max(rows, 1), 6) for f in FIELDS}
        return Report(
            formats=tuple(
                _format_report(name, tuple(i.source for i in inputs if i.format == name), signatures)
                for name in dict.fromkeys(i.format for i in inputs)
            ),
            rows=rows,
            passed=self.passed,
            rejects=tuple(
                Reason(reason=reason, records=count, first=tuple(self.positions[reason]))
                for reason, count in sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
            ),
            inputs=inputs,
            fill=fill,
            raw_text_rows=self.raw_text_rows,
            accounts=len(self.accounts),
            accounts_exact=len(self.accounts) < ACCOUNTS_MAX,
            tenants=tuple(sorted(self.tenants)),
            first_time=format_time(min(first for first, _ in times)) if times else None,
            last_time=format_time(max(last for _, last in times)) if times else None,
            lateness_ms=LATENESS_MS,
            late=sum(i.late for i in inputs),
            backwards=sum(i.backwards for i in inputs),
            coverage=coverage(fill, signatures),
            sampled=self.sampled,
        )


def coverage(fill: dict[str, float], signatures: Iterable[SignatureNeeds]) -> Coverage:
    """Which signatures have the fields that they need, in their order: a field counts when any row has it."""
    present = frozenset(name for name, share in fill.items() if share > 0)
    missing = {signature.id: signature.missing(present) for signature in signatures}
    return Coverage(
        active=tuple(sorted(name for name, lacks in missing.items() if not lacks)),
        off=tuple(SignatureOff(signature=name, missing=lacks) for name, lacks in missing.items() if lacks),
    )


def never_carried(form: Format) -> tuple[str, ...]:
    """The fields of access.v1 that no record of a format has, those counted that its text can fill."""
    can = form.carries.union(*(FROM_TEXT[part] for part in form.text))
    return tuple(f.name for f in FIELDS if f.name not in can and f.name not in _OURS)


def _format_report(name: str, inputs: tuple[str, ...], signatures: tuple[SignatureNeeds, ...]) -> FormatReport:
    if name == CANONICAL:
        return FormatReport(format=name, title="access.v1", inputs=inputs, never=(), off=(), join="")
    form = FORMATS[name]
    never = never_carried(form)
    held = {f.name: float(f.name not in never) for f in FIELDS}
    off = coverage(held, signatures).off
    return FormatReport(format=name, title=form.title, inputs=inputs, never=never, off=off, join=form.join)


def survey(names: Sequence[str], *, sample: int | None = None, opener: Opener = open_input) -> Survey:
    """Read all inputs, of each the first `sample` records where that is given. Raises `InputError`."""
    seen = Survey()
    for name in names:
        done = 0
        for block in opener(name):
            decoded = decode_block(block)
            if sample is not None:
                decoded = _head(decoded, sample - done)
            seen.add(block, decoded)
            done += decoded.batch.num_rows + len(decoded.rejects)
            if sample is not None and done >= sample:
                seen.sampled = True
                break
    return seen


def _head(decoded: Decoded, records: int) -> Decoded:
    """The first records of a decoded block, rows and rejects in the order of the input."""
    positions = np.concatenate((decoded.positions, [r.position for r in decoded.rejects]))
    if positions.size <= records:
        return decoded
    last = np.sort(positions)[records - 1]
    rows = int((decoded.positions <= last).sum())
    content = decoded.content
    if content is not None:
        content = type(content)(*(pa.array(column)[:rows] for column in content))
    rejects = [reject for reject in decoded.rejects if reject.position <= last]
    return decoded._replace(
        batch=decoded.batch.slice(0, rows), positions=decoded.positions[:rows], content=content, rejects=rejects
    )
