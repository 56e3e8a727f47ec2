"""Kong: log records with `ai.proxy`, after its AI audit log reference and its log plugins' format."""

from typing import Any

import orjson
from hypothesis import given

from tests.unit.formats.reading import SECRET, WHEN_MS, bent, changed, holds, read, row, without

ASKED = {
    "model": "gpt-4o",
    "temperature": 0.7,
    "max_completion_tokens": 256,
    "messages": [{"role": "user", "content": "Why?"}],
}
SAID = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Because."}}]}
FULL: dict[str, Any] = {
    "started_at": WHEN_MS - 1500,
    "latencies": {"request": 1500, "kong": 10, "proxy": 1490},
    "client_ip": "203.0.113.9",
    "workspace": "f381e34e",
    "consumer": {"id": "acct-1", "username": "ada"},
    "authenticated_entity": {"id": "cred-1"},
    "request": {
        "id": "2f6946328ffc4946",
        "uri": "/v1/chat/completions",
        "size": 139,
        "method": "POST",
        "headers": {"user-agent": "openai-python/1.40", "authorization": SECRET, "x-ja4": "t13d1516h2_8daaf6152771"},
    },
    "response": {"status": 200, "size": 9982, "headers": {}},
    "ai": {
        "proxy": {
            "meta": {
                "provider_name": "openai",
                "request_model": "gpt-4o",
                "response_model": "gpt-4o-2024-08-06",
                "request_mode": "stream",
            },
            "usage": {
                "prompt_tokens": 12,
                "completion_tokens": 34,
                "total_tokens": 46,
                "time_to_first_token": 250,
                "cost": 0.00042,
                "prompt_tokens_details": {"cached_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            "payload": {"request": orjson.dumps(ASKED).decode(), "response": orjson.dumps(SAID).decode()},
        }
    },
}


def test_a_full_record_fills_every_field_it_has() -> None:
    assert row(FULL, form="kong") == {
        "event_id": "2f6946328ffc4946",
        "event_time": WHEN_MS,
        "account_id": "acct-1",
        "org_id": "f381e34e",
        "api_key_id": "cred-1",
        "turn_index": 0,
        "provider": "openai",
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "operation": "chat",
        "input_tokens": 12,
        "output_tokens": 34,
        "reasoning_tokens": 5,
        "cached_input_tokens": 8,
        "input_bytes": 139,
        "output_bytes": 9982,
        "stream": True,
        "temperature": 0.7,
        "max_tokens": 256,
        "status_code": 200,
        "finish_reason": "stop",
        "latency_ms": 1500,
        "ttft_ms": 250,
        "cost_usd": 0.00042,
        "client_ip": "203.0.113.9",
        "user_agent": "openai-python/1.40",
        "ja4": "t13d1516h2_8daaf6152771",
    }
    assert read(FULL, form="kong").text == [{"prompt": "Why?", "output": "Because."}]


def test_a_batch_is_an_array_whose_items_stand_alone() -> None:
    other = changed(FULL, ("request", "id"), "second")
    found = read([FULL, other, 7, without(FULL, "consumer"), without(FULL, "ai")], form="kong")
    assert [r["event_id"] for r in found.rows] == ["2f6946328ffc4946", "second"]
    assert sorted(found.rejects) == [("missing_field", "account_id"), ("not_object", None)]


def test_requests_that_met_no_model_are_passed_over() -> None:
    assert read(without(FULL, "ai"), form="kong").passed == 1


def test_payloads_may_be_objects_or_missing() -> None:
    assert read(changed(FULL, ("ai", "proxy", "payload"), {"request": ASKED}), form="kong").text == [{"prompt": "Why?"}]
    assert read(without(FULL, "ai", "proxy", "payload"), form="kong").text == []


def test_damaged_payloads_are_no_text_of_a_conversation() -> None:
    assert (
        row(changed(FULL, ("ai", "proxy", "payload", "request"), '{"messages": ['), form="kong")["input_tokens"] == 12
    )


@given(bent(FULL))
def test_nothing_in_a_record_raises(record: object) -> None:
    holds(record, form="kong")
    holds([record, record], form="kong")
