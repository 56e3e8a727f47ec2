"""The records at the program's borders, and how they become bytes.

Purpose: `alert.v1`, `decision.v1` and the lines of members.jsonl and rejects.jsonl, as frozen
keyword-only structs whose fields carry the contract's names in the contract's order; `encode`
and `decode` are the only way in and out, for the operators' records too.
Invariants: equal records give equal bytes. Keys stand in the order of the fields, names of facts
sorted; floats are rounded to 6 decimals; a field that is None is left out, `confidence` aside,
where null is a statement ("not calibrated"). Inside, every time (`TIME_FIELDS`) is int64 epoch ms,
written as RFC 3339 UTC with three decimals. Unknown fields are ignored, lengths checked on input only.
Source: RFC 3339; JSON Schema 2020-12 in `schemas/`, held against these structs by test.
"""

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import orjson
from msgspec import Meta, Struct

from detector.vocabulary import (
    Action,
    AlertKind,
    AlertStatus,
    ApprovalState,
    DecisionState,
    Family,
    Mode,
    Origin,
    RejectReason,
    Scope,
    Severity,
    Shape,
)

SAMPLES_MAX = 25
MEMBERS_SAMPLE_MAX = 20
DEDUP_KEY_CHARS_MAX = 255

TIME_FIELDS = frozenset(
    {"at", "detected_at", "effective_at", "end", "event_time", "expires_at", "first_seen"}
    | {"ingest_time", "issued_at", "joined_at", "last_seen", "since", "start"}
)
NULL_FIELDS = frozenset({"confidence"})

# Mildest first: of several decisions the last of these is the strictest.
ACTIONS: tuple[Action, ...] = ("observe", "throttle", "challenge", "block")
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


class DetectorError(Exception):
    """What the program raises on purpose: DetectorError > ConfigError | SnapshotError | SchemaError."""


class ConfigError(DetectorError):
    """A setting is unknown, mistyped or contradicts another."""


class SchemaError(DetectorError, ValueError):
    """A record does not have the form that its schema states."""


class Entity(Struct, frozen=True, kw_only=True):
    """What an alert is about; `value` is the event field's own string, or the campaign's id."""

    scope: str
    value: str
    tenant: str
    tier: str | None = None


class LinkSummary(Struct, frozen=True, kw_only=True):
    """One shared attribute of a campaign, with the accounts and requests that carry it."""

    kind: str
    value: str
    accounts: Count
    requests: Count


class CampaignBlock(Struct, frozen=True, kw_only=True):
    """The campaign of an alert: sizes, a sorted sample of members, what they share."""

    id: str
    accounts: Count
    requests: Count
    members_sample: Annotated[tuple[str, ...], Meta(max_length=MEMBERS_SAMPLE_MAX)] = ()
    links: tuple[LinkSummary, ...] = ()
    shape: Shape = "unknown"
    capabilities: tuple[str, ...] = ()


class Window(Struct, frozen=True, kw_only=True):
    """Event time that the evidence covers: [start, end)."""

    start: int
    end: int


class Fact(Struct, frozen=True, kw_only=True):
    """One number behind a piece of evidence, with its bounds, what it was held against and its unit."""

    value: int | float
    unit: str
    lower: int | float | None = None
    upper: int | float | None = None
    threshold: int | float | None = None
    baseline: int | float | None = None


class Evidence(Struct, frozen=True, kw_only=True):
    """What one signature said: a log-likelihood ratio (natural logarithm), if its family counts it, its facts."""

    signature: str
    family: Family
    log_odds: float
    counted: bool
    facts: dict[str, Fact] = {}


class Verdict(Struct, frozen=True, kw_only=True):
    """Prior plus the capped sum of the counted items, and the threshold it is held against (natural log odds)."""

    log_odds: float
    prior: float
    cap: float
    threshold: float


class Sample(Struct, frozen=True, kw_only=True):
    """One event as an example: where to look it up, never its text."""

    event_id: str
    event_time: int
    account_id: str


class Damage(Struct, frozen=True, kw_only=True):
    """How much has left the building so far."""

    requests: Count
    output_tokens: Count
    reasoning_tokens: Count = 0
    cost_usd: float | None = None


class Attack(Struct, frozen=True, kw_only=True):
    """One technique of a public framework."""

    technique: str
    framework: str = "ATLAS"
    version: str = "5.6.0"
    sub_technique: str | None = None


# Every alert carries this one: Exfiltration via AI Inference API, Extract AI Model.
EXTRACT_MODEL = Attack(technique="AML.T0024", sub_technique="AML.T0024.002")


class SignatureOff(Struct, frozen=True, kw_only=True):
    """A signature that could not judge, and the event fields that were missing."""

    signature: str
    missing: tuple[str, ...] = ()


class Coverage(Struct, frozen=True, kw_only=True):
    """Which signatures could judge and which were blind."""

    active: tuple[str, ...] = ()
    off: tuple[SignatureOff, ...] = ()


class Producer(Struct, frozen=True, kw_only=True):
    """The release that wrote the record; nothing that differs by transport."""

    version: str


class Alert(Struct, frozen=True, kw_only=True):
    """`alert.v1`: a full snapshot; `(alert_id, revision)` is idempotent. `risk_score` 0 to 100."""

    schema_version: Literal["alert.v1"] = "alert.v1"
    alert_id: str
    revision: Count
    dedup_key: Annotated[str, Meta(max_length=DEDUP_KEY_CHARS_MAX)]
    status: AlertStatus
    status_reason: str | None = None
    kind: AlertKind
    signature_ids: tuple[str, ...]
    config_hash: str
    version: str
    title: str
    summary: str
    severity: Severity
    risk_score: Annotated[int, Meta(ge=0, le=100)]
    confidence: Share | None = None
    entity: Entity
    campaign: CampaignBlock | None = None
    window: Window
    first_seen: int
    last_seen: int
    detected_at: int
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None
    innocent_twins: dict[str, str] = {}  # by signature that accuses: whom it might wrong
    samples: Annotated[tuple[Sample, ...], Meta(max_length=SAMPLES_MAX)] = ()
    damage: Damage | None = None
    attack: tuple[Attack, ...] = (EXTRACT_MODEL,)
    coverage: Coverage = Coverage()
    recommended_action: Action = "observe"
    decision_ids: tuple[str, ...] = ()
    mode: Mode = "shadow"
    superseded_by: str | None = None
    runbook: str | None = None
    producer: Producer


class DecisionParams(Struct, frozen=True, kw_only=True):
    """What a consumer applies with the action; absent means no such limit."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    max_output_tokens: Count | None = None
    strip_logprobs: bool | None = None
    hide_reasoning: bool | None = None
    require_kyc: bool | None = None
    http_status: Annotated[int, Meta(ge=100, le=599)] | None = None
    retry_after_s: Count | None = None


class Approval(Struct, frozen=True, kw_only=True):
    """Where policy asks for a human: what `action` becomes once approved, who said so and when."""

    required: bool = False
    state: ApprovalState = "none"
    proposed_action: Action | None = None
    by: str | None = None
    at: int | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """`decision.v1`: what the gateway shall do now about one (tenant, scope, value); it lapses at `expires_at`."""

    schema_version: Literal["decision.v1"] = "decision.v1"
    decision_id: str
    seq: Count
    state: DecisionState = "active"
    tenant: str
    scope: Scope
    value: str
    action: Action
    params: DecisionParams = DecisionParams()
    models: tuple[str, ...] = ("*",)
    issued_at: int
    effective_at: int
    expires_at: int
    renewals: Count = 0
    strike_count: Count = 0
    reason_code: str
    reason: str
    alert_ids: tuple[str, ...] = ()
    campaign_id: str | None = None
    signature_ids: tuple[str, ...] = ()
    confidence: Share | None = None
    risk_score: Annotated[int, Meta(ge=0, le=100)] | None = None
    origin: Origin = "detector"
    mode: Mode = "shadow"
    approval: Approval = Approval()
    config_hash: str
    supersedes: str | None = None
    fallback_action: Action = "observe"


class Member(Struct, frozen=True, kw_only=True):
    """One line of members.jsonl: an account of a campaign."""

    campaign_id: str
    account_id: str
    tenant: str
    first_seen: int
    requests: Count
    joined_at: int


class Reject(Struct, frozen=True, kw_only=True):
    """One line of rejects.jsonl: where the record stood and why it was not admitted, never what it held.

    `line` counts from 1 (text), `offset` from 0 (row of a table, broker offset), `byte` from 0 within the record.
    """

    source: str
    line: Count | None = None
    offset: Count | None = None
    byte: Count | None = None
    reason: RejectReason
    field: str | None = None
    tenant: str | None = None


Record = TypeVar("Record", bound=Struct)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"(?a)(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))")


@lru_cache(maxsize=4_096)  # decisions of a pane share their times
def format_time(time_ms: int) -> str:
    """Write epoch milliseconds as RFC 3339 UTC with three decimals.

    >>> format_time(1_782_050_400_007)
    '2026-06-21T14:00:00.007Z'
    """
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """Read RFC 3339 as epoch milliseconds: offsets are converted, finer digits cut. Raises `SchemaError`.

    >>> parse_time("2026-06-21T16:00:00.0079+02:00") == parse_time("2026-06-21t14:00:00.007z")
    True
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise SchemaError(f"time {text[:40]!r} is not RFC 3339 with an offset, such as 2026-06-21T14:00:00.000Z")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = found.groups()[6:]
    zone = UTC
    try:
        if sign:
            offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
            zone = timezone(-offset if sign == "-" else offset)
        elapsed = datetime(year, month, day, hour, minute, second, tzinfo=zone) - _EPOCH
    except ValueError as wrong:
        raise SchemaError(f"time {text[:40]!r} does not exist: {wrong}") from wrong
    return elapsed // timedelta(milliseconds=1) + int((fraction or "").ljust(3, "0")[:3])


def _plain(value: Any, name: str) -> Any:
    """Turn one field's value into what JSON has: times as text, floats rounded, no None."""
    if isinstance(value, str | int):
        return format_time(value) if name in TIME_FIELDS else value
    if isinstance(value, Struct):
        fields = ((key, getattr(value, key)) for key in value.__struct_fields__)
        return {key: _plain(item, key) for key, item in fields if item is not None or key in NULL_FIELDS}
    if isinstance(value, dict):
        return {key: _plain(value[key], "") for key in sorted(value)}
    if isinstance(value, tuple):
        return [_plain(item, "") for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"field {name!r} holds {value}; records carry finite numbers only")
        value = round(value, 6) + 0.0  # + 0.0 turns -0.0 into 0.0
    return value


def encode(record: Struct) -> bytes:
    """Write a record as one JSON object in UTF-8, without a newline.

    Raises `ValueError` for a number that is not finite.

    >>> encode(Window(start=0, end=60_000))
    b'{"start":"1970-01-01T00:00:00.000Z","end":"1970-01-01T00:01:00.000Z"}'
    """
    return orjson.dumps(_plain(record, ""))


def _timed(value: Any, name: str) -> Any:
    """The reverse of `_plain` for times; null becomes absent."""
    if isinstance(value, dict):
        return {key: _timed(item, key) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_timed(item, "") for item in value]
    if name in TIME_FIELDS and isinstance(value, str):
        return parse_time(value)
    return value


def decode(raw: bytes, *, kind: type[Record]) -> Record:
    """Read one JSON object as a record of `kind`. Raises `SchemaError` that says where and what.

    >>> decode(b'{"start": "1970-01-01T00:00:00Z", "end": 60000, "more": 1}', kind=Window)
    Window(start=0, end=60000)
    """
    try:
        return msgspec.convert(_timed(orjson.loads(raw), ""), kind)
    except (orjson.JSONDecodeError, msgspec.ValidationError, SchemaError) as wrong:
        raise SchemaError(f"not a record of {kind.__name__}: {wrong}") from wrong


def decision_key(*, tenant: str, scope: str, value: str) -> bytes:
    """Name what a decision is about, as the key of its topics: a JSON array, no spaces, UTF-8 unescaped.

    >>> decision_key(tenant="default", scope="account", value="a-1")
    b'["default","account","a-1"]'
    """
    return orjson.dumps([tenant, scope, value])
