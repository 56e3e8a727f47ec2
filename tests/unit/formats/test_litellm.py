"""LiteLLM: StandardLoggingPayload and StandardLoggingMetadata, after its logging specification."""

from typing import Any

from hypothesis import given

from tests.unit.formats.reading import SECRET, WHEN_MS, bent, changed, holds, read, row

FULL: dict[str, Any] = {
    "id": "chatcmpl-1",
    "trace_id": "trace-1",
    "call_type": "acompletion",
    "stream": True,
    "response_cost": 0.00042,
    "status": "success",
    "custom_llm_provider": "openai",
    "total_tokens": 46,
    "prompt_tokens": 12,
    "completion_tokens": 34,
    "startTime": (WHEN_MS - 1500) / 1000,
    "endTime": WHEN_MS / 1000,
    "completionStartTime": (WHEN_MS - 1250) / 1000,
    "response_time": 1.5,
    "model": "gpt-4o-2024-08-06",
    "model_group": "gpt-4o",
    "api_base": "https://api.example",
    "metadata": {
        "user_api_key_hash": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05",
        "user_api_key_alias": "prod",
        "user_api_key_org_id": "org-1",
        "user_api_key_team_id": "team-1",
        "user_api_key_user_id": "user-1",
        "requester_ip_address": "203.0.113.9",
        "usage_object": {
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
        "requester_custom_headers": {"authorization": SECRET},
    },
    "session_id": "sess-1",
    "end_user": "end-1",
    "request_tags": ["User-Agent: OpenAI", "User-Agent: OpenAI/Python 1.40", "team:x"],
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
    "response": {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Because."}}]},
    "error_str": None,
    "error_information": {"error_code": "", "error_class": "", "llm_provider": ""},
    "model_parameters": {
        "stream": True,
        "max_tokens": 256,
        "temperature": 0.7,
        "logprobs": True,
        "top_logprobs": 5,
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function"}],
    },
    "hidden_params": {"api_base": "https://api.example", "additional_headers": {"x-api-key": SECRET}},
}


def test_a_full_payload_fills_every_field_it_has() -> None:
    assert row(FULL, form="litellm") == {
        "event_id": "chatcmpl-1",
        "event_time": WHEN_MS,
        "account_id": "user-1",
        "org_id": "org-1",
        "project_id": "team-1",
        "api_key_id": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05",
        "end_user_id": "end-1",
        "conversation_id": "sess-1",
        "turn_index": 0,
        "provider": "openai",
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "operation": "chat",
        "input_tokens": 12,
        "output_tokens": 34,
        "reasoning_tokens": 5,
        "cached_input_tokens": 8,
        "stream": True,
        "max_tokens": 256,
        "temperature": 0.7,
        "logprobs_requested": True,
        "top_logprobs": 5,
        "structured_output": True,
        "tool_count": 1,
        "status_code": 200,
        "finish_reason": "stop",
        "latency_ms": 1500,
        "ttft_ms": 250,
        "cost_usd": 0.00042,
        "client_ip": "203.0.113.9",
        "user_agent": "OpenAI/Python 1.40",
    }
    assert read(FULL, form="litellm").text == [{"system": "Be brief.", "prompt": "Why?", "output": "Because."}]


def test_a_failed_call_has_its_error() -> None:
    failed = FULL | {"status": "failure", "response": None, "prompt_tokens": 0, "completion_tokens": 0}
    failed["error_information"] = {"error_code": "429", "error_class": "RateLimitError", "llm_provider": "openai"}
    found = row(failed, form="litellm")
    assert (found["status_code"], found["error_type"]) == (429, "RateLimitError")


def test_a_key_without_a_user_is_the_account() -> None:
    keyed = changed(FULL, ("metadata", "user_api_key_user_id"), None)
    assert row(keyed, form="litellm")["account_id"] == FULL["metadata"]["user_api_key_hash"]


def test_a_raw_key_never_leaves_the_record() -> None:
    raw = changed(FULL, ("metadata", "user_api_key_hash"), SECRET)
    assert "api_key_id" not in row(raw, form="litellm")
    alone = changed(raw, ("metadata", "user_api_key_user_id"), None)
    assert read(alone, form="litellm").rejects == [("missing_field", "account_id")]


def test_redacted_text_is_no_text() -> None:
    said = [{"role": "user", "content": "redacted-by-litellm"}]
    private = FULL | {"messages": said, "response": {"text": "redacted-by-litellm"}}
    assert read(private, form="litellm").text == []


def test_a_callback_may_add_our_own_fields() -> None:
    noted = FULL | {"stillwatch": {"payment_fp": "pay-1", "account_tier": "free", "unknown": 1, "country": None}}
    found = row(noted, form="litellm")
    assert (found["payment_fp"], found["account_tier"]) == ("pay-1", "free")
    wrong = FULL | {"stillwatch": {"asn": "many"}}
    assert read(wrong, form="litellm").rejects == [("bad_type", "asn")]


def test_a_wrong_type_is_a_reject_unless_the_client_wrote_it() -> None:
    assert read(FULL | {"prompt_tokens": {}}, form="litellm").rejects == [("bad_type", "input_tokens")]
    assert read(FULL | {"endTime": "soon"}, form="litellm").rejects == [("bad_time", "event_time")]
    assert "temperature" not in row(changed(FULL, ("model_parameters", "temperature"), "hot"), form="litellm")


@given(bent(FULL))
def test_nothing_in_a_payload_raises(record: object) -> None:
    holds(record, form="litellm")
