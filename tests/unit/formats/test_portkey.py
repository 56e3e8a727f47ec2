"""Portkey: exported logs, after its documentation of the logs export."""

from typing import Any

import pytest
from hypothesis import given

from tests.unit.formats.reading import SECRET, WHEN, WHEN_MS, bent, holds, read, row, without

FULL: dict[str, Any] = {
    "id": "log-1",
    "created_at": WHEN,
    "request": {
        "body": {
            "model": "gpt-4o",
            "temperature": 0.7,
            "user": "end-1",
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": "Why?"},
            ],
        },
        "headers": {"authorization": SECRET},
    },
    "response": {
        "body": {
            "model": "gpt-4o-2024-08-06",
            "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Because."}}],
            "usage": {"prompt_tokens_details": {"cached_tokens": 8}},
        }
    },
    "is_success": 1,
    "ai_org": "openai",
    "ai_model": "gpt-4o",
    "req_units": 12,
    "res_units": 34,
    "total_units": 46,
    "cost": 0.042,
    "cost_currency": "USD",
    "request_url": "https://api.example/v1/chat/completions",
    "response_status_code": 200,
    "response_time": 1500,
    "cache_status": "MISS",
    "stream_mode": "FALSE",
    "trace_id": "trace-1",
    "virtual_key": "openai-prod",
    "runtime": "node",
    "sdk_version": "1.8.2",
    "workspace_slug": "ws-1",
    "metadata": {"_user": "acct-1", "env": "prod"},
}


def test_a_full_log_fills_every_field_it_has() -> None:
    assert row(FULL, form="portkey") == {
        "event_id": "log-1",
        "event_time": WHEN_MS,
        "account_id": "acct-1",
        "org_id": "ws-1",
        "api_key_id": "openai-prod",
        "end_user_id": "end-1",
        "conversation_id": "trace-1",
        "turn_index": 1,
        "provider": "openai",
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "operation": "chat",
        "input_tokens": 12,
        "output_tokens": 34,
        "cached_input_tokens": 8,
        "temperature": 0.7,
        "stream": False,
        "status_code": 200,
        "finish_reason": "stop",
        "latency_ms": 1500,
        "cost_usd": 0.00042,
        "sdk_name": "node",
        "sdk_version": "1.8.2",
    }
    assert read(FULL, form="portkey").text == [{"prompt": "Why?", "output": "Because."}]


@pytest.mark.parametrize(
    "columns",
    [
        {"metadata": {"key": ["env", "_user"], "value": ["prod", "acct-1"]}},
        {"metadata.key": ["_user"], "metadata.value": ["acct-1"]},
        {"metadata": '{"_user": "acct-1"}'},
    ],
)
def test_metadata_comes_in_several_shapes(columns: dict[str, Any]) -> None:
    assert row(without(FULL, "metadata") | columns, form="portkey")["account_id"] == "acct-1"


def test_bodies_may_be_columns_with_dotted_names() -> None:
    flat = without(without(FULL, "request"), "response") | {"request.body": '{"prompt": "Why?"}', "response.body": None}
    assert read(flat, form="portkey").text == [{"prompt": "Why?"}]


def test_without_an_id_the_trace_is_the_event() -> None:
    assert row(without(FULL, "id"), form="portkey")["event_id"] == "trace-1"


def test_without_a_user_there_is_no_account() -> None:
    assert read(without(FULL, "metadata"), form="portkey").rejects == [("missing_field", "account_id")]


@given(bent(FULL))
def test_nothing_in_a_log_raises(record: object) -> None:
    holds(record, form="portkey")
