"""OCSF: API Activity (6003) with `ai_model` and `message_context`, after the schema's classes, objects and profile."""

from typing import Any

import pytest
from hypothesis import given

from tests.unit.formats.reading import SECRET, WHEN_MS, bent, changed, holds, read, row, without

FULL: dict[str, Any] = {
    "activity_id": 1,
    "category_uid": 6,
    "class_uid": 6003,
    "type_uid": 600301,
    "severity_id": 1,
    "time": WHEN_MS,
    "duration": 1500,
    "status_code": "200",
    "metadata": {"uid": "ev-1", "version": "1.8.0", "product": {"name": "gateway", "vendor_name": "acme"}},
    "actor": {"user": {"uid": "user-1", "name": "Ada", "org": {"uid": "org-1"}}},
    "api": {"operation": "ChatCompletions", "token": {"uid": "key-1", "value": SECRET}, "service": {"name": "llm"}},
    "cloud": {"account": {"uid": "acc-1"}, "provider": "AWS"},
    "ai_model": {"name": "gpt-4o", "ai_provider": "openai", "version": "2024-08-06"},
    "message_context": {"uid": "conv-1", "ai_role_id": 2, "prompt_tokens": 12, "completion_tokens": 34},
    "src_endpoint": {"ip": "203.0.113.9", "location": {"country": "DE"}, "autonomous_system": {"number": 64500}},
    "http_request": {"user_agent": "openai-python/1.40", "http_headers": [{"name": "Authorization", "value": SECRET}]},
    "ja4_fingerprint_list": [{"type_id": 2, "value": "t13h"}, {"type_id": 1, "value": "t13d1516h2_8daaf6152771"}],
    "prompt_text": "Why?",
    "response_text": "Because.",
}


def test_a_full_event_fills_every_field_it_has() -> None:
    assert row(FULL, form="ocsf") == {
        "event_id": "ev-1",
        "event_time": WHEN_MS,
        "account_id": "user-1",
        "org_id": "org-1",
        "api_key_id": "key-1",
        "conversation_id": "conv-1",
        "provider": "openai",
        "operation": "chat",
        "request_model": "gpt-4o",
        "input_tokens": 12,
        "output_tokens": 34,
        "status_code": 200,
        "latency_ms": 1500,
        "client_ip": "203.0.113.9",
        "country": "DE",
        "asn": 64500,
        "user_agent": "openai-python/1.40",
        "ja4": "t13d1516h2_8daaf6152771",
    }
    assert read(FULL, form="ocsf").text == [{"prompt": "Why?", "output": "Because."}]


def test_a_minimal_event_will_do() -> None:
    few = {k: FULL[k] for k in ("class_uid", "category_uid", "metadata", "time", "actor", "ai_model")}
    assert row(few, form="ocsf")["account_id"] == "user-1"


def test_a_status_that_is_a_word_is_the_errors_type() -> None:
    found = row(FULL | {"status_code": "ThrottlingException"}, form="ocsf")
    assert found["error_type"] == "ThrottlingException"
    assert "status_code" not in found


@pytest.mark.parametrize("other", [FULL | {"class_uid": 4002}, without(without(FULL, "ai_model"), "message_context")])
def test_other_classes_and_calls_of_no_model_are_passed_over(other: dict[str, Any]) -> None:
    assert read(other, form="ocsf") == ([], [], [], 1)


def test_a_wrong_type_is_a_reject_that_names_the_field() -> None:
    wrong = changed(FULL, ("message_context", "prompt_tokens"), [12])
    assert read(wrong, form="ocsf").rejects == [("bad_type", "input_tokens")]


@given(bent(FULL))
def test_nothing_in_an_event_raises(record: object) -> None:
    holds(record, form="ocsf")
