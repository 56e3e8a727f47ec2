"""Operators' records as frames, and the digests of what they name.

Purpose: `encode_operators` makes the frame in which operators' records reach the judge; `link_digest` tells which
link a kind and a value mean.
Invariants: a digest is the one that `encode` gives an event that shows the value, because `encode` makes both.
Limits: of an exemption only accounts, organisations and payments get a digest; a value that no event could show
has the digest 0, which is no link.
Source: the design's operators' inputs: sequenced into frames like events.
"""

import ipaddress
import re
from typing import Any

import numpy as np
import pyarrow as pa

from detector import hashing
from detector.encode import encode
from detector.events import SCHEMA, event_batch
from detector.frames import FRAME_VERSION, ID, Entry, OperatorFrame
from detector.operators import Indicator, Received, concerns
from detector.records import encode as encode_record
from detector.vocabulary import IndicatorKind, Scope

# The scopes of an exemption that an account's own row can be held against.
_SCOPE_KINDS: dict[Scope, bytes] = {"account": b"account", "org": b"org", "payment_fp": b"payment"}
_COLUMN_OF: dict[IndicatorKind, ID] = {
    "program": ID.PROGRAM,
    "ja4": ID.JA4,
    "subnet": ID.SUBNET,
    "system_prompt_fp": ID.SYSTEM,
    "template_fp": ID.TEMPLATE,
    "anchor_fp": ID.ANCHOR,
}
# As `encode` words a program; a name may hold blanks, so each part ends where the next one's word begins.
_PROGRAM = re.compile(
    r"(?:sdk=(?P<sdk_name>.*?))?"
    r"(?:(?:^| )stream=(?P<stream>True|False))?"
    r"(?:(?:^| )max_tokens=(?P<max_tokens>\d{1,18}))?"
    r"(?:(?:^| )temperature=(?P<temperature>\d[\d.e+-]*))?"
    r"(?:^| )model=(?P<request_model>.+)"
)


def link_digest(kind: IndicatorKind, value: str, *, key: bytes) -> int:
    """The digest of the link of a kind and a value; 0 where no event could show it.

    >>> link_digest("anchor_fp", "not hex", key=bytes(32))
    0
    """
    try:
        shown = _shown(kind, value)
        whole = {"event_id": "", "event_time": 0, "account_id": "", "request_model": ""} | shown
        batch = event_batch({name: pa.array([said], SCHEMA.field(name).type) for name, said in whole.items()}, rows=1)
    except (ValueError, OverflowError, pa.ArrowInvalid):
        return 0
    (frame,) = encode(batch, positions=np.zeros(1, np.int64), source="", first=0, stop=1, key=key)
    return int(frame.ids[0, _COLUMN_OF[kind]])


def _shown(kind: IndicatorKind, value: str) -> dict[str, Any]:
    """The fields of an event that shows the link. Raises `ValueError` where none can."""
    if kind == "anchor_fp":
        return {"anchor_fps": [int(value, 16)]}
    if kind == "subnet":
        return {"client_ip": str(ipaddress.ip_network(value))}
    if kind != "program":
        return {kind: value}
    return program_fields(value)


def program_fields(value: str) -> dict[str, Any]:
    """The fields of events that a program's name stands for. Raises `ValueError` for what names none.

    >>> program_fields("sdk=a b stream=True max_tokens=5 model=m")
    {'sdk_name': 'a b', 'stream': True, 'max_tokens': 5, 'request_model': 'm'}
    """
    found = _PROGRAM.fullmatch(value)
    if found is None:
        raise ValueError(f"{value!r} names no program")
    said: dict[str, Any] = {name: part for name, part in found.groupdict().items() if part is not None}
    for name, read in (("stream", lambda part: part == "True"), ("max_tokens", int), ("temperature", float)):
        if name in said:
            said[name] = read(said[name])
    return said


def program_value(fields: dict[str, Any]) -> str:
    """The name that `encode` gives the program of events with these fields, `request_model` among them.

    >>> program_value({"stream": False, "temperature": 1.0, "request_model": "m"})
    'stream=False temperature=1 model=m'
    """
    temperature = fields.get("temperature")
    words = {
        "sdk": fields.get("sdk_name"),
        "stream": fields.get("stream"),
        "max_tokens": fields.get("max_tokens"),
        "temperature": None if temperature is None else f"{round(temperature * 1000) / 1000:g}",
        "model": fields["request_model"],
    }
    return " ".join(f"{name}={said}" for name, said in words.items() if said is not None)


def encode_operators(
    received: list[tuple[int, Received]], *, tenant: str, source: str, first: int, stop: int, key: bytes, timed: bool
) -> OperatorFrame:
    """Encode operators' records, as (position, record), of the range `[first, stop)`: those that concern `tenant`."""
    entries = []
    for position, (kind, record, ingest_ms) in received:
        if not concerns(record, tenant=tenant):
            continue
        scope, value = getattr(record, "scope", None), getattr(record, "value", None)
        digest = 0
        if isinstance(record, Indicator):
            digest = link_digest(record.kind, record.value, key=key)
        elif scope in _SCOPE_KINDS and value is not None:
            digest = int(hashing.digest64(_SCOPE_KINDS[scope], pa.array([value]), key=key)[0])
        entries.append(Entry(ingest_ms, position, kind, digest, encode_record(record)))
    return OperatorFrame(FRAME_VERSION, tenant, source, first, stop, timed, tuple(entries))
