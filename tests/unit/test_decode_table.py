"""Decoding tables: natural types arrive as JSON's would, impossible ones are refused row by row."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from detector.decode import decode_table
from detector.hashing import opaque64

TIME_MS = 1_795_269_600_123
GOOD: dict[str, Any] = {"event_id": ["e"], "event_time": [TIME_MS], "account_id": ["a"], "request_model": ["m"]}


def table(**columns: pa.Array) -> pa.RecordBatch:
    """A good table of as many rows as the first of the columns, with these put in."""
    rows = len(next(iter(columns.values()))) if columns else 1
    return pa.RecordBatch.from_pydict({**{name: pa.array(value * rows) for name, value in GOOD.items()}, **columns})


def outcome(name: str, column: pa.Array) -> tuple[list[Any], list[str]]:
    """The values of a field that get through, and the reasons for the others."""
    decoded = decode_table(table(**{name: column}))
    assert all(r.field == name for r in decoded.rejects)
    return decoded.batch.column(name).to_pylist(), [r.reason for r in decoded.rejects]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([TIME_MS]),
        pa.array([float(TIME_MS) + 0.9]),
        pa.array([TIME_MS], pa.timestamp("ms")),
        pa.array([TIME_MS * 1000 + 999], pa.timestamp("us", "UTC")),
        pa.array([TIME_MS * 1_000_000 + 999], pa.timestamp("ns", "Europe/Berlin")),
        pa.array(["2026-11-21T16:00:00.1239+02:00"]),
        pa.array(["2026-11-21T16:00:00.1239+02:00"], pa.large_string()),
    ],
)
def test_times_come_in_many_types(column: pa.Array) -> None:
    assert outcome("event_time", column) == ([TIME_MS], [])


def test_coarse_times_are_times() -> None:
    assert outcome("event_time", pa.array([TIME_MS // 1000], pa.timestamp("s"))) == ([TIME_MS - 123], [])
    assert outcome("account_created_at", pa.array([dt.date(1970, 1, 2)])) == ([86_400_000], [])
    assert outcome("account_created_at", pa.array([dt.date(1970, 1, 2)], pa.date64())) == ([86_400_000], [])


def test_impossible_times_are_bad_times() -> None:
    assert outcome("event_time", pa.array([2**62], pa.timestamp("s"))) == ([], ["bad_time"])
    assert outcome("event_time", pa.array([float("nan"), 1e300])) == ([], ["bad_time", "bad_time"])
    assert outcome("event_time", pa.array(["now"])) == ([], ["bad_time"])
    assert outcome("event_time", pa.array([True])) == ([], ["bad_type"])


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["x", None]).dictionary_encode(),
        pa.array(["x", None], pa.large_string()),
        pa.array(["x", None], pa.string_view()),
        pa.array([b"x", None]),
        pa.RunEndEncodedArray.from_arrays([1, 2], ["x", None]),
    ],
)
def test_text_comes_in_many_types(column: pa.Array) -> None:
    assert outcome("org_id", column) == (["x", None], [])


def test_numbers_are_no_identifiers() -> None:
    assert outcome("account_id", pa.array([1.0])) == ([], ["bad_type"])
    assert outcome("org_id", pa.array([7, None])) == ([None], ["bad_type"])


def test_text_that_is_no_utf8_is_bad_encoding() -> None:
    assert outcome("org_id", pa.array([b"ok", b"\xff"])) == (["ok"], ["bad_encoding"])
    wrong = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    assert outcome("org_id", wrong) == ([], ["bad_encoding"])


def test_integers_come_in_many_widths() -> None:
    assert outcome("input_tokens", pa.array([3], pa.uint8())) == ([3], [])
    assert outcome("input_tokens", pa.array([2**64 - 1, 4], pa.uint64())) == ([4], ["bad_value"])
    assert outcome("input_tokens", pa.array([5.0, None, 5.5, float("nan")])) == ([5, None], ["bad_type", "bad_value"])
    assert outcome("input_tokens", pa.array([Decimal(6)])) == ([6], [])
    assert outcome("input_tokens", pa.array(["7"])) == ([], ["bad_type"])


def test_reals_and_truths_are_what_they_say() -> None:
    assert outcome("temperature", pa.array([1, None], pa.int32())) == ([1.0, None], [])
    assert outcome("temperature", pa.array([0.5], pa.float32())) == ([0.5], [])
    assert outcome("temperature", pa.array([float("nan"), float("inf")])) == ([], ["bad_value", "bad_value"])
    assert outcome("temperature", pa.array([True])) == ([], ["bad_type"])
    assert outcome("stream", pa.array([True, None])) == ([True, None], [])
    assert outcome("stream", pa.array([1])) == ([], ["bad_type"])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2**63 + 1]], pa.list_(pa.uint64())),
        pa.array([[1, 1 - 2**63]], pa.list_(pa.int64())),
        pa.array([[1, 2**63 + 1]], pa.large_list(pa.uint64())),
        pa.array([[1, 2**63 + 1]], pa.list_(pa.uint64(), 2)),
        pa.array([[1, 2**63 + 1]], pa.list_view(pa.uint64())),
        pa.array([["0000000000000001", "8000000000000001"]]),
        pa.array([["0000000000000001", "8000000000000001"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    ],
)
def test_fingerprint_lists_come_in_many_types(column: pa.Array) -> None:
    assert outcome("anchor_fps", column) == ([[1, 2**63 + 1]], [])


def test_odd_fingerprints_are_words_or_refused() -> None:
    words, reasons = outcome("run_fps", pa.array([["odd"], ["0" * 16], [""], ["x" * 257], [None], ["a"] * 9, None, []]))
    assert words == [[opaque64(b"odd")], [opaque64(b"0" * 16)], None, []]
    assert reasons == ["bad_value", "identifier_too_long", "bad_type", "bad_value"]
    assert outcome("run_fps", pa.array([[0]], pa.list_(pa.int64()))) == ([[opaque64(b"0" * 16)]], [])
    assert outcome("run_fps", pa.array([[1.5]])) == ([], ["bad_type"])
    assert outcome("run_fps", pa.array(["x"])) == ([], ["bad_type"])


def test_scores_come_as_struct_or_map() -> None:
    def cot(column: pa.Array) -> tuple[list[float | None], list[str]]:
        values, reasons = outcome("elicitation", column)
        return [None if value is None else value["cot"] for value in values], reasons

    assert cot(pa.array([{"cot": 0.5, "x": 1}, None, {"cot": None, "x": 1}])) == ([0.5, None, None], [])
    maps = pa.array([[("cot", 1.0)], None, [("rewrite", 0.0)]], pa.map_(pa.string(), pa.float64()))
    assert cot(maps) == ([1.0, None, None], [])
    assert cot(pa.array([{"cot": 1.5}, {"cot": -0.1}])) == ([], ["bad_value", "bad_value"])
    assert cot(pa.array([{"cot": "x"}])) == ([], ["bad_type"])
    assert cot(pa.array([0.5])) == ([], ["bad_type"])


def test_content_is_read_from_structs() -> None:
    plain = decode_table(table(content=pa.array([{"prompt": "p", "output": None}, None])))
    assert plain.content is not None
    assert (plain.content.prompt.to_pylist(), plain.content.system.to_pylist()) == (["p", None], [None, None])
    chat = decode_table(table(content=pa.array([{"messages": [{"role": "user", "content": "p"}]}])))
    assert chat.content is not None
    assert chat.content.prompt.to_pylist() == ["p"]
    assert decode_table(table(content=pa.array([None, None]))).content is None
    for column, reason in (
        (pa.array(["text"]), "bad_type"),
        (pa.array([{"prompt": 1}]), "bad_type"),
        (pa.array([{"prompt": "x" * (1 << 20), "output": "y"}]), "too_large"),
        (pa.array([{"messages": [{"content": "p"}]}]), "bad_type"),
    ):
        assert [r.reason for r in decode_table(table(content=column)).rejects] == [reason]


def test_extras_are_measured_and_ignored() -> None:
    assert not decode_table(table(ext=pa.array([{"a": 1}]), other=pa.array([1]))).rejects
    assert not decode_table(table(ext=pa.array(['{"a":1}']))).rejects
    for name, column, reason in (
        ("ext", pa.array(["x" * 4097]), "too_large"),
        ("ext", pa.array([1]), "bad_type"),
        ("schema_version", pa.array(["access.v2"]), "unknown_schema"),
        ("schema_version", pa.array([1]), "bad_type"),
    ):
        assert [(r.reason, r.field) for r in decode_table(table(**{name: column})).rejects] == [(reason, name)]


def test_a_missing_column_refuses_every_row() -> None:
    rejects = decode_table(pa.RecordBatch.from_pydict({"event_id": ["1", "2"]})).rejects
    assert [(r.reason, r.field, r.position) for r in rejects] == [
        ("missing_field", "event_time", row) for row in (0, 1)
    ]


def test_a_column_that_stands_twice_refuses_every_row() -> None:
    batch = table()
    twice = pa.RecordBatch.from_arrays([*batch.columns, batch.columns[0]], names=[*batch.schema.names, "event_id"])
    assert [r.reason for r in decode_table(twice).rejects] == ["duplicate_key"]


def test_positions_are_row_numbers_and_tenants_are_named() -> None:
    decoded = decode_table(table(tenant=pa.array(["t", "u", None]), client_ip=pa.array([None, "?", "::/0"])))
    assert decoded.positions.tolist() == [0, 2]
    assert [(r.position, r.tenant) for r in decoded.rejects] == [(1, "u")]
    assert decoded.batch.column("tenant").to_pylist() == ["t", "default"]


def test_an_empty_table_is_no_event() -> None:
    assert decode_table(table().slice(0, 0)).batch.num_rows == 0
