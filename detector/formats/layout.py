"""Layouts: a foreign format as a table from access.v1's fields to where its records have them.

Purpose: what a format file declares, and the one function that follows it.
Invariants: conversion never raises, whatever the JSON value; one value gives events, or
rejects with the contract's reasons, or nothing where it holds no model call. Only what a
table names leaves a record, so credentials and headers cannot. What a format never carries
follows from its table.
Limits: of a key that stands twice in an object the last counts.

Any record may be enriched where logs are joined: the fields of an object `stillwatch`, or of keys
`stillwatch.<field>`, are taken as access.v1's own and win over the table.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import pyarrow as pa

from detector.events import FIELDS, SCHEMA
from detector.formats.values import Converter, Fault, flag, identity, instant, number, short, text, whole

NOTES: Final = "stillwatch"
_IDENTITIES: Final = frozenset({"account_id", "org_id", "project_id", "api_key_id", "reseller_id"})
_TEXTS: Final = frozenset({"user_agent", "client_ip", "country", "ja4", "tenant", "payment_fp", "device_fp"})
_TIMES: Final = frozenset({"event_time", "account_created_at"})
_BY_TYPE: Final[dict[pa.DataType, Converter]] = {pa.int64(): whole, pa.float64(): number, pa.bool_(): flag}

Record = Mapping[str, Any]
Read = Callable[[Any], Any]


class At(NamedTuple):
    """Where a field stands: the first of `paths` (keys joined by `/`, items of lists by number) that has a value."""

    paths: tuple[str, ...]
    to: Converter | None


class Refused(NamedTuple):
    """Why a record gives no event: the contract's reason, and the field of access.v1 at fault."""

    reason: str
    field: str | None


class Reads(NamedTuple):
    """A field that is worked out from the whole record."""

    read: Read


def at(*paths: str, to: Converter | None = None) -> At:
    """Say where a field stands; without `to` the field's type says how it is read."""
    return At(paths, to)


def always(value: Any) -> Reads:
    """Say that a field has one value in every record."""
    return Reads(lambda _: value)


Table = Mapping[str, At | Reads]


class Format(NamedTuple):
    """A foreign format.

    `looks` tells its JSON values from other formats'; `calls` yields the records of model calls in one of
    them, in the shape that the table reads; `text` names the parts of raw text that it may hold (of `prompt`,
    `system`, `output`); `join` says how to supply what it lacks; `batched`: one line may hold many calls.
    """

    name: str
    title: str
    looks: Callable[[Any], bool]
    calls: Callable[[Any], Iterable[Any]]
    reads: tuple[tuple[str, Read], ...]
    text: tuple[str, ...]
    join: str
    batched: bool

    @property
    def carries(self) -> frozenset[str]:
        """The fields of access.v1 that a record can fill, those made from text aside."""
        return frozenset(name for name, _ in self.reads) - {"content"}


def find(record: Any, *, keys: tuple[str | int, ...]) -> Any:
    """Follow keys down a JSON value; None where they lead nowhere.

    >>> find({"a": [{"b": 1}]}, keys=("a", 0, "b")), find({"a": 1}, keys=("a", "b"))
    (1, None)
    """
    for key in keys:
        if type(record) is dict:
            record = record.get(key)
        elif type(record) is list and type(key) is int and key < len(record):
            record = record[key]
        else:
            return None
    return record


def keys_of(path: str) -> tuple[str | int, ...]:
    """Split a path: `a/0/b` to `("a", 0, "b")`."""
    return tuple(int(key) if key.isdecimal() else key for key in path.split("/"))


def _default(name: str) -> Converter:
    if name in _TIMES:
        return instant
    kind = SCHEMA.field(name).type
    if kind == pa.string():
        return identity if name in _IDENTITIES else text if name in _TEXTS else short
    return _BY_TYPE.get(kind, _as_it_is)


def _as_it_is(value: Any) -> Any:
    return value


def _reader(name: str, place: At | Reads) -> Read:
    if type(place) is Reads:
        return place.read
    assert type(place) is At
    places = tuple(keys_of(path) for path in place.paths)
    convert = place.to or _default(name)

    def read(record: Any) -> Any:
        for keys in places:
            value = find(record, keys=keys)
            if value is not None and (found := convert(value)) is not None:
                return found
        return None

    return read


def layout(
    name: str,
    title: str,
    *,
    looks: Callable[[Any], bool],
    calls: Callable[[Any], Iterable[Any]],
    table: Table,
    text: tuple[str, ...] = (),
    join: str,
    batched: bool = False,
) -> Format:
    """Make a format of its table. Raises `KeyError` where the table names no field of access.v1."""
    for field in table:
        if field != "content" and field not in SCHEMA.names:
            raise KeyError(f"format {name}: {field!r} is no field of access.v1")
    reads = tuple((field, _reader(field, place)) for field, place in table.items())
    return Format(name, title, looks, calls, reads, text, join, batched)


def _noted(record: dict[str, Any], *, event: dict[str, Any]) -> Refused | None:
    """Add what a join wrote into the record; a fault's reason and field, if any."""
    notes = record.get(NOTES)
    found = dict(notes) if type(notes) is dict else {}
    found |= {k[len(NOTES) + 1 :]: v for k, v in record.items() if type(k) is str and k.startswith(f"{NOTES}.")}
    for name, convert in _NOTED:
        value = convert(found.get(name))
        if isinstance(value, Fault):
            return Refused(value.reason, name)
        if value is not None:
            event[name] = value
    return None


_NOTED: Final = tuple((f.name, _default(f.name)) for f in FIELDS)


def event_of(record: dict[str, Any], *, form: Format, noted: bool) -> dict[str, Any] | Refused:
    """One record of a model call as an access.v1 object, or a fault's reason and field.

    `noted` says whether to look for what a join wrote. Required fields may be missing: `decode` says so, as ever.
    """
    event: dict[str, Any] = {"input_tokens": None, "output_tokens": None}
    for name, read in form.reads:
        value = read(record)
        if value is None:
            continue
        if isinstance(value, Fault):
            return Refused(value.reason, name)
        event[name] = value
    fault = _noted(record, event=event) if noted else None
    return event if fault is None else fault
