"""Encode, live, without Kafka: every offset is a row, a dead letter or an end marker, however batches are cut."""

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.frames import NUM, Frame, unwire
from detector.hashing import DEVELOPMENT_KEY
from detector.runtime.kafka import encoding, markers
from detector.runtime.kafka.batches import Batch
from detector.runtime.kafka.encoding import END_CONTROL, NO_TIME, Options, encode_batch

NOW = 1_790_000_000_000
OPTIONS = Options(
    topic="stillwatch.access", tenants=("default", "b"), key=DEVELOPMENT_KEY, skew_ms_max=300_000, keep_content=False
)


@dataclass
class Given:
    """A record as a consumer would hand it over."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    timestamp: int = NOW
    timestamp_type: int = 1


def event(number: int, **more: Any) -> bytes:
    said = {"event_id": f"e{number}", "event_time": NOW - 1_000 + number, "account_id": "a", "request_model": "m"}
    return orjson.dumps(said | {"input_tokens": 1, "output_tokens": 1} | more)


def batch(*records: Given, first: int | None = None) -> Batch:
    start = records[0].offset if first is None else first
    return Batch(3, start, records[-1].offset + 1, list(records))


def frames_of(made: list[encoding.Range], tenant: int = 0) -> list[Frame]:
    raws = [raw for part in made for raw in part.frames[tenant]]
    return [unwire(raw) for raw in raws if not raw.startswith(markers.MARKER_MAGIC)]


def letters_of(made: list[encoding.Range]) -> list[tuple[int, str]]:
    said = [dict(letter.headers) for part in made for letter in part.dead]
    return [(int(s["__streams.errors.offset"]), s["stillwatch.error.code"].decode()) for s in said]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not_json"),
        (b"", "not_json"),
        (b"[]", "not_object"),
        (event(1, tenant="nobody"), "unknown_tenant"),
        (event(1, content={"prompt": "p"}), "raw_content"),
        (event(1, event_time=NOW + 300_001), "future_time"),
        (event(1)[:-1] + b" " * (1 << 20) + b"}", "too_large"),
    ],
)
def test_a_record_that_is_no_event_becomes_a_dead_letter(value: bytes | None, reason: str) -> None:
    made = encode_batch(batch(Given(0, event(0)), Given(1, value), Given(2, event(2))), OPTIONS)
    assert letters_of(made) == [(1, reason)]
    assert [f.positions.tolist() for f in frames_of(made)] == [[0, 2]]
    assert made[0].dead[0].value == b""


def test_an_event_exactly_at_the_skew_is_one() -> None:
    made = encode_batch(batch(Given(0, event(0, event_time=NOW + 300_000))), OPTIONS)
    assert not letters_of(made)
    assert frames_of(made)[0].numbers[0, NUM.INGEST] == NOW


def test_a_producers_own_time_is_no_ingest_time() -> None:
    made = encode_batch(batch(Given(0, event(0, event_time=NOW + 10**9), timestamp_type=0)), OPTIONS)
    assert not letters_of(made)
    assert frames_of(made)[0].numbers[0, NUM.INGEST] == -1
    assert made[0].ingest_ms == -1


def test_a_kept_letter_holds_its_bytes_only_where_it_parsed() -> None:
    keeps = OPTIONS._replace(keep_content=True)
    stranger, prompt = event(0, tenant="nobody"), event(1, content={"prompt": "p"})
    made = encode_batch(batch(Given(0, stranger), Given(1, prompt), Given(2, b'{"content": "p')), keeps)
    assert [letter.value for letter in made[0].dead] == [stranger, b"", b""]


def test_a_key_too_long_to_pass_on_is_left_out() -> None:
    made = encode_batch(batch(Given(0, b"", b"k" * 5_000), Given(1, b"", b"k")), OPTIONS)
    assert [letter.key for letter in made[0].dead] == [None, b"k"]


def test_every_tenant_gets_every_range() -> None:
    made = encode_batch(batch(Given(5, event(0)), Given(9, event(1, tenant="b")), first=3), OPTIONS)
    for tenant, position in ((0, 5), (1, 9)):
        (frame,) = frames_of(made, tenant)
        assert (frame.source, frame.first, frame.stop) == ("access/3", 3, 10)
        assert frame.positions.tolist() == [position]
    assert made[0].seen_ms == (NOW - 1_000, NOW - 999)


def test_a_batch_of_nothing_but_holes_is_a_range_too() -> None:
    (made,) = encode_batch(Batch(3, 4, 9, []), OPTIONS)
    assert [(f.first, f.stop) for f in frames_of([made])] == [(4, 9)]
    assert made.last_ms == NO_TIME


def test_an_end_marker_cuts_the_batch() -> None:
    end = Given(1, b"", headers=[("stillwatch.control", END_CONTROL)])
    made = encode_batch(batch(Given(0, event(0)), end, Given(2, event(2))), OPTIONS)
    assert [(part.stop, part.ended) for part in made] == [(2, True), (3, False)]
    for tenant in (0, 1):
        marks = [raw for part in made for raw in part.frames[tenant] if raw.startswith(markers.MARKER_MAGIC)]
        assert [markers.unwire_marker(raw) for raw in marks] == [markers.Marker(1, "end", "access/3", 2, 0)]


def test_a_record_with_a_value_is_no_end_whatever_its_headers_say() -> None:
    said = [("stillwatch.control", END_CONTROL), ("stillwatch.control", b"stop")]
    made = encode_batch(batch(Given(0, event(0), headers=said), Given(1, b"{", headers=said)), OPTIONS)
    assert [part.ended for part in made] == [False]
    assert frames_of(made)[0].positions.tolist() == [0]
    assert letters_of(made) == [(1, "not_json")]


def test_a_frame_too_large_for_a_record_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [Given(n, event(n, account_id="a" * 200 + str(n))) for n in range(64)]
    whole = encode_batch(batch(*records), OPTIONS)
    monkeypatch.setattr(encoding, "FRAME_RECORD_BYTES_MAX", 8_000)
    parts = encode_batch(batch(*records), OPTIONS)
    assert len(parts) >= 4
    assert all(len(raw) <= 8_000 for part in parts for frames in part.frames for raw in frames)
    joined = frames_of(parts)
    assert [f.first for f in joined] == [0, *(f.stop for f in joined[:-1])]
    assert [p for f in joined for p in f.positions.tolist()] == frames_of(whole)[0].positions.tolist()


VALUES = st.one_of(
    st.binary(max_size=40),
    st.none(),
    st.builds(event, st.integers(0, 99)),
    st.builds(lambda n, t: event(n, tenant=t), st.integers(0, 99), st.sampled_from(["default", "b", "c"])),
)


@given(st.lists(VALUES, min_size=1, max_size=30), st.data())
def test_however_batches_are_cut_the_rows_are_the_same(values: list[bytes | None], data: st.DataObject) -> None:
    records = [Given(n * 2, value) for n, value in enumerate(values)]  # with holes
    whole = encode_batch(batch(*records), OPTIONS)
    at = data.draw(st.integers(0, len(records)))
    parts = [batch(*records[:at])] if at else []
    parts += [batch(*records[at:], first=parts[0].stop if parts else None)] if at < len(records) else []
    cut = [made for part in parts for made in encode_batch(part, OPTIONS)]
    assert letters_of(cut) == letters_of(whole)
    for tenant in (0, 1):
        rows = [
            [
                (f.ids[i].tolist(), f.numbers[i].tolist(), f.positions[i])
                for f in frames_of(m, tenant)
                for i in range(len(f.positions))
            ]
            for m in (cut, whole)
        ]
        assert rows[0] == rows[1]
    assert sum(len(f.positions) for t in (0, 1) for f in frames_of(whole, t)) + len(letters_of(whole)) == len(records)
