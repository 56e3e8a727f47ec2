"""OpenRouter: Broadcast's webhook payload and trace attributes, after OpenRouter's documentation of both."""

from typing import Any

from hypothesis import given

from detector.formats import format_of
from tests.unit.formats.reading import WHEN_MS, bent, holds, read, row
from tests.unit.formats.test_otel import export, span

ATTRIBUTES: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openrouter",
    "gen_ai.request.model": "anthropic/claude-sonnet-4.5",
    "gen_ai.response.model": "anthropic/claude-4.5-sonnet",
    "gen_ai.response.id": "gen-1",
    "gen_ai.response.finish_reason": "stop",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 340,
    "gen_ai.usage.input_tokens.cached": 1024,
    "gen_ai.usage.output_tokens.reasoning": 100,
    "gen_ai.usage.total_cost": 0.013542,
    "gen_ai.request.temperature": 0.2,
    "gen_ai.prompt": '{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Why?"}]}',
    "gen_ai.completion": '{"completion":"Because."}',
    "session.id": "sess-1",
    "user.id": "user-9",
    "trace.metadata.openrouter.api_key_name": "agents-prod",
    "trace.metadata.openrouter.provider_name": "Anthropic",
    "trace.metadata.openrouter.entity_id": "org_2",
}
FULL = export(span(ATTRIBUTES), resource={"service.name": "openrouter"})


def test_a_full_trace_fills_every_field_it_has() -> None:
    assert row(FULL, form="openrouter") == {
        "event_id": "gen-1",
        "event_time": WHEN_MS,
        "account_id": "user-9",
        "org_id": "org_2",
        "api_key_id": "agents-prod",
        "end_user_id": "user-9",
        "conversation_id": "sess-1",
        "provider": "Anthropic",
        "operation": "chat",
        "request_model": "anthropic/claude-sonnet-4.5",
        "response_model": "anthropic/claude-4.5-sonnet",
        "finish_reason": "stop",
        "input_tokens": 1200,
        "output_tokens": 340,
        "reasoning_tokens": 100,
        "cached_input_tokens": 1024,
        "temperature": 0.2,
        "turn_index": 0,
        "latency_ms": 1500,
        "cost_usd": 0.013542,
    }
    assert read(FULL, form="openrouter").text == [{"system": "Be brief.", "prompt": "Why?", "output": "Because."}]


def test_privacy_mode_leaves_no_text() -> None:
    private = {k: v for k, v in ATTRIBUTES.items() if k not in {"gen_ai.prompt", "gen_ai.completion"}}
    assert read(export(span(private)), form="openrouter").text == []


def test_without_a_user_the_keys_owner_is_the_account() -> None:
    owned = {k: v for k, v in ATTRIBUTES.items() if k != "user.id"} | {
        "trace.metadata.openrouter.creator_user_id": "u7"
    }
    assert row(export(span(owned)), form="openrouter")["account_id"] == "u7"


def test_the_test_call_holds_no_call() -> None:
    assert read(export(resource={"service.name": "openrouter"}), form="openrouter").passed == 1


def test_it_is_told_from_other_exports_by_its_attributes() -> None:
    assert format_of(FULL) == "openrouter"
    assert format_of(export(span({"openrouter.provider_slug": "x"}))) == "openrouter"
    assert format_of(export(span({"gen_ai.request.model": "m"}))) == "otel"


@given(bent(FULL))
def test_nothing_in_a_trace_raises(record: object) -> None:
    holds(record, form="openrouter")
