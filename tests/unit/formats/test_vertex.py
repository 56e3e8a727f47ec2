"""Vertex AI: rows of the request-response log, after Google's documentation of it and of generateContent."""

from typing import Any

import orjson
from hypothesis import given

from tests.unit.formats.reading import WHEN_MS, bent, holds, read, row, without

FULL: dict[str, Any] = {
    "endpoint": "projects/proj-1/locations/us-central1/publishers/google/models/gemini-2.5-pro",
    "deployed_model_id": "default",
    "logging_time": "2026-06-14 20:11:34.567000 UTC",
    "request_id": 5374205265901353984,
    "model": "publishers/google/models/gemini-2.5-pro",
    "model_version": "default",
    "api_method": "StreamGenerateContent",
    "full_request": {
        "contents": [{"role": "user", "parts": [{"text": "Why?"}]}],
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "generation_config": {"max_output_tokens": 8192, "temperature": 0, "response_logprobs": True},
    },
    "full_response": {
        "candidates": [{"finish_reason": "STOP", "content": {"role": "model", "parts": [{"text": "Because."}]}}],
        "model_version": "gemini-2.5-pro",
        "usage_metadata": {
            "prompt_token_count": "12",
            "candidates_token_count": 34,
            "thoughts_token_count": 901,
            "cached_content_token_count": 8,
        },
    },
    "metadata": {"request_latency": 11225.994},
    "stillwatch": {"account_id": "acct-1", "client_ip": "203.0.113.9"},
}


def test_a_full_row_fills_every_field_it_has() -> None:
    assert row(FULL, form="vertex") == {
        "event_id": "5374205265901353984",
        "event_time": WHEN_MS,
        "account_id": "acct-1",
        "org_id": "proj-1",
        "project_id": "proj-1",
        "turn_index": 0,
        "provider": "gcp",
        "request_model": "gemini-2.5-pro",
        "response_model": "gemini-2.5-pro",
        "operation": "generate_content",
        "input_tokens": 12,
        "output_tokens": 34,
        "reasoning_tokens": 901,
        "cached_input_tokens": 8,
        "max_tokens": 8192,
        "temperature": 0.0,
        "logprobs_requested": True,
        "stream": True,
        "finish_reason": "STOP",
        "latency_ms": 11226,
        "client_ip": "203.0.113.9",
    }
    assert read(FULL, form="vertex").text == [{"system": "Be brief.", "prompt": "Why?", "output": "Because."}]


def test_without_a_join_there_is_no_account() -> None:
    assert read(without(FULL, "stillwatch"), form="vertex").rejects == [("missing_field", "account_id")]


def test_bodies_may_be_json_text_in_camel_case_and_in_parts() -> None:
    parts = [
        {"candidates": [{"content": {"parts": [{"text": "Be"}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "cause."}]}, "finishReason": "STOP"}]}
        | {"usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 34}},
    ]
    asked = {"contents": FULL["full_request"]["contents"], "generationConfig": {"topP": 0.5}}
    as_text = FULL | {
        "full_request": orjson.dumps(asked).decode(),
        "full_response": orjson.dumps(parts).decode(),
    }
    found = read(as_text, form="vertex")
    assert found.text == [{"prompt": "Why?", "output": "Because."}]
    assert {"input_tokens": 12, "output_tokens": 34, "top_p": 0.5, "finish_reason": "STOP"}.items() <= (
        found.rows[0].items()
    )


def test_partners_models_have_their_own_bodies() -> None:
    partner = FULL | {
        "model": "publishers/anthropic/models/claude-sonnet-4",
        "api_method": "rawPredict",
        "full_request": {"max_tokens": 256, "messages": [{"role": "user", "content": "Why?"}]},
        "full_response": {
            "content": [{"type": "text", "text": "Because."}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 12, "output_tokens": 34},
        },
    }
    found = read(partner, form="vertex")
    assert found.text == [{"prompt": "Why?", "output": "Because."}]
    assert {"input_tokens": 12, "output_tokens": 34, "max_tokens": 256, "stream": False}.items() <= (
        found.rows[0].items()
    )


@given(bent(FULL))
def test_nothing_in_a_row_raises(record: object) -> None:
    holds(record, form="vertex")
