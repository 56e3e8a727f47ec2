"""OpenTelemetry: OTLP's JSON encoding, and the conventions' attributes of inference spans and events.

Shapes after the OTLP specification (JSON protobuf encoding), the semantic conventions for generative AI (spans,
events, registry) and the collector's file exporter.
"""

from typing import Any

import pytest
from hypothesis import given

from tests.unit.formats.reading import WHEN_MS, bent, changed, holds, read, row

ASKED = [{"role": "user", "parts": [{"type": "text", "content": "Why is the sky blue?"}]}]
SAID = [{"role": "assistant", "parts": [{"type": "text", "content": "Rayleigh."}], "finish_reason": "stop"}]


def any_value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(v) for v in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


ATTRIBUTES: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.response.time_to_first_chunk": 0.25,
    "gen_ai.conversation.id": "conv-1",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 34,
    "gen_ai.usage.reasoning.output_tokens": 5,
    "gen_ai.usage.cache_read.input_tokens": 8,
    "gen_ai.request.max_tokens": 256,
    "gen_ai.request.temperature": 0.7,
    "gen_ai.request.top_p": 1.0,
    "gen_ai.request.seed": 7,
    "gen_ai.request.choice.count": 1,
    "gen_ai.request.stream": True,
    "gen_ai.output.type": "text",
    "gen_ai.input.messages": ASKED,
    "gen_ai.output.messages": SAID,
    "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
    "user.id": "user-1",
    "enduser.pseudo.id": "end-1",
    "client.address": "203.0.113.9",
    "user_agent.original": "openai-python/1.40",
}


def span(attributes: dict[str, Any], **more: object) -> dict[str, Any]:
    return {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": str((WHEN_MS - 1500) * 1_000_000),
        "endTimeUnixNano": str(WHEN_MS * 1_000_000),
        "attributes": pairs(attributes),
        "status": {},
        **more,
    }


def export(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    scopes = [{"scope": {"name": "app"}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": {"attributes": pairs(resource or {})}, "scopeSpans": scopes}]}


FULL = export(span(ATTRIBUTES), resource={"service.name": "gateway", "tenant.id": "org-1"})


def test_a_full_span_fills_every_field_it_has() -> None:
    assert row(FULL, form="otel") == {
        "event_id": "chatcmpl-1",
        "event_time": WHEN_MS,
        "account_id": "user-1",
        "org_id": "org-1",
        "end_user_id": "end-1",
        "conversation_id": "conv-1",
        "provider": "openai",
        "operation": "chat",
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "input_tokens": 12,
        "output_tokens": 34,
        "reasoning_tokens": 5,
        "cached_input_tokens": 8,
        "max_tokens": 256,
        "temperature": 0.7,
        "top_p": 1.0,
        "n": 1,
        "seed": 7,
        "stream": True,
        "structured_output": False,
        "turn_index": 0,
        "finish_reason": "stop",
        "latency_ms": 1500,
        "ttft_ms": 250,
        "client_ip": "203.0.113.9",
        "user_agent": "openai-python/1.40",
    }
    assert read(FULL, form="otel").text == [
        {"system": "Be brief.", "prompt": "Why is the sky blue?", "output": "Rayleigh."}
    ]


def test_a_minimal_span_with_older_names_will_do() -> None:
    older = {
        "gen_ai.system": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.usage.prompt_tokens": 1,
        "gen_ai.usage.completion_tokens": 2,
    }
    found = row(export(span(older | {"tenant.id": "t"})), form="otel")
    assert (found["event_id"], found["account_id"], found["provider"]) == ("eee19b7ec3c1b174", "t", "openai")
    assert (found["input_tokens"], found["output_tokens"]) == (1, 2)


def test_missing_usage_is_null_and_a_missing_account_a_reject() -> None:
    some = {"gen_ai.request.model": "m", "user.id": "u"}
    assert not {"input_tokens", "output_tokens"} & row(export(span(some)), form="otel").keys()
    assert read(export(span({"gen_ai.request.model": "m"})), form="otel").rejects == [("missing_field", "account_id")]


def test_one_line_holds_many_calls_and_what_is_no_inference_is_passed_over() -> None:
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.request.model": "m", "user.id": "u"}
    calls = [span(ATTRIBUTES | {"gen_ai.response.id": f"r{n}"}) for n in range(3)]
    assert len(read(export(*calls, span(tool), span({"http.route": "/"})), form="otel").rows) == 3
    assert read(export(span(tool)), {"resourceLogs": []}, form="otel").passed == 2


def test_a_log_record_of_the_same_call_has_the_same_event_id() -> None:
    record = {"timeUnixNano": str(WHEN_MS * 1_000_000), "attributes": pairs(ATTRIBUTES)}
    logs = {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": [record]}]}]}
    found = row(logs, form="otel")
    assert (found["event_id"], found["event_time"]) == ("chatcmpl-1", WHEN_MS)
    assert "latency_ms" not in found


def test_fingerprints_in_place_of_text_are_taken_as_they_are() -> None:
    hashed = ATTRIBUTES | {"gen_ai.input.messages": "hmac-sha256:09af", "gen_ai.system_instructions": "hmac-sha256:77"}
    found = read(export(span(hashed)), form="otel")
    assert (found.rows[0]["prompt_fp"], found.rows[0]["system_prompt_fp"]) == ("hmac-sha256:09af", "hmac-sha256:77")
    assert found.text == [{"output": "Rayleigh."}]


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "Why is the sky blue?"}]}]'},
        {"gen_ai.prompt": '{"messages": [{"role": "user", "content": "Why is the sky blue?"}]}'},
        {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Why is the sky blue?"},
    ],
)
def test_messages_stand_as_text_or_under_numbers_too(attributes: dict[str, Any]) -> None:
    some = {"gen_ai.request.model": "m", "user.id": "u"}
    assert read(export(span(some | attributes)), form="otel").text == [{"prompt": "Why is the sky blue?"}]


def test_attributes_may_carry_our_own_fields() -> None:
    noted = {"stillwatch.account_id": "acct", "stillwatch.payment_fp": "pay", "stillwatch.turn_index": 3}
    found = row(export(span(ATTRIBUTES | noted)), form="otel")
    assert (found["account_id"], found["payment_fp"], found["turn_index"]) == ("acct", "pay", 3)


def test_a_wrong_type_is_a_reject_that_names_the_field() -> None:
    wrong = export(span(ATTRIBUTES | {"gen_ai.usage.input_tokens": "many"}))
    assert read(wrong, form="otel").rejects == [("bad_type", "input_tokens")]
    late = changed(FULL, ("resourceSpans", 0, "scopeSpans", 0, "spans", 0, "endTimeUnixNano"), "soon")
    assert read(late, form="otel").rejects == [("bad_time", "event_time")]


@given(bent(FULL))
def test_nothing_in_a_span_raises(record: object) -> None:
    holds(record, form="otel")
