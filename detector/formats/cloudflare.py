"""Cloudflare AI Gateway: Logpush records and the logs API's.

Purpose: NDJSON of the Logpush data set (names in capitals) and of the API (`tokens_in` ...).
Invariants: encrypted parts (`{key, iv, data}`) hold nothing that is read: they are opened by
whoever has the private key, before this reader.
Limits: Logpush has no token counts; by which names it has an id and a time is not documented
where we could read it, so several are tried; there is no address, user agent or JA4 (they
are in zone logs), and no account but what clients send as metadata.
Source: Cloudflare's documentation of AI Gateway (logging, Logpush, custom metadata) and its
API reference of gateway logs.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import settings, talk
from detector.formats.layout import at, layout
from detector.formats.values import epoch, operation, scaled, unpacked

_LOGPUSH = ("Gateway", "Model", "Provider", "StatusCode", "Endpoint", "RateLimited")
_API = ("tokens_in", "tokens_out", "model", "provider", "cached", "created_at")
_MARKS_MIN = 4
_SEALED = frozenset({"key", "iv", "data"})
_WHO = ("account_id", "user_id", "userId", "user", "tenant_id")
_FROM_NS_OR_TEXT = epoch(1e-6)


def looks(value: Any) -> bool:
    """Whether a JSON value is a record of Logpush or of the API."""
    return type(value) is dict and any(sum(n in value for n in names) >= _MARKS_MIN for names in (_LOGPUSH, _API))


def _open(value: Any) -> Any:
    """A part that is not encrypted, JSON text opened; nothing where it is."""
    found = unpacked(value)
    return None if type(found) is dict and found.keys() >= _SEALED else found


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The record with its open parts under one set of names."""
    parts = {"metadata": "Metadata", "body": "RequestBody", "reply": "ResponseBody"}
    lower = {"metadata": "metadata", "body": "request_body", "reply": "response_body"}
    yield value | {name: _open(value.get(upper, value.get(lower[name]))) for name, upper in parts.items()}


def _seconds_or_ns(value: Any) -> Any:
    """Logpush writes times as text, nanoseconds or seconds, as its job says."""
    return epoch(1000)(value) if type(value) is int and value < 10**11 else _FROM_NS_OR_TEXT(value)


FORMAT = layout(
    "cloudflare",
    "Cloudflare AI Gateway (Logpush or logs API)",
    looks=looks,
    calls=calls,
    table={
        **settings("body"),
        **talk(request="body", reply="reply"),
        "event_id": at("id", "LogID", "ID", "EventID", "RayID"),
        "event_time": at("created_at", "CreatedAt", "Timestamp", "Datetime", "ResponseTime", to=_seconds_or_ns),
        "account_id": at(*(f"metadata/{name}" for name in _WHO)),
        "org_id": at("account_id", "AccountID", "AccountTag"),
        "project_id": at("gateway", "Gateway", "gateway_id"),
        "end_user_id": at("metadata/end_user", "metadata/end_user_id"),
        "conversation_id": at("metadata/session_id", "metadata/conversation_id"),
        "provider": at("provider", "Provider"),
        "request_model": at("model", "Model"),
        "operation": at("path", "Endpoint", "request_type", to=operation),
        "input_tokens": at("tokens_in", "TokensIn", "reply/usage/prompt_tokens", "reply/usage/input_tokens"),
        "output_tokens": at("tokens_out", "TokensOut", "reply/usage/completion_tokens", "reply/usage/output_tokens"),
        "input_bytes": at("request_size", to=scaled(1)),
        "output_bytes": at("response_size", to=scaled(1)),
        "status_code": at("status_code", "StatusCode"),
        "latency_ms": at("duration", "Duration", to=scaled(1)),
        "cost_usd": at("cost", "Cost"),
    },
    text=("prompt", "system", "output"),
    join=(
        "send cf-aig-metadata with account_id; decrypt Metadata and the bodies before reading; "
        "join zone logs by the ray id for address and JA4"
    ),
)
