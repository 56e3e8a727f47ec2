"""What holds for every format: the registry, detection, hostile lines, and that the page about them is true."""

import importlib
import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.cli.common import Format as Choice
from detector.decode import decode_text
from detector.events import RECORD_BYTES_MAX
from detector.formats import BATCH_BYTES_MAX, FORMATS, batches, convert, format_of, look
from detector.formats.layout import always, layout
from detector.runtime.sources import Block, decode_block
from detector.runtime.validate import FROM_TEXT, never_carried
from tests.conftest import ROOT
from tests.unit.formats.reading import JSON, WHEN, holds, line, read

OURS = {"event_id": "e", "event_time": WHEN, "account_id": "a", "request_model": "m"}
each = pytest.mark.parametrize("name", sorted(FORMATS))


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"tests.unit.formats.test_{name}")


def full(name: str) -> Any:
    module = module_of(name)
    return module.API if name == "cloudflare" else module.FULL


def test_a_format_is_one_file_one_test_and_one_choice() -> None:
    folder = ROOT / "detector" / "formats"
    shared = {"__init__", "layout", "values", "bodies"}
    assert {p.stem for p in folder.glob("*.py")} - shared == set(FORMATS)
    assert {c.value for c in Choice} == {"auto", "canonical", *FORMATS}
    for name in FORMATS:
        assert module_of(name).__doc__


@each
def test_a_record_is_told_from_those_of_other_formats(name: str) -> None:
    assert format_of(full(name)) == name
    others = {other for other, form in FORMATS.items() if form.looks(full(name))} - {name}
    assert others <= {"otel"} if name == "openrouter" else not others


def test_our_own_events_are_told_too() -> None:
    assert format_of(OURS) == "canonical"
    assert format_of({"schema_version": "access.v2"}) == "canonical"
    assert look([b'{"event_id": "e"}']).formats == {"canonical": 1}
    assert look([b'{"event_id": "e"}', line(full("kong"))]).formats == {"kong": 1}
    assert look([b'{"some": 1, "keys": 2}', b"[]", b"damaged"]) == ({}, ("some", "keys"))


@each
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"damaged", "not_json"),
        (b'{"a": 1', "not_json"),
        (b'{"a": "\xff"}', "bad_encoding"),
        (rb'{"a": "\ud800"}', "bad_encoding"),
        (b'{"a": NaN}', "not_json"),
        (b"7", "not_object"),
        (b'"text"', "not_object"),
        (b"{}", "unknown_schema"),
        (b"[]", "unknown_schema"),
        (b"[" * 5000, "too_deep"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "too_deep"),
        (line(OURS), "unknown_schema"),
    ],
)
def test_what_is_no_record_of_the_format_is_a_reject(name: str, raw: bytes, reason: str) -> None:
    found = read(raw, full(name), form=name)
    assert found.rejects == [(reason, None)]
    assert len(found.rows) == 1


@each
def test_a_line_that_is_too_long_is_a_reject(name: str) -> None:
    size = BATCH_BYTES_MAX if FORMATS[name].batched else RECORD_BYTES_MAX
    assert read(b'{"a": "' + b"x" * size + b'"}', form=name).rejects == [("too_large", None)]


def test_an_event_whose_text_is_too_long_is_a_reject_in_a_line_that_is_not() -> None:
    module = module_of("otel")
    span = module.span({"gen_ai.request.model": "m", "user.id": "u", "gen_ai.prompt": "x " * RECORD_BYTES_MAX})
    assert read(module.export(span), form="otel").rejects == [("too_large", None)]


@each
def test_rows_and_rejects_keep_the_numbers_of_their_lines(name: str) -> None:
    good = line(full(name))
    block = Block("log", 100, b"\n".join((b"", b"damaged", good, b"{}", good)), None, form=name)
    decoded = decode_block(block)
    assert decoded.positions.tolist() == [102, 104]
    assert [(r.reason, r.position) for r in decoded.rejects] == [("not_json", 101), ("unknown_schema", 103)]


def test_a_fault_found_by_the_decoder_keeps_the_number_of_its_line() -> None:
    batch = line([full("kong"), full("kong") | {"client_ip": "203.0.113.9", "started_at": 1}])
    decoded = decode_block(Block("log", 7, b"\n" + batch, None, form="kong"))
    assert [(r.reason, r.position, r.field, r.byte) for r in decoded.rejects] == [("bad_time", 8, "event_time", None)]
    assert decoded.positions.tolist() == [8]


@each
def test_how_lines_are_cut_into_blocks_changes_nothing(name: str) -> None:
    lines = [line(full(name)), b"damaged", b"{}", line(full(name))]
    whole = decode_text(convert(b"\n".join(lines), form=FORMATS[name]).data).batch.to_pylist()
    apart = [row for one in lines for row in decode_text(convert(one, form=FORMATS[name]).data).batch.to_pylist()]
    assert whole == apart
    assert len(whole) == 2


@each
@given(record=st.dictionaries(st.text(max_size=6), JSON, max_size=4) | JSON)
def test_any_json_gives_valid_events_or_rejects(name: str, record: Any) -> None:
    holds(record, form=name)


def test_over_long_words_of_the_client_hide_no_request() -> None:
    long = full("portkey") | {"trace_id": "t" * 5000, "ai_model": "\U0001f600" * 300}
    (row,) = read(long, form="portkey").rows
    assert row["conversation_id"].startswith("sha256:")
    assert row["request_model"].startswith("sha256:")
    owner = {**full("portkey"), "metadata": {"_user": "u" * 300}}
    assert read(owner, form="portkey").rejects == [("identifier_too_long", "account_id")]


@pytest.mark.parametrize(
    ("head", "long"),
    [(b'{"resourceSpans":[', True), (b' {"records": [', True), (b"[{", True), (b'{"event_id":', False), (b"", False)],
)
def test_only_what_batches_may_have_long_lines(head: bytes, long: bool) -> None:
    assert batches(head) is long


def test_a_table_names_fields_of_ours_only() -> None:
    with pytest.raises(KeyError, match="'colour' is no field"):
        layout("x", "X", looks=bool, calls=iter, table={"colour": always("red")}, join="")


def test_the_page_says_what_each_format_never_carries() -> None:
    said = (ROOT / "detector/formats/README.md").read_text()
    table = [line.split("|")[1:-1] for line in said.splitlines() if line.count("|") == 5]
    rows = {cells[0].strip(" `"): set(re.findall(r"`(\w+)`", cells[2])) for cells in table}
    # What matters most, where it is not the same in all formats; `validate` lists everything.
    matters = {"account_id", "input_tokens", "output_tokens", "client_ip", "user_agent", "ja4", "template_fp"}
    for name, form in FORMATS.items():
        assert rows[name] == matters & set(never_carried(form)), name


def test_text_fills_what_a_table_does_not() -> None:
    assert "template_fp" not in never_carried(FORMATS["kong"])
    assert "system_prompt_fp" in never_carried(FORMATS["sglang"])
    assert set(FROM_TEXT["prompt"]) - {"fp_key_id"} <= set(never_carried(FORMATS["azure"]))
    assert {"payment_fp", "account_created_at"} <= set.intersection(*(set(never_carried(f)) for f in FORMATS.values()))
