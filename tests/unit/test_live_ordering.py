"""Operators' topics, live, without Kafka: a record is an entry or a dead letter, a range goes to every tenant."""

import json
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import desk
from detector.desk import Desk
from detector.frames import OperatorFrame, unwire_operators
from detector.hashing import DEVELOPMENT_KEY
from detector.operators import AllowEntry, Command, Fault, Received, read, removal
from detector.records import decode
from detector.runtime.kafka import ordering
from detector.runtime.kafka.batches import Batch
from detector.runtime.kafka.encoding import Options
from detector.runtime.kafka.ordering import Sequenced, encode_orders
from tests.unit.test_live_encoding import NOW, Given

OPTIONS = Options(topic="s.allow", tenants=("default", "b"), key=DEVELOPMENT_KEY, skew_ms_max=0, keep_content=False)
ALLOW = {"tenant": "b", "scope": "org", "value": "o", "owner": "kim", "reason": "", "expires_at": NOW}
REVOKE = {"command": "revoke", "tenant": "default", "scope": "account", "value": "a", "by": "k", "reason": "", "at": 0}
SWITCH = {"command": "kill_switch", "tenant": "b", "enforcement": "off", "by": "k", "reason": "", "at": 0}
CONTROL = {"enforcement": "on", "since": 0, "by": "k", "reason": ""}
LABEL = {"alert_id": "a", "verdict": "benign", "by": "k", "at": 0}


def sequence(name: str, *records: Given, first: int = 0) -> list[Sequenced]:
    batch = Batch(2, first, records[-1].offset + 1, list(records), f"s.{name}")
    return encode_orders(batch, OPTIONS._replace(topic=batch.topic), name=name, now_ms=NOW + 7)


def frames(made: list[Sequenced], tenant: int) -> list[OperatorFrame]:
    return [unwire_operators(part.frames[tenant]) for part in made]


@pytest.mark.parametrize(
    ("name", "record", "concerned"),
    [
        ("allow", ALLOW, [False, True]),
        ("commands", REVOKE, [True, False]),
        ("commands", SWITCH, [True, True]),
        ("commands", CONTROL, [True, True]),
        ("labels", LABEL, [True, True]),
    ],
)
def test_a_record_goes_to_whom_it_concerns_and_its_range_to_all(
    name: str, record: dict[str, Any], concerned: list[bool]
) -> None:
    made = sequence(name, Given(5, orjson.dumps(record)), first=3)
    for tenant in (0, 1):
        (frame,) = frames(made, tenant)
        assert (frame.source, frame.first, frame.stop, frame.timed) == (f"{name}/2", 3, 6, False)
        assert [(e.position, e.ingest_ms) for e in frame.entries] == ([(5, NOW)] if concerned[tenant] else [])
    assert not made[0].dead


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("allow", b"", "not_json"),
        ("allow", b"[]", "not_object"),
        ("allow", orjson.dumps({**ALLOW, "tenant": None}), "missing_field"),
        ("allow", orjson.dumps({**ALLOW, "tenant": "nobody"}), "unknown_tenant"),
        ("allow", orjson.dumps({**ALLOW, "expires_at": 1 << 62}), "bad_time"),
        ("allow", orjson.dumps(REVOKE), "missing_field"),
        ("allow", None, "not_json"),
        ("commands", None, "not_json"),
        ("commands", orjson.dumps(ALLOW), "unknown_schema"),
        ("commands", orjson.dumps({**REVOKE, "tenant": None}), "missing_field"),
        ("commands", orjson.dumps({**SWITCH, "tenant": "nobody"}), "unknown_tenant"),
        ("labels", orjson.dumps({**LABEL, "verdict": "nice"}), "bad_value"),
    ],
)
def test_a_bad_record_is_a_dead_letter_with_its_place_and_its_range_stands(
    name: str, value: bytes | None, reason: str
) -> None:
    (made,) = sequence(name, Given(4, value, key=b"k"))
    (letter,) = made.dead
    said = {name: value.decode() for name, value in letter.headers}
    assert said["stillwatch.error.code"] == reason
    assert [said[f"__streams.errors.{n}"] for n in ("topic", "partition", "offset")] == [f"s.{name}", "2", "4"]
    assert [(f.first, f.stop, f.entries) for f in frames([made], 0)] == [(0, 5, ())]


def test_a_null_takes_an_entry_back_and_a_label_silently() -> None:
    key = orjson.dumps(["b", "org", "o"])
    (frame,) = frames(sequence("allow", Given(0, None, key=key)), 1)
    entry = decode(frame.entries[0].raw, kind=AllowEntry)
    assert (entry.tenant, entry.scope, entry.value, entry.expires_at) == ("b", "org", "o", 0)
    (made,) = sequence("labels", Given(0, None, key=b"a"))
    assert (frames([made], 0)[0].entries, made.dead) == ((), [])
    for odd in (b"", b"[]", b'["b","planet","o"]', b'["b","org",7]', b"\xff"):
        assert removal(odd) is None


def test_a_producers_own_time_is_not_trusted() -> None:
    (frame,) = frames(sequence("commands", Given(0, orjson.dumps(REVOKE), timestamp=NOW * 9, timestamp_type=0)), 0)
    assert frame.entries[0].ingest_ms == NOW + 7


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_long_batches_become_ranges_that_join(count: int) -> None:
    records = [Given(3 * i + 2, orjson.dumps(REVOKE)) for i in range(count)]  # compaction left holes
    made = frames(sequence("commands", *records, first=1), 0)
    assert (made[0].first, made[-1].stop) == (1, 3 * count)
    assert all(a.stop == b.first for a, b in pairwise(made))
    held = Desk()
    assert [w.position for f in made for w in desk.take(held, f)] == [r.offset for r in records]
    assert [w for f in made for w in desk.take(held, f)] == []  # delivered again
    assert max(len(f.entries) for f in made) <= ordering.ORDERS_MAX


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["off", "org", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(REVOKE)), inner, max_size=3),
    max_leaves=5,
)
FIELDS = sorted({*ALLOW, *REVOKE, *SWITCH, *CONTROL, *LABEL, "ingest_time", "decision_id", "action"})


@given(
    data=st.data(),
    start=st.sampled_from([ALLOW, REVOKE, SWITCH, CONTROL, LABEL]),
    name=st.sampled_from(sorted(ordering.TOPICS)),
)
def test_nothing_in_a_record_can_raise(data: st.DataObject, start: dict[str, Any], name: str) -> None:
    changed = data.draw(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
    raw = json.dumps({**start, **changed}).encode()
    raw = data.draw(st.just(raw) | st.integers(0, len(raw)).map(lambda at: raw[:at] + b"\x00" + raw[at:]))
    (made,) = sequence(name, Given(0, raw, key=data.draw(st.binary(max_size=9))))
    entries = {e.raw for tenant in (0, 1) for f in frames([made], tenant) for e in f.entries}
    assert len(entries) + len(made.dead) == 1
    assert isinstance(read(raw), Received | Fault)


def test_an_entry_says_what_the_record_said() -> None:
    (frame,) = frames(sequence("commands", Given(0, orjson.dumps(REVOKE))), 0)
    assert decode(frame.entries[0].raw, kind=Command) == decode(orjson.dumps(REVOKE), kind=Command)
