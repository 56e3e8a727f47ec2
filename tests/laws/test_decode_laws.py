"""Laws of decoding: nothing raises, nothing is lost, cuts do not matter, and plain Python agrees."""

import ipaddress
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from detector.decode import REASONS, Decoded, decode_lines, decode_table, decode_text
from detector.decode.addresses import bad_addresses
from detector.decode.times import BAD_TIME_MS, time_column
from detector.events import ELICITATION_KINDS, FIELDS, FINGERPRINTS, NESTING_MAX, TIME_MS_MIN
from detector.runtime.json_text import json_lines

GOOD: dict[str, Any] = {"event_id": "e", "event_time": 1_763_733_600_000, "account_id": "a", "request_model": "m"}
SYNTAX = ("not_json", "not_object", "bad_encoding", "duplicate_key", "too_deep")

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
TIMES_MS = st.integers(TIME_MS_MIN, 4_102_444_800_000)
WORDS64 = st.integers(1, 2**64 - 1).map(lambda word: f"{word:016x}")
SCORES = st.dictionaries(st.sampled_from(ELICITATION_KINDS), st.floats(0, 1, width=32), max_size=3)


def value_of(name: str, kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Any admissible value of a field."""
    if name in ("event_time", "account_created_at"):
        return TIMES_MS
    if name == "client_ip":
        return st.ip_addresses().map(str)
    by_kind: dict[pa.DataType, st.SearchStrategy[Any]] = {
        pa.string(): WORDS,
        pa.int64(): st.integers(0, 255),
        pa.float64(): st.floats(0, 1e6, allow_subnormal=False),
        pa.bool_(): st.booleans(),
        FINGERPRINTS: st.lists(WORDS64, max_size=8),
    }
    return by_kind.get(kind, SCORES)


EVENTS = st.fixed_dictionaries(
    {f.name: value_of(f.name, f.type) for f in FIELDS if f.required},
    optional={f.name: st.none() | value_of(f.name, f.type) for f in FIELDS if not f.required},
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.sampled_from([*GOOD, "n", "x", "seed"]) | WORDS, JSON_VALUES, max_size=6)


def lines_of(events: list[dict[str, Any]]) -> list[bytes]:
    """Events as JSON records."""
    return [json.dumps(event, ensure_ascii=False).encode() for event in events]


def together(parts: list[Decoded]) -> pa.Table:
    """The rows of several decodings, one after another."""
    return pa.Table.from_batches([part.batch for part in parts]).combine_chunks()


def reference(line: bytes) -> str | None:
    """Why plain Python cannot read a record, None where it can (twin of the compiled reader's syntax)."""

    class DuplicateError(Exception):
        pass

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in items}) < len(items):
            raise DuplicateError
        return dict(items)

    def no_constant(name: str) -> None:
        raise ValueError(name)

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [*value, *(text for item in value.values() for text in texts(item))]
        if isinstance(value, list):
            return [text for item in value for text in texts(item)]
        return [value] if isinstance(value, str) else []

    def depth(value: Any) -> int:
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inside is None else 1 + max(map(depth, inside), default=0)

    try:
        record = json.loads(line.decode(), object_pairs_hook=pairs, parse_constant=no_constant)
        for text in texts(record):
            text.encode()
    except DuplicateError:
        return "duplicate_key"
    except UnicodeError:
        return "bad_encoding"
    except ValueError:
        return "not_json"
    if depth(record) > NESTING_MAX:
        return "too_deep"
    return None if isinstance(record, dict) else "not_object"


def check_against_reference(line: bytes) -> None:
    """The reader and Python agree whether a record is sound; the reason may be another where two apply."""
    rejects = decode_lines([line]).rejects
    reason = rejects[0].reason if rejects else None
    expected = reference(line)
    if expected is None:
        assert reason not in SYNTAX, (line, reason)
    else:
        assert reason in SYNTAX, (line, reason, expected)


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_rows_or_rejects_and_never_an_exception(lines: list[bytes]) -> None:
    decoded = decode_lines(lines)
    assert sorted([*decoded.positions, *(r.position for r in decoded.rejects)]) == list(range(len(lines)))
    assert all(r.reason in REASONS for r in decoded.rejects)


@given(RECORDS, st.integers(0, 200), st.integers(0, 255))
@example({"x": "a"}, 7, 0xC3)
def test_a_damaged_record_is_judged_as_plain_python_judges_it(record: dict[str, Any], at: int, byte: int) -> None:
    line = bytearray(json.dumps(record, ensure_ascii=at % 2 == 0).encode())
    check_against_reference(bytes(line))
    line[at % len(line)] = byte
    check_against_reference(bytes(line))
    check_against_reference(bytes(line[: at % len(line)]))


@given(st.text(st.sampled_from('{}[]",:\\u0d8efntrl1.-+E \n'), max_size=24))
@example('{"a":"\\ud83d\\ude00"}')
@example('{"a":"\\ude00"}')
@example('{"a":-0.0E+1,"b":01}')
@example('{"a":1,"\\u0061":2}')
def test_text_made_of_json_tokens_is_judged_as_plain_python_judges_it(text: str) -> None:
    check_against_reference(text.encode())


@given(st.lists(EVENTS | RECORDS, max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_cuts_change_no_row_and_no_reject(events: list[dict[str, Any]], cuts: list[int]) -> None:
    lines = lines_of(events)
    whole = decode_lines(lines)
    edges = sorted({0, len(lines), *(min(cut, len(lines)) for cut in cuts)})
    pairs = list(pairwise(edges))
    parts = [decode_lines(lines[start:stop]) for start, stop in pairs]
    assert not parts or together(parts).equals(together([whole]))
    moved = [
        r._replace(position=r.position + start)
        for (start, _), part in zip(pairs, parts, strict=True)
        for r in part.rejects
    ]
    assert moved == whole.rejects


@given(st.lists(EVENTS, max_size=6))
def test_what_is_written_reads_back_equal(events: list[dict[str, Any]]) -> None:
    decoded = decode_lines(lines_of(events))
    assert not decoded.rejects
    text = bytes(json_lines(decoded.batch))
    again = decode_text(text)
    assert again.rejects == []
    assert again.batch.equals(decoded.batch)
    assert bytes(json_lines(again.batch)) == text
    assert decode_table(decoded.batch).batch.equals(decoded.batch)


@given(st.lists(EVENTS, min_size=1, max_size=6))
def test_a_value_arrives_as_it_was_sent(events: list[dict[str, Any]]) -> None:
    rows = decode_lines(lines_of(events)).batch.to_pylist()
    for event, row in zip(events, rows, strict=True):
        sent = {name: value for name, value in event.items() if value is not None}
        for name, value in sent.items():
            if name.endswith("_fps"):
                assert row[name] == [int(word, 16) for word in value]
            elif name == "elicitation":
                assert {kind: score for kind, score in row[name].items() if score is not None} == value
            else:
                assert row[name] == value
        assert {name for name, value in row.items() if value is not None} == {*sent, "tenant"}


@given(
    st.lists(EVENTS, max_size=5), st.sampled_from([f.name for f in FIELDS]), st.sampled_from([-1, "", "x" * 300, 1.5])
)
def test_a_table_is_refused_for_the_reasons_that_records_are(events: list[Any], name: str, value: object) -> None:
    events = [{**event, name: value} for event in events]
    by_line = decode_lines(lines_of(events))
    names = sorted({key for event in events for key in event})
    columns = {key: [event.get(key) for event in events] for key in names}
    by_row = decode_table(pa.RecordBatch.from_pydict(columns) if names else pa.RecordBatch.from_pylist([]))
    assert [(r.reason, r.position, r.field) for r in by_line.rejects] == [
        (r.reason, r.position, r.field) for r in by_row.rejects
    ]
    assert by_row.batch.equals(by_line.batch)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30).map(float))
@example(5e-324)
@example(0.1 + 0.2)
@example(1.7976931348623157e308)
def test_a_real_number_is_read_to_the_last_bit(value: float) -> None:
    row = decode_lines(lines_of([{**GOOD, "temperature": value}])).batch.to_pylist()[0]
    assert math.copysign(1, row["temperature"]) == math.copysign(1, value)
    assert row["temperature"] == value


@given(st.integers(-(2**64), 2**64))
@example(2**63)
@example(2**63 - 1)
@example(-(2**63))
@example(-(2**63) - 1)
def test_an_integer_is_exact_or_refused(value: int) -> None:
    decoded = decode_lines(lines_of([{**GOOD, "seed": value}]))
    if -(2**63) <= value < 2**63:
        assert decoded.batch.column("seed").to_pylist() == [value]
    else:
        assert [r.reason for r in decoded.rejects] == ["bad_value"]


@given(st.datetimes(datetime(2015, 1, 2), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60), st.integers(0, 9))  # noqa: DTZ001 - the zone follows
def test_a_time_is_what_the_standard_library_makes_of_it(local: datetime, offset: int, digits: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=offset)))
    fraction = f"{moment.microsecond:06d}000"[:digits]
    sign = "-" if offset < 0 else "+"
    zone = f"{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + zone
    cut = moment.replace(microsecond=int(fraction.ljust(6, "0")[:3]) * 1000 if fraction else 0)
    expected = (cut - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert time_column(pa.array([text])).tolist() == [expected]


@given(st.from_regex(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:[0-5]\d(\.\d{1,4})?([Zz]|[+-]\d\d:\d\d)", fullmatch=True))
def test_a_date_that_does_not_exist_is_no_time(text: str) -> None:
    try:
        datetime.fromisoformat(text.replace("z", "Z").replace("t", "T"))
        exists = not text.startswith("0000")
    except ValueError:
        exists = False
    if exists:
        assert time_column(pa.array([text])).tolist() != [BAD_TIME_MS]
    elif not text.startswith("0000"):  # the year 0 exists in RFC 3339, not in Python
        assert time_column(pa.array([text])).tolist() == [BAD_TIME_MS]


@given(st.ip_addresses().map(str) | st.text("0123456789abcdef:./", max_size=20))
@example("::")
@example("1::2::3")
@example("::ffff:1.2.3.4")
@example("1:2:3:4:5:6:7::")
@example("1:2:3:4:5:6:7:8::")
@example(":1::")
@example("1.2.3.4/33")
@example("01.2.3.4")
def test_an_address_is_what_the_standard_library_takes(text: str) -> None:
    try:
        ipaddress.ip_network(text, strict=False)
        good = text.partition("/")[2].isdigit() or "/" not in text  # netmask notation is no prefix length
        good = good and not (len(text.partition("/")[2]) > 1 and text.partition("/")[2].startswith("0"))
    except ValueError:
        good = False
    assert bad_addresses(pa.array([text])).tolist() == [not good]


def test_kernels_leave_no_state_between_calls() -> None:
    lines = lines_of([GOOD, {"x": 1}, {**GOOD, "anchor_fps": ["ab", "0" * 16, "f" * 16]}])
    first, second = decode_lines(lines), decode_lines(lines)
    assert first.batch.equals(second.batch)
    assert first.rejects == second.rejects
    assert np.array_equal(first.positions, [0, 2])
