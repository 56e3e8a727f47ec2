"""The records that operators write: allow-list entries, labels, commands, the kill switch, others' indicators.

Purpose: what stands on the operators' topics and in a file of recorded operators' records,
as frozen keyword-only structs; `detector.records` turns them into bytes and back, `read`
takes a recorded line.
Invariants: as for all records (`detector.records`); an allow-list entry always ends. Of
the entries for one (tenant, scope, value) the last one holds, so one that has already
expired takes an exemption back.
The kill switch knows no tenants, as its record has none: a command for one turns it for all.
Limits: which fields a command needs depends on the command; `missing_fields` says. A
record has at most `RECORD_BYTES_MAX` bytes, its times lie between 1970 and the year 9999.
Source: OCSF's verdicts for labels (Detection Finding 2004, `verdict_id`).
"""

import contextlib
import re
from typing import Any, NamedTuple

import msgspec
import orjson
from msgspec import Struct

from detector.records import TIME_FIELDS, SchemaError, decode, parse_time
from detector.vocabulary import (
    Action,
    CommandName,
    Enforcement,
    IndicatorKind,
    LabelVerdict,
    OperatorKind,
    RejectReason,
    Scope,
)

RECORD_BYTES_MAX = 1 << 16
VALUE_BYTES_MAX = 256
# What ingest times may be: the years 2015 to 2200; else seconds or microseconds were meant.
INGEST_MS_MIN, INGEST_MS_MAX = 1_420_070_400_000, 7_258_118_400_000
# The last millisecond that a record can write.
TIME_MS_MAX = 253_402_300_799_999


class AllowEntry(Struct, frozen=True, kw_only=True):
    """An operator's exemption, always with an end; no `signatures` means all of them."""

    tenant: str
    scope: Scope
    value: str
    owner: str
    reason: str
    signatures: tuple[str, ...] = ()
    expires_at: int


class Label(Struct, frozen=True, kw_only=True):
    """An analyst's word on an alert, in OCSF's verdicts."""

    alert_id: str
    verdict: LabelVerdict
    by: str
    note: str | None = None
    at: int


class Command(Struct, frozen=True, kw_only=True):
    """What an operator asks of the judge: about a (scope, value), a decision or an alert.

    Which of the optional fields a command needs, `missing_fields` knows.
    """

    command: CommandName
    tenant: str
    scope: Scope | None = None
    value: str | None = None
    decision_id: str | None = None
    alert_id: str | None = None
    action: Action | None = None
    enforcement: Enforcement | None = None
    expires_at: int | None = None
    by: str
    reason: str
    at: int


class Control(Struct, frozen=True, kw_only=True):
    """The kill switch's record, under the key `__control__`."""

    enforcement: Enforcement
    since: int
    by: str
    reason: str


# From what lets most pass to what lets least.
_LADDER: tuple[Enforcement, ...] = ("off", "observe_only", "on")


def overrides(control: Control, held: Control | None) -> bool:
    """Say whether a kill switch's record counts after another.

    One that lets no less pass always does; one that lets less pass only if it is no older: a judge that comes back
    passes on what it was told long ago, and must not undo what an operator has switched off since.

    >>> old, new = (Control(enforcement=e, since=s, by="kim", reason="") for e, s in (("on", 1), ("off", 2)))
    >>> overrides(new, old), overrides(old, new), overrides(old, None)
    (True, False, True)
    """
    if held is None:
        return True
    return _LADDER.index(control.enforcement) <= _LADDER.index(held.enforcement) or control.since >= held.since


def loosens(control: Control, enforcement: Enforcement) -> bool:
    """Say whether a kill switch's record lets more pass than what holds."""
    return _LADDER.index(control.enforcement) < _LADDER.index(enforcement)


class Indicator(Struct, frozen=True, kw_only=True):
    """A link that others saw in a campaign of theirs: watched here until it expires.

    `value` is as alerts name links of that kind here. One that has already expired ends the watch.
    """

    indicator_id: str
    tenant: str
    kind: IndicatorKind
    value: str
    source: str
    owner: str
    reason: str
    expires_at: int


_NEEDED: dict[CommandName, tuple[str, ...]] = {
    "add": ("scope", "value", "action", "expires_at"),
    "revoke": ("scope", "value"),
    "approve": ("scope", "value"),
    "resolve": ("alert_id",),
    "kill_switch": ("enforcement",),
}
# Any one of these stands for (scope, value).
_SUFFICES: dict[CommandName, tuple[str, ...]] = {
    "revoke": ("decision_id",),
    "approve": ("decision_id", "alert_id"),
}


def missing_fields(command: Command) -> tuple[str, ...]:
    """Name the fields that this command needs and lacks; empty when it can be carried out.

    >>> missing_fields(Command(command="resolve", tenant="default", by="kim", reason="benign", at=0))
    ('alert_id',)
    """
    if any(getattr(command, name) is not None for name in _SUFFICES.get(command.command, ())):
        return ()
    return tuple(name for name in _NEEDED[command.command] if getattr(command, name) is None)


OperatorRecord = AllowEntry | Label | Command | Control | Indicator

KINDS: dict[OperatorKind, type[AllowEntry | Label | Command | Control | Indicator]] = {
    "allow": AllowEntry,
    "label": Label,
    "command": Command,
    "control": Control,
    "indicator": Indicator,
}
# A field that only this kind of record has tells it apart where there is no topic to say so.
_TELLS: tuple[tuple[str, OperatorKind], ...] = (
    ("command", "command"),
    ("verdict", "label"),
    ("indicator_id", "indicator"),
    ("owner", "allow"),
    ("enforcement", "control"),
)
_AT_FIELD = re.compile(r"`\$\.(\w+)")


class Received(NamedTuple):
    """A record with the time at which the broker appended it."""

    kind: OperatorKind
    record: OperatorRecord
    ingest_ms: int


class Fault(NamedTuple):
    """Why a line is no operator's record."""

    reason: RejectReason
    field: str | None = None


def tenant_of(record: OperatorRecord) -> str | None:
    """The tenant that a record names; None: none (the kill switch's record and labels)."""
    return record.tenant if isinstance(record, AllowEntry | Command | Indicator) else None


def concerns(record: OperatorRecord, *, tenant: str) -> bool:
    """Say whether a tenant's judge must see a record: what names no tenant is for all, and so is the kill switch."""
    switch = isinstance(record, Command) and record.command == "kill_switch"
    return switch or tenant_of(record) in (None, tenant)


def read(raw: bytes) -> Received | Fault:
    """Read one recorded line: an operator's record as on its topic, with its `ingest_time`.

    >>> read(b'{"enforcement": "off", "since": 0, "by": "kim", "reason": "", "ingest_time": 1782050400000}').kind
    'control'
    >>> read(b'{"enforcement": "off"}')
    Fault(reason='missing_field', field='ingest_time')
    """
    tree = _tree(raw)
    if isinstance(tree, Fault):
        return tree
    found = _ingest(tree)
    if isinstance(found, Fault):
        return found
    return _received(tree, raw, kinds=tuple(KINDS), ingest_ms=found)


def read_from_topic(raw: bytes, *, kinds: tuple[OperatorKind, ...], ingest_ms: int) -> Received | Fault:
    """Read a record of a topic that holds `kinds`, appended at `ingest_ms`.

    >>> read_from_topic(b'{"owner": "kim"}', kinds=("allow",), ingest_ms=0)
    Fault(reason='missing_field', field='tenant')
    """
    tree = _tree(raw)
    return tree if isinstance(tree, Fault) else _received(tree, raw, kinds=kinds, ingest_ms=ingest_ms)


def removal(key: bytes) -> AllowEntry | None:
    """What a null value under an allow-list entry's key says: that it has ended. None: the key is no entry's.

    >>> removal(b'["t","account","a"]').expires_at
    0
    """
    with contextlib.suppress(msgspec.DecodeError):
        tenant, scope, value = msgspec.json.decode(key, type=tuple[str, Scope, str])
        return AllowEntry(tenant=tenant, scope=scope, value=value, owner="", reason="removed", expires_at=0)
    return None


def _tree(raw: bytes) -> dict[str, Any] | Fault:
    if len(raw) > RECORD_BYTES_MAX:
        return Fault("too_large")
    try:
        tree = orjson.loads(raw.decode())
    except UnicodeDecodeError:
        return Fault("bad_encoding")
    except orjson.JSONDecodeError:
        return Fault("not_json")
    return tree if isinstance(tree, dict) else Fault("not_object")


def _received(tree: dict[str, Any], raw: bytes, *, kinds: tuple[OperatorKind, ...], ingest_ms: int) -> Received | Fault:
    told = (kind for name, kind in _TELLS if kind in kinds and tree.get(name) is not None)
    kind = kinds[0] if len(kinds) == 1 else next(told, None)
    if kind is None:
        return Fault("unknown_schema")
    record = _record(tree, raw, kind)
    return record if isinstance(record, Fault) else Received(kind, record, ingest_ms)


def _ingest(tree: dict[str, Any]) -> int | Fault:
    said = tree.get("ingest_time")
    if said is None:
        return Fault("missing_field", "ingest_time")
    if isinstance(said, bool) or not isinstance(said, int | str):
        return Fault("bad_type", "ingest_time")
    try:
        time_ms = parse_time(said) if isinstance(said, str) else said
    except SchemaError:
        return Fault("bad_time", "ingest_time")
    return time_ms if INGEST_MS_MIN <= time_ms <= INGEST_MS_MAX else Fault("bad_time", "ingest_time")


def _record(tree: dict[str, Any], raw: bytes, kind: OperatorKind) -> OperatorRecord | Fault:
    struct = KINDS[kind]
    for field in msgspec.structs.fields(struct):
        value = tree.get(field.name)
        if value is None and field.required:
            return Fault("missing_field", field.name)
        if field.name in TIME_FIELDS and isinstance(value, str):
            try:
                parse_time(value)
            except SchemaError:
                return Fault("bad_time", field.name)
    try:
        record = decode(raw, kind=struct)
    except SchemaError as wrong:
        at = _AT_FIELD.search(str(wrong))
        return Fault("bad_value" if "Invalid enum" in str(wrong) else "bad_type", at[1] if at else None)
    for name in TIME_FIELDS:
        if not 0 <= (getattr(record, name, None) or 0) <= TIME_MS_MAX:
            return Fault("bad_time", name)
    if len((getattr(record, "value", None) or "").encode()) > VALUE_BYTES_MAX:
        return Fault("identifier_too_long", "value")
    missing = missing_fields(record) if isinstance(record, Command) else ()
    return Fault("missing_field", missing[0]) if missing else record
