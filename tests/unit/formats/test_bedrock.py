"""Bedrock: ModelInvocationLog, after AWS' documentation of invocation logging, Converse and InvokeModel."""

from typing import Any

import pytest
from hypothesis import given

from tests.unit.formats.reading import WHEN, WHEN_MS, bent, changed, holds, read, row, without

FULL: dict[str, Any] = {
    "schemaType": "ModelInvocationLog",
    "schemaVersion": "1.0",
    "timestamp": WHEN,
    "accountId": "123456789012",
    "identity": {"arn": "arn:aws:sts::123456789012:assumed-role/app/session"},
    "region": "us-east-1",
    "requestId": "915a6a04-3f83",
    "operation": "Converse",
    "modelId": "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0",
    "input": {
        "inputContentType": "application/json",
        "inputBodyJson": {
            "system": [{"text": "Be brief."}],
            "messages": [{"role": "user", "content": [{"text": "Why?"}]}],
            "inferenceConfig": {"maxTokens": 256, "temperature": 0.7, "topP": 0.9},
        },
        "inputTokenCount": 12,
        "cacheReadInputTokenCount": 8,
    },
    "output": {
        "outputContentType": "application/json",
        "outputBodyJson": {
            "output": {"message": {"role": "assistant", "content": [{"text": "Because."}]}},
            "stopReason": "end_turn",
            "metrics": {"latencyMs": 1500},
            "usage": {"inputTokens": 12, "outputTokens": 34},
        },
        "outputTokenCount": 34,
    },
}


def test_a_full_log_fills_every_field_it_has() -> None:
    assert row(FULL, form="bedrock") == {
        "event_id": "915a6a04-3f83",
        "event_time": WHEN_MS,
        "account_id": "arn:aws:sts::123456789012:assumed-role/app/session",
        "org_id": "123456789012",
        "turn_index": 0,
        "provider": "anthropic",
        "request_model": "us.anthropic.claude-3-haiku-20240307-v1:0",
        "operation": "chat",
        "input_tokens": 12,
        "output_tokens": 34,
        "cached_input_tokens": 8,
        "max_tokens": 256,
        "temperature": 0.7,
        "top_p": 0.9,
        "stream": False,
        "finish_reason": "end_turn",
        "latency_ms": 1500,
    }
    assert read(FULL, form="bedrock").text == [{"system": "Be brief.", "prompt": "Why?", "output": "Because."}]


@pytest.mark.parametrize(
    ("operation", "deltas"),
    [
        (
            "InvokeModelWithResponseStream",
            [
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Be"}},
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "cause."}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
            ],
        ),
        (
            "ConverseStream",
            [
                {"contentBlockDelta": {"delta": {"text": "Be"}}},
                {"contentBlockDelta": {"delta": {"text": "cause."}}},
                {"messageStop": {"stopReason": "end_turn"}},
            ],
        ),
    ],
)
def test_streamed_deltas_are_put_together(operation: str, deltas: list[Any]) -> None:
    streamed = changed(FULL, ("output", "outputBodyJson"), deltas) | {"operation": operation}
    found = read(streamed, form="bedrock")
    assert found.text[0]["output"] == "Because."
    assert (found.rows[0]["stream"], found.rows[0]["finish_reason"]) == (True, "end_turn")


def test_bodies_in_s3_leave_no_text() -> None:
    large = changed(FULL, ("input",), {"inputBodyS3Path": "s3://bucket/key", "inputTokenCount": 12})
    assert read(large, form="bedrock").text == [{"output": "Because."}]


@pytest.mark.parametrize(
    ("model", "provider"),
    [("anthropic.claude-v2", "anthropic"), ("eu.amazon.nova-pro-v1:0", "amazon"), ("custom", None), (None, None)],
)
def test_the_provider_begins_the_models_id(model: str | None, provider: str | None) -> None:
    found = read(FULL | {"modelId": model, "stillwatch": {"request_model": "m"}}, form="bedrock")
    assert found.rows[0].get("provider") == provider


def test_a_failed_call_has_its_error_and_no_usage() -> None:
    failed = without(FULL, "output") | {"errorCode": "ThrottlingException"}
    found = row(failed, form="bedrock")
    assert found["error_type"] == "ThrottlingException"
    assert "output_tokens" not in found


@given(bent(FULL))
def test_nothing_in_a_log_raises(record: object) -> None:
    holds(record, form="bedrock")
