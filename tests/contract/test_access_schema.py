"""`schemas/access.v1.json` and the decoder agree on what an access event is."""

import json
from typing import Any

import jsonschema_rs
import pytest

from detector.decode import REASONS, decode_lines
from detector.events import FIELDS
from detector.runtime.json_text import json_lines
from detector.vocabulary import RejectReason
from tests.conftest import ROOT

SCHEMA = json.loads((ROOT / "schemas" / "access.v1.json").read_text())
VALIDATOR = jsonschema_rs.validator_for(SCHEMA, validate_formats=True)
BENCH = json.loads((ROOT / "schemas" / "bench-event.json").read_text())


def test_the_bench_event_obeys_the_schema_and_is_as_large_as_said() -> None:
    assert VALIDATOR.is_valid(BENCH), list(VALIDATOR.iter_errors(BENCH))
    decoded = decode_lines([json.dumps(BENCH).encode()])
    assert not decoded.rejects
    row = decoded.batch.to_pylist()[0]
    assert {f.name for f in FIELDS if f.klass in "OPN"} <= {name for name, value in row.items() if value is not None}
    assert (len(BENCH["anchor_fps"]), len(BENCH["run_fps"])) == (8, 8)
    size = len(json.dumps(BENCH, separators=(",", ":")))
    assert 1_500 <= size <= 2_000


def test_what_we_write_obeys_the_schema() -> None:
    event = {**BENCH, "elicitation": {"cot": 0.5}, "prompt_style": 3, "topic_bucket": 4095, "output_run_fps": []}
    text = bytes(json_lines(decode_lines([json.dumps(event).encode()]).batch))
    written = json.loads(text)
    assert VALIDATOR.is_valid(written), list(VALIDATOR.iter_errors(written))
    assert written == event


def test_every_field_stands_in_the_schema() -> None:
    assert {f.name for f in FIELDS} | {"schema_version"} <= set(SCHEMA["properties"])


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": 1},
        {"event_id": None},
        {"event_id": "x" * 129},
        {"account_id": "x" * 257},
        {"event_time": True},
        {"event_time": "yesterday"},
        {"input_tokens": "1"},
        {"stream": "yes"},
        {"temperature": "hot"},
        {"anchor_fps": ["a"] * 9},
        {"anchor_fps": [1]},
        {"elicitation": 1},
        {"schema_version": "access.v2"},
    ],
)
def test_what_the_schema_refuses_the_decoder_refuses(change: dict[str, Any]) -> None:
    event = {**BENCH, **change}
    assert not VALIDATOR.is_valid(event)
    assert decode_lines([json.dumps(event).encode()]).rejects


def test_reasons_are_the_contract_s_words() -> None:
    words = {word for part in RejectReason.__args__ for word in getattr(part, "__args__", (part,))}
    assert set(REASONS) - {""} == words
