"""Decoding JSON records: each kind of bad record gets its reason, field and byte; good ones their values."""

import json
from typing import Any

import pytest

from detector.decode import Reject, decode_lines, decode_text
from detector.events import RECORD_BYTES_MAX
from detector.hashing import opaque64
from tests.conftest import ROOT

GOOD: dict[str, Any] = {"event_id": "e", "event_time": 1_763_733_600_000, "account_id": "a", "request_model": "m"}


def line(**more: object) -> bytes:
    """A good record with some fields changed or added, without spaces."""
    return json.dumps({**GOOD, **more}, separators=(",", ":")).encode()


def raw(text: str) -> bytes:
    """A good record with JSON text added behind its last value."""
    return line()[:-1] + b"," + text.encode() + b"}"


def only_reject(record: bytes) -> Reject:
    """The one reject of one record."""
    decoded = decode_lines([record])
    assert decoded.batch.num_rows == 0
    (reject,) = decoded.rejects
    return reject


def test_the_bench_event_has_every_operational_field() -> None:
    record = (ROOT / "schemas" / "bench-event.json").read_bytes()
    row = decode_lines([record]).batch.to_pylist()[0]
    assert row["event_time"] == 1_795_269_807_418
    assert row["anchor_fps"][0] == 0x03C1F6A2D57E980B
    assert (row["temperature"], row["stream"], row["seed"]) == (0.7, True, 42)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b"{", "not_json"),
        (b'{"a":1}x', "not_json"),
        (b'{"a":1,}', "not_json"),
        (b'{"a":01}', "not_json"),
        (b'{"a":+1}', "not_json"),
        (b'{"a":1.}', "not_json"),
        (b'{"a":.5}', "not_json"),
        (b'{"a":1e}', "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":-Infinity}', "not_json"),
        (b'{"a":"\x01"}', "not_json"),
        (b'{"a":"\\x"}', "not_json"),
        (b'{"a":"\\u12g4"}', "not_json"),
        (b'{"a":[1,2}', "not_json"),
        (b'{"a":nul}', "not_json"),
        (b"[]", "not_object"),
        (b'"text"', "not_object"),
        (b"17", "not_object"),
        (b"null", "not_object"),
        (b'{"a":"\xff"}', "bad_encoding"),
        (b'{"a":"\xc0\xaf"}', "bad_encoding"),
        (b'{"a":"\xed\xa0\x80"}', "bad_encoding"),
        (b'{"a":"\xf4\x90\x80\x80"}', "bad_encoding"),
        (b'{"a":"\\ud800"}', "bad_encoding"),
        (b'{"a":"\\udc00\\ud800"}', "bad_encoding"),
        (b'{"a":{"b":1,"b":2}}', "duplicate_key"),
        (b'{"a":1,"\\u0061":2}', "duplicate_key"),
        (b'{"event_id":null,"event_id":"e"}', "duplicate_key"),
        (b'{"elicitation":{"cot":1,"cot":1}}', "duplicate_key"),
        (b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "too_deep"),
        (b"[" * 5_000, "too_deep"),
        (b'{"a":' * 5_000, "too_deep"),
        (b"{}", "missing_field"),
        (line(event_id=None), "missing_field"),
        (b" " * (RECORD_BYTES_MAX + 1), "too_large"),
        (raw('"x":"' + "y" * RECORD_BYTES_MAX + '"'), "too_large"),
    ],
)
def test_a_broken_record_is_refused_with_its_reason(record: bytes, reason: str) -> None:
    assert only_reject(record).reason == reason


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("event_id", 7, "bad_type"),
        ("event_id", "", "bad_value"),
        ("event_id", "x" * 129, "identifier_too_long"),
        ("account_id", ["a"], "bad_type"),
        ("account_id", "x" * 257, "identifier_too_long"),
        ("account_id", "é" * 129, "identifier_too_long"),
        ("event_time", True, "bad_type"),
        ("event_time", {}, "bad_type"),
        ("event_time", "yesterday", "bad_time"),
        ("event_time", "2026-11-21T14:00:00", "bad_time"),
        ("event_time", "2026-02-29T14:00:00Z", "bad_time"),
        ("event_time", "2014-12-31T23:59:59.999Z", "bad_time"),
        ("event_time", 1_763_733_600, "bad_time"),
        ("event_time", 10**18, "bad_time"),
        ("event_time", 10**30, "bad_time"),
        ("event_time", 1e300, "bad_time"),
        ("account_created_at", -1, "bad_time"),
        ("input_tokens", True, "bad_type"),
        ("input_tokens", "12", "bad_type"),
        ("input_tokens", 1.5, "bad_type"),
        ("input_tokens", 1.5000000000000002, "bad_type"),
        ("input_tokens", 1e300, "bad_value"),
        ("input_tokens", 9.3e18, "bad_value"),
        ("input_tokens", -1, "bad_value"),
        ("output_tokens", 2**63, "bad_value"),
        ("turn_index", -1, "bad_value"),
        ("topic_bucket", 4096, "bad_value"),
        ("cost_usd", -0.01, "bad_value"),
        ("temperature", "hot", "bad_type"),
        ("stream", 1, "bad_type"),
        ("client_ip", "1.2.3.256", "bad_value"),
        ("client_ip", "localhost", "bad_value"),
        ("anchor_fps", "0" * 16, "bad_type"),
        ("anchor_fps", [1], "bad_type"),
        ("anchor_fps", [None], "bad_type"),
        ("anchor_fps", [""], "bad_value"),
        ("anchor_fps", ["x" * 257], "identifier_too_long"),
        ("anchor_fps", ["x"] * 9, "bad_value"),
        ("elicitation", [], "bad_type"),
        ("elicitation", {"cot": "high"}, "bad_type"),
        ("elicitation", {"cot": 1.01}, "bad_value"),
        ("elicitation", {"cot": 10**400}, "bad_value"),
        ("ext", [], "bad_type"),
        ("ext", {"x": "y" * 4096}, "too_large"),
        ("content", "hello", "bad_type"),
        ("content", {"prompt": 1}, "bad_type"),
        ("content", {"messages": {"role": "user"}}, "bad_type"),
        ("content", {"messages": [{"content": "no role"}]}, "bad_type"),
        ("schema_version", 1, "bad_type"),
        ("schema_version", "access.v2", "unknown_schema"),
    ],
)
def test_a_bad_value_is_refused_by_its_field(field: str, value: object, reason: str) -> None:
    reject = only_reject(line(**{field: value}))
    assert (reject.reason, reject.field) == (reason, field)


@pytest.mark.parametrize("text", ['"temperature":1e999', '"input_tokens":1e999', '"elicitation":{"cot":1e999}'])
def test_a_number_beyond_floats_is_a_bad_value(text: str) -> None:
    assert only_reject(raw(text)).reason == "bad_value"


def test_the_byte_points_into_the_record() -> None:
    assert only_reject(b'{"a":"\xff"}').byte == 6
    assert only_reject(b'{"a":1,"b":2,"a":3}').byte == 13
    record = line(tenant="t", n="x")
    reject = only_reject(record)
    assert record[reject.byte :] == b'"x"}'
    assert reject.tenant == "t"
    record = line(tenant="t", client_ip="?")
    reject = only_reject(record)
    assert record[reject.byte :] == b'"?"}'
    assert reject.tenant == "t"


def test_text_whose_escapes_were_removed_has_no_position() -> None:
    assert only_reject(line(client_ip="\n")).byte is None


def test_a_syntax_fault_outweighs_a_wrong_type_before_it() -> None:
    assert only_reject(line(n="x")[:-1]).reason == "not_json"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T14:00:00Z", 1_795_269_600_000),
        ("2026-11-21t14:00:00.9999z", 1_795_269_600_999),
        ("2026-11-21 16:30:00.5+02:30", 1_795_269_600_500),
        ("2026-11-21T14:00:60Z", 1_795_269_660_000),
        (1_795_269_600_000, 1_795_269_600_000),
        (1_795_269_600_000.75, 1_795_269_600_000),
        (1795269600000.1234567, 1_795_269_600_000),
        (1.7952696e12, 1_795_269_600_000),
    ],
)
def test_times_come_in_many_forms(text: object, expected: int) -> None:
    assert decode_lines([line(event_time=text)]).batch.column("event_time").to_pylist() == [expected]


def test_what_the_client_chooses_is_no_reason_to_refuse() -> None:
    row = decode_lines([line(max_tokens=-1, top_k=-1, temperature=-1.0, user_agent="ü" * 400)]).batch.to_pylist()[0]
    assert (row["max_tokens"], row["top_k"], row["temperature"]) == (-1, -1, -1.0)
    assert row["user_agent"] == "ü" * 256  # 512 bytes of whole characters


def test_absent_null_and_unknown_are_harmless() -> None:
    row = decode_lines([line(input_tokens=None, org_id=None, later={"a": [1, None, "x"]}, ext={})]).batch.to_pylist()[0]
    assert {name: value for name, value in row.items() if value is not None} == {**GOOD, "tenant": "default"}


def test_integral_reals_are_integers() -> None:
    row = decode_lines([raw('"input_tokens":12.0,"seed":1e3,"n":9007199254740993.0')]).batch.to_pylist()[0]
    assert (row["input_tokens"], row["seed"]) == (12, 1000)


def test_escapes_are_removed_from_keys_and_values() -> None:
    record = line()[:-1] + b',"org\\u005fid":"a\\n\\u00e9\\ud83d\\ude00\\/\\b\\f\\r\\t\\"\\\\","api_key_id":"\\u0800"}'
    row = decode_lines([record]).batch.to_pylist()[0]
    assert row["org_id"] == 'a\né😀/\b\f\r\t"\\'
    assert row["api_key_id"] == "\u0800"


def test_fingerprints_of_other_makers_become_words() -> None:
    prints = ["0123456789abcdef", "0123456789ABCDEF", "sha256:x", "0" * 16, "0123456789abcdeg", "/123456789abcdef"]
    words = decode_lines([line(anchor_fps=prints)]).batch.column("anchor_fps").to_pylist()[0]
    assert words == [0x0123456789ABCDEF, *(opaque64(text.encode()) for text in prints[1:])]
    assert 0 not in words


def test_a_byte_order_mark_and_white_space_are_passed_over() -> None:
    decoded = decode_lines([b"\xef\xbb\xbf \t" + line().replace(b":", b" : ").replace(b",", b"\r\n,\n") + b" \r\n"])
    assert decoded.batch.num_rows == 1


def test_blank_lines_of_a_file_count_but_are_no_rejects() -> None:
    decoded = decode_text(b"\n" + line() + b"\r\n \r\n" + line() + b"\nx")
    assert decoded.positions.tolist() == [1, 3]
    assert [(r.reason, r.position) for r in decoded.rejects] == [("not_json", 4)]
    assert decode_text(b"").batch.num_rows == 0


def test_content_comes_in_every_shape() -> None:
    shapes: list[Any] = [
        {"system": "s", "prompt": "p", "output": "o"},
        {
            "messages": [
                {"role": "developer", "content": "s"},
                {"role": "user", "content": [{"type": "text", "text": "p"}]},
            ]
        },
        {"messages": [], "prompt": "p"},
        {},
        None,
    ]
    content = decode_lines([line(content=shape) for shape in shapes]).content
    assert content is not None
    assert content.system.to_pylist() == ["s", "s", None, None, None]
    assert content.prompt.to_pylist() == ["p", "p", "p", None, None]
    assert content.output.to_pylist() == ["o", None, None, None, None]
    assert decode_lines([line()]).content is None


def test_content_stays_beside_its_row_when_others_are_refused() -> None:
    lines = [line(content={"prompt": "1"}, client_ip="?"), b"x", line(content={"prompt": "2"}), line()]
    decoded = decode_lines(lines)
    assert decoded.content is not None
    assert decoded.content.prompt.to_pylist() == ["2", None]
    assert decoded.positions.tolist() == [2, 3]
    assert [r.position for r in decoded.rejects] == [0, 1]


def test_many_keys_are_read_and_crafted_ones_cost_no_more() -> None:
    many = json.dumps({f"k{number}": number for number in range(20_000)})
    assert decode_lines([raw(many[1:-1])]).batch.num_rows == 1
    assert only_reject(raw(many[1:-1] + ',"k7":1')).reason == "duplicate_key"
    nested = json.dumps([{"a": 1, "b": 2}] * 5_000)
    assert decode_lines([raw('"x":' + nested)]).batch.num_rows == 1


def test_a_refused_record_leaves_nothing_to_the_next() -> None:
    lines = [line(org_id="o", n="x", anchor_fps=["odd"]), line(), line(elicitation={"cot": 2}), line()]
    rows = decode_lines(lines).batch.to_pylist()
    assert [row["org_id"] for row in rows] == [None, None]
    assert [row["elicitation"] for row in rows] == [None, None]
