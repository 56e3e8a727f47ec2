"""SGLang: lines of `--log-requests-format json`, after the server's request logger."""

from typing import Any

from hypothesis import given

from tests.unit.formats.reading import WHEN_MS, bent, holds, read, row, without

FULL: dict[str, Any] = {
    "timestamp": "2026-06-14T20:11:34.567000",
    "event": "request.finished",
    "rid": "a1b2c3",
    "headers": {"x-smg-routing-key": "k", "x-account-id": "acct-1"},
    "obj": {
        "rid": "a1b2c3",
        "text": "Why?",
        "model": "qwen",
        "sampling_params": {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "max_new_tokens": 256, "n": 1},
        "return_logprob": False,
        "stream": True,
    },
    "out": {
        "text": "Because.",
        "meta_info": {
            "id": "a1b2c3",
            "finish_reason": {"type": "stop", "matched": 151645},
            "prompt_tokens": 12,
            "completion_tokens": 34,
            "cached_tokens": 8,
            "e2e_latency": 1.5,
        },
    },
}


def test_a_full_line_fills_every_field_it_has() -> None:
    assert row(FULL, form="sglang") == {
        "event_id": "a1b2c3",
        "event_time": WHEN_MS,
        "account_id": "acct-1",
        "provider": "self",
        "request_model": "qwen",
        "operation": "text_completion",
        "input_tokens": 12,
        "output_tokens": 34,
        "cached_input_tokens": 8,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "max_tokens": 256,
        "n": 1,
        "logprobs_requested": False,
        "stream": True,
        "finish_reason": "stop",
        "latency_ms": 1500,
    }
    assert read(FULL, form="sglang").text == [{"prompt": "Why?", "output": "Because."}]


def test_level_1_has_no_text_and_a_server_one_model() -> None:
    level_1 = without(without(without(FULL, "obj", "text"), "out", "text"), "obj", "model")
    assert row(level_1, form="sglang")["request_model"] == "default"
    assert read(level_1, form="sglang").text == []


def test_other_lines_are_passed_over() -> None:
    begun = without(FULL | {"event": "request.received"}, "out")
    assert read(begun, form="sglang").passed == 1


def test_without_a_header_there_is_no_account() -> None:
    assert read(without(FULL, "headers"), form="sglang").rejects == [("missing_field", "account_id")]


@given(bent(FULL))
def test_nothing_in_a_line_raises(record: object) -> None:
    holds(record, form="sglang")
