"""Operators' records: what a recorded line may hold, how it travels, when it waits."""

import json
from typing import Any

import msgspec
import pytest

from detector import desk
from detector.desk import Desk
from detector.encode_operators import encode_operators
from detector.frames import FrameError, unwire_operators, wire, wire_operators
from detector.hashing import DEVELOPMENT_KEY
from detector.operators import AllowEntry, Command, Control, Fault, Label, Received, read, tenant_of
from detector.panes import GapError
from tests.laws.orders import command, exemption, switch
from tests.laws.streams import (
    START_MS,
    frame_of,
    whole,
    world,
)

ALLOW = {
    "tenant": "default",
    "scope": "org",
    "value": "o-1",
    "owner": "kim",
    "reason": "evaluation",
    "expires_at": "2026-07-01T00:00:00Z",
}
REVOKE = {
    "command": "revoke",
    "tenant": "default",
    "scope": "account",
    "value": "a-1",
    "by": "kim",
    "reason": "",
    "at": 0,
}


def line(record: dict[str, Any], **fields: Any) -> bytes:
    """A recorded line: a record with its ingest time, and fields replaced or (None) taken away."""
    whole_line = {**record, "ingest_time": START_MS, **fields}
    return json.dumps({name: value for name, value in whole_line.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (ALLOW, AllowEntry),
        (REVOKE, Command),
        ({"enforcement": "off", "since": 0, "by": "kim", "reason": "drill"}, Control),
        ({"alert_id": "a-1", "verdict": "benign", "by": "kim", "at": 0}, Label),
    ],
)
def test_a_recorded_line_is_told_apart_by_its_fields(record: dict[str, Any], kind: type) -> None:
    found = read(line(record))
    assert isinstance(found, Received)
    assert (type(found.record), found.ingest_ms) == (kind, START_MS)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"once upon a time", Fault("not_json")),
        (b"\xff", Fault("bad_encoding")),
        (b"[1]", Fault("not_object")),
        (b'"' + b"x" * 70_000 + b'"', Fault("too_large")),
        (line({"note": "what is this"}), Fault("unknown_schema")),
        (line(ALLOW, ingest_time=None), Fault("missing_field", "ingest_time")),
        (line(ALLOW, ingest_time="noon"), Fault("bad_time", "ingest_time")),
        (line(ALLOW, ingest_time=1.5), Fault("bad_type", "ingest_time")),
        (line(ALLOW, ingest_time=17), Fault("bad_time", "ingest_time")),
        (line(ALLOW, expires_at=None), Fault("missing_field", "expires_at")),
        (line(ALLOW, expires_at="soon"), Fault("bad_time", "expires_at")),
        (line(ALLOW, scope="planet"), Fault("bad_value", "scope")),
        (line(ALLOW, value=7), Fault("bad_type", "value")),
        (line(ALLOW, value="v" * 257), Fault("identifier_too_long", "value")),
        (line(REVOKE, command="frobnicate"), Fault("bad_value", "command")),
        (line(REVOKE, value=None), Fault("missing_field", "value")),
        (line(REVOKE, command="add", action="block"), Fault("missing_field", "expires_at")),
    ],
)
def test_a_line_that_is_no_record_is_a_fault_with_its_reason_and_field(raw: bytes, fault: Fault) -> None:
    assert read(raw) == fault


def test_frames_hold_what_concerns_a_tenant_and_survive_the_wire() -> None:
    other = exemption("account", "x", START_MS, end_ms=START_MS + 1)
    other = other._replace(record=msgspec.structs.replace(other.record, tenant="other"))
    numbered = [(3, exemption("org", "ho-1", START_MS, end_ms=START_MS + 1)), (4, other), (5, switch("off", START_MS))]
    frame = encode_operators(numbered, tenant="default", source="ops", first=3, stop=6, key=DEVELOPMENT_KEY, timed=True)
    assert [(e.position, e.kind) for e in frame.entries] == [(3, "allow"), (5, "control")]
    # The digest is the one that an event of that organisation carries.
    world_frame = frame_of(world(0, sources=1), whole(world(0, sources=1))[0])
    name = world_frame.names.to_pylist().index("ho-1")
    assert frame.entries[0].digest == int(world_frame.name_digests[name])
    assert unwire_operators(wire_operators(frame)) == frame
    assert tenant_of(other.record) == "other"


def test_other_bytes_are_no_operators_frame() -> None:
    stream = world(0, sources=1)
    frame = encode_operators([], tenant="t", source="s", first=0, stop=0, key=DEVELOPMENT_KEY, timed=False)
    newer = msgspec.structs.replace(frame, version=99)
    for data, said in (
        (wire(frame_of(stream, whole(stream)[0])), "not an operators' frame"),
        (wire_operators(frame)[:-2], "does not decode"),
        (wire_operators(newer), "version 99"),
    ):
        with pytest.raises(FrameError, match=said):
            unwire_operators(data)


def test_timed_records_wait_in_order_of_their_time_and_others_act_at_once() -> None:
    numbered = [(0, switch("off", START_MS + 5)), (1, switch("on", START_MS)), (2, switch("off", START_MS))]
    frame = encode_operators(numbered, tenant="t", source="s", first=0, stop=3, key=DEVELOPMENT_KEY, timed=True)
    held = Desk()
    assert desk.take(held, frame) == []
    assert [w.position for w in held.waiting] == [1, 2, 0]
    assert desk.due_ms(held) == START_MS
    at_once = desk.take(Desk(), msgspec.structs.replace(frame, timed=False))
    assert [w.position for w in at_once] == [0, 1, 2]


def test_a_range_taken_twice_counts_once_and_a_hole_is_an_error() -> None:
    numbered = [(i, command("revoke", START_MS, scope="account", value=f"a-{i}")) for i in range(4)]
    frame = encode_operators(numbered, tenant="default", source="s", first=0, stop=4, key=DEVELOPMENT_KEY, timed=True)
    held = Desk()
    desk.take(held, msgspec.structs.replace(frame, stop=2, entries=frame.entries[:2]))
    desk.take(held, frame)
    desk.take(held, frame)
    assert [w.position for w in held.waiting] == [0, 1, 2, 3]
    with pytest.raises(GapError, match="end at 4, the next begin at 5"):
        desk.take(held, msgspec.structs.replace(frame, first=5, stop=6))
