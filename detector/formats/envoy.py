"""Envoy AI Gateway: its JSON access log, flat, with dotted keys.

Purpose: the cheapest integration: the gateway's own line for each request.
Invariants: requests that named no model (health checks, MCP) are passed over.
`gen_ai.provider.name` is a path to a backend, so it is not taken as a provider.
Limits: no account unless a header is logged as one; no text, no settings of the request.
What the operator leaves unset stands as null or `-`.
Source: Envoy AI Gateway's documentation of access logs (both its default names and those of
its example), Envoy's command operators (START_TIME, DURATION).
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.layout import Reads, at, layout
from detector.formats.values import BAD_TIME, Fault, address, milliseconds, number, operation, scaled

_MODELS = ("gen_ai.request.model", "genai_model_name")
_OURS = ("gen_ai.", "genai_")


def looks(value: Any) -> bool:
    """Whether a JSON value is a line of the gateway's access log."""
    if type(value) is not dict or not ("response_code" in value or "start_time" in value):
        return False
    return any(key.startswith(_OURS) for key in value)


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The line itself, where a model was asked for."""
    if any(value.get(name) not in (None, "", "-") for name in _MODELS):
        yield value


def _completed(record: dict[str, Any]) -> int | Fault | None:
    """The start and how long it took."""
    start = record.get("start_time")
    if start is None:
        return None
    begun_ms, took_ms = milliseconds(start), number(record.get("duration"))
    if begun_ms is None:
        return BAD_TIME
    return begun_ms + (max(0, round(took_ms)) if type(took_ms) is int or type(took_ms) is float else 0)


FORMAT = layout(
    "envoy",
    "Envoy AI Gateway access log (flat JSON)",
    looks=looks,
    calls=calls,
    table={
        "event_id": at("x-request-id"),
        "event_time": Reads(_completed),
        "account_id": at("tenant.id", "user.id", "x-tenant-id", "x-account-id", "x-user-id"),
        "org_id": at("org.id", "x-org-id"),
        "api_key_id": at("api_key.id", "x-api-key-id", "x-api-key-hash"),
        "conversation_id": at("session.id", "x-session-id"),
        "request_model": at(*_MODELS),
        "response_model": at("gen_ai.response.model", "genai_model_name_override"),
        "operation": at("x-envoy-origin-path", "path", to=operation),
        "input_tokens": at("gen_ai.usage.input_tokens", "genai_tokens_input"),
        "output_tokens": at("gen_ai.usage.output_tokens", "genai_tokens_output"),
        "reasoning_tokens": at("gen_ai.usage.reasoning_tokens", "genai_tokens_reasoning"),
        "cached_input_tokens": at("gen_ai.usage.cached_input_tokens", "llm_cached_input_token", "genai_tokens_cached"),
        "input_bytes": at("bytes_received", to=scaled(1)),
        "output_bytes": at("bytes_sent", to=scaled(1)),
        "status_code": at("response_code"),
        "latency_ms": at("duration", to=scaled(1)),
        "client_ip": at("x-forwarded-for", "downstream_remote_address", to=address),
        "user_agent": at("user-agent"),
        "ja4": at("ja4", "x-ja4"),
    },
    join=(
        "log the header that names the caller: OTEL_AIGW_LOG_REQUEST_HEADER_ATTRIBUTES=x-tenant-id:tenant.id; "
        "more columns named stillwatch.<field> are taken as they are"
    ),
)
