"""Envoy AI Gateway: the JSON access log, after its documentation of access logs (default and example names)."""

from typing import Any

import pytest
from hypothesis import given

from tests.unit.formats.reading import WHEN_MS, bent, holds, read, row, without

FULL: dict[str, Any] = {
    "start_time": "2026-06-14T20:11:33.067Z",
    "method": "POST",
    "x-envoy-origin-path": "/v1/chat/completions",
    "response_code": 200,
    "duration": 1500,
    "bytes_received": 105,
    "bytes_sent": 432,
    "user-agent": "openai-python/1.40",
    "x-request-id": "83b63da3-45a9",
    "x-forwarded-for": "192.0.2.77, 203.0.113.9, 10.1.2.3",
    "downstream_remote_address": "10.1.2.3:64484",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.provider.name": "default/backend/route/rule/0/ref/0",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 34,
    "gen_ai.usage.reasoning_tokens": "5",
    "session.id": "sess-1",
    "tenant.id": "acct-1",
    "x-org-id": "org-1",
    "x-api-key-hash": "4f2a",
    "x-ja4": "t13d1516h2_8daaf6152771",
}


def test_a_full_line_fills_every_field_it_has() -> None:
    assert row(FULL, form="envoy") == {
        "event_id": "83b63da3-45a9",
        "event_time": WHEN_MS,
        "account_id": "acct-1",
        "org_id": "org-1",
        "api_key_id": "4f2a",
        "conversation_id": "sess-1",
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "operation": "chat",
        "input_tokens": 12,
        "output_tokens": 34,
        "reasoning_tokens": 5,
        "input_bytes": 105,
        "output_bytes": 432,
        "status_code": 200,
        "latency_ms": 1500,
        "client_ip": "203.0.113.9",
        "user_agent": "openai-python/1.40",
        "ja4": "t13d1516h2_8daaf6152771",
    }


def test_the_backends_path_is_no_provider() -> None:
    assert "provider" not in row(FULL, form="envoy")


def test_the_names_of_the_documented_example_will_do() -> None:
    few = {"start_time": "2026-06-14T20:11:34.567Z", "response_code": 200, "genai_model_name": "m"}
    few |= {"x-request-id": "r", "tenant.id": "t", "genai_tokens_input": 1, "genai_tokens_output": None}
    found = row(few, form="envoy")
    assert (found["request_model"], found["input_tokens"], found["event_time"]) == ("m", 1, WHEN_MS)
    assert "output_tokens" not in found


def test_what_is_unset_is_a_dash_and_absent() -> None:
    found = row(FULL | {"gen_ai.usage.input_tokens": "-", "session.id": "-", "user-agent": None}, form="envoy")
    assert not {"input_tokens", "conversation_id", "user_agent"} & found.keys()


def test_no_account_is_logged_by_default() -> None:
    assert read(without(FULL, "tenant.id"), form="envoy").rejects == [("missing_field", "account_id")]


@pytest.mark.parametrize("model", [None, "-", ""])
def test_requests_of_no_model_are_passed_over(model: str | None) -> None:
    assert read(FULL | {"gen_ai.request.model": model}, form="envoy").passed == 1


def test_a_time_that_is_none_is_a_reject() -> None:
    assert read(FULL | {"start_time": "yesterday"}, form="envoy").rejects == [("bad_time", "event_time")]


def test_a_made_up_address_hides_no_request() -> None:
    assert row(FULL | {"x-forwarded-for": "unknown"}, form="envoy")["client_ip"] == "10.1.2.3"


@given(bent(FULL))
def test_nothing_in_a_line_raises(record: object) -> None:
    holds(record, form="envoy")
