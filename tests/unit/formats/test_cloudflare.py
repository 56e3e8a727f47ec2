"""Cloudflare AI Gateway: Logpush records and API logs, after its documentation of logging and the API reference."""

from typing import Any

from hypothesis import given

from tests.unit.formats.reading import WHEN, WHEN_MS, bent, holds, read, row, without

API: dict[str, Any] = {
    "id": "01JADMCQQQBWH3NXZ5GCRN98DP",
    "created_at": WHEN,
    "provider": "openai",
    "model": "gpt-4o",
    "path": "chat/completions",
    "duration": 1500,
    "cached": False,
    "success": True,
    "status_code": 200,
    "tokens_in": 12,
    "tokens_out": 34,
    "cost": 0.00042,
    "request_size": 139,
    "response_size": 432,
    "metadata": '{"user_id": "acct-1", "session_id": "sess-1", "end_user": 12345}',
    "request_type": "chat",
}
SEALED = {"key": "a2V5", "iv": "aXY=", "data": "ZGF0YQ=="}
LOGPUSH: dict[str, Any] = {
    "Gateway": "gw-1",
    "Provider": "openai",
    "Model": "gpt-4o",
    "Endpoint": "chat/completions",
    "StatusCode": 200,
    "Cached": False,
    "RateLimited": False,
    "ID": "ray-1",
    "CreatedAt": WHEN_MS * 1_000_000,
    "Duration": 1500,
    "Metadata": {"user_id": "acct-1"},
    "RequestBody": {"temperature": 0.7, "messages": [{"role": "user", "content": "Why?"}]},
    "ResponseBody": '{"choices": [{"message": {"content": "Because."}}], "usage": {"prompt_tokens": 12}}',
}


def test_a_log_of_the_api_fills_every_field_it_has() -> None:
    assert row(API, form="cloudflare") == {
        "event_id": "01JADMCQQQBWH3NXZ5GCRN98DP",
        "event_time": WHEN_MS,
        "account_id": "acct-1",
        "end_user_id": "12345",
        "conversation_id": "sess-1",
        "provider": "openai",
        "request_model": "gpt-4o",
        "operation": "chat",
        "input_tokens": 12,
        "output_tokens": 34,
        "input_bytes": 139,
        "output_bytes": 432,
        "status_code": 200,
        "latency_ms": 1500,
        "cost_usd": 0.00042,
    }


def test_a_decrypted_record_of_logpush_fills_every_field_it_has() -> None:
    assert row(LOGPUSH, form="cloudflare") == {
        "event_id": "ray-1",
        "event_time": WHEN_MS,
        "account_id": "acct-1",
        "project_id": "gw-1",
        "turn_index": 0,
        "provider": "openai",
        "request_model": "gpt-4o",
        "operation": "chat",
        "input_tokens": 12,
        "temperature": 0.7,
        "status_code": 200,
        "latency_ms": 1500,
    }
    assert read(LOGPUSH, form="cloudflare").text == [{"prompt": "Why?", "output": "Because."}]


def test_encrypted_parts_are_not_read() -> None:
    sealed = LOGPUSH | {"Metadata": SEALED, "RequestBody": SEALED, "ResponseBody": SEALED}
    assert read(sealed, form="cloudflare").rejects == [("missing_field", "account_id")]
    joined = read(sealed | {"stillwatch": {"account_id": "acct-1"}}, form="cloudflare")
    assert (len(joined.rows), joined.text) == (1, [])


def test_times_come_as_text_nanoseconds_or_seconds() -> None:
    for when in (WHEN, WHEN_MS * 1_000_000):
        assert row(LOGPUSH | {"CreatedAt": when}, form="cloudflare")["event_time"] == WHEN_MS
    assert row(LOGPUSH | {"CreatedAt": WHEN_MS // 1000}, form="cloudflare")["event_time"] == WHEN_MS // 1000 * 1000


def test_without_metadata_there_is_no_account() -> None:
    assert read(without(API, "metadata"), form="cloudflare").rejects == [("missing_field", "account_id")]


@given(bent(API))
def test_nothing_in_a_log_raises(record: object) -> None:
    holds(record, form="cloudflare")


@given(bent(LOGPUSH))
def test_nothing_in_a_record_raises(record: object) -> None:
    holds(record, form="cloudflare")
