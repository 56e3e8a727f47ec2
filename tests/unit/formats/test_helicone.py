"""Helicone: the queue's message and the export's rows, after the worker's message types and the request API."""

from typing import Any

from hypothesis import given

from tests.unit.formats.reading import SECRET, WHEN, WHEN_MS, bent, holds, read, row, without

FULL: dict[str, Any] = {
    "id": "msg-1",
    "authorization": f"Bearer {SECRET}",
    "heliconeMeta": {"omitRequestLog": False, "posthogApiKey": SECRET, "lytixKey": SECRET},
    "log": {
        "request": {
            "id": "req-1",
            "userId": "acct-1",
            "properties": {"Helicone-Session-Id": "sess-1", "end_user": "end-1"},
            "heliconeApiKeyId": 17,
            "targetUrl": "https://api.example/v1/chat/completions",
            "provider": "OPENAI",
            "bodySize": 139,
            "path": "/v1/chat/completions",
            "countryCode": "DE",
            "requestCreatedAt": "2026-06-14T20:11:33.067Z",
            "isStream": True,
            "body": '{"model": "gpt-4o", "temperature": 0.7, "messages": [{"role": "user", "content": "Why?"}]}',
        },
        "response": {
            "id": "res-1",
            "status": 200,
            "bodySize": 432,
            "timeToFirstToken": 250,
            "responseCreatedAt": WHEN,
            "delayMs": 1500,
        },
    },
    "usage": {"promptTokens": 12, "completionTokens": 34, "promptCacheReadTokens": 8, "thinking": 5, "cost": 0.00042},
}
ROW: dict[str, Any] = {
    "request_id": "req-1",
    "response_id": "res-1",
    "request_created_at": "2026-06-14 20:11:33.067",
    "response_created_at": "2026-06-14 20:11:34.567",
    "request_user_id": "acct-1",
    "request_model": "gpt-4o",
    "response_model": "gpt-4o-2024-08-06",
    "delay_ms": 1500,
    "prompt_tokens": 12,
    "completion_tokens": 34,
    "response_status": 200,
    "request_body": {"messages": [{"role": "user", "content": "Why?"}]},
    "response_body": {"choices": [{"message": {"content": "Because."}}]},
}


def test_a_full_message_fills_every_field_it_has() -> None:
    assert row(FULL, form="helicone") == {
        "event_id": "req-1",
        "event_time": WHEN_MS,
        "account_id": "acct-1",
        "api_key_id": "17",
        "end_user_id": "end-1",
        "conversation_id": "sess-1",
        "turn_index": 0,
        "provider": "OPENAI",
        "request_model": "gpt-4o",
        "operation": "chat",
        "input_tokens": 12,
        "output_tokens": 34,
        "reasoning_tokens": 5,
        "cached_input_tokens": 8,
        "input_bytes": 139,
        "output_bytes": 432,
        "temperature": 0.7,
        "stream": True,
        "status_code": 200,
        "latency_ms": 1500,
        "ttft_ms": 250,
        "cost_usd": 0.00042,
        "country": "DE",
    }
    assert read(FULL, form="helicone").text == [{"prompt": "Why?"}]


def test_a_row_of_the_export_will_do() -> None:
    found = row(ROW, form="helicone")
    assert (found["event_id"], found["event_time"], found["response_model"]) == ("req-1", WHEN_MS, "gpt-4o-2024-08-06")
    assert read(ROW, form="helicone").text == [{"prompt": "Why?", "output": "Because."}]


def test_the_queue_alone_has_no_tokens() -> None:
    assert not {"input_tokens", "output_tokens"} & row(without(FULL, "usage"), form="helicone").keys()


def test_without_a_user_there_is_no_account() -> None:
    assert read(without(FULL, "log", "request", "userId"), form="helicone").rejects == [("missing_field", "account_id")]


def test_a_join_may_stand_beside_the_log() -> None:
    noted = FULL | {"stillwatch": {"client_ip": "203.0.113.9"}}
    assert row(noted, form="helicone")["client_ip"] == "203.0.113.9"


@given(bent(FULL))
def test_nothing_in_a_message_raises(record: object) -> None:
    holds(record, form="helicone")


@given(bent(ROW))
def test_nothing_in_a_row_raises(record: object) -> None:
    holds(record, form="helicone")
