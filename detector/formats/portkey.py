"""Portkey: the logs export, JSON lines.

Purpose: exported columns of one request each, nested or with dotted names.
Invariants: cost is in cents and becomes USD. `trace_id` may join several requests, so it is
the conversation, and the event's id only where `id` was not exported.
Limits: no address, user agent, country or JA4; no account but what the client sends as
`_user` in its metadata.
Source: Portkey's documentation of the logs export.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import settings, talk
from detector.formats.layout import at, find, layout
from detector.formats.values import Fault, flag, number, operation, scaled, unpacked

_MARKS = ("ai_org", "ai_model", "req_units", "res_units", "virtual_key", "trace_id")
_MARKS_MIN = 3
_METADATA = ("_user", "user", "user_id")


def looks(value: Any) -> bool:
    """Whether a JSON value is an exported log."""
    return type(value) is dict and sum(name in value for name in _MARKS) >= _MARKS_MIN


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    """Metadata as an object: exported so, as JSON text, or as two lists of keys and values."""
    found = unpacked(value.get("metadata"))
    names = value.get("metadata.key", find(found, keys=("key",)))
    values = value.get("metadata.value", find(found, keys=("value",)))
    if type(names) is list and type(values) is list:
        return {k: v for k, v in zip(names, values, strict=False) if type(k) is str}
    return found if type(found) is dict else {}


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The exported log with its bodies opened."""
    yield value | {
        "metadata": _metadata(value),
        "body": unpacked(value.get("request.body", find(value, keys=("request", "body")))),
        "reply": unpacked(value.get("response.body", find(value, keys=("response", "body")))),
    }


def _dollars(cents: Any) -> float | Fault | None:
    found = number(cents)
    return round(found / 100, 12) if type(found) is int or type(found) is float else found


def _cached(status: Any) -> bool | None:
    return status in ("HIT", "SEMANTIC HIT") if type(status) is str else None


FORMAT = layout(
    "portkey",
    "Portkey logs export",
    looks=looks,
    calls=calls,
    table={
        **settings("body"),
        **talk(request="body", reply="reply"),
        "event_id": at("id", "trace_id"),
        "event_time": at("created_at"),
        "account_id": at(*(f"metadata/{name}" for name in _METADATA)),
        "org_id": at("workspace_slug", "workspace_id", "workspace"),
        "api_key_id": at("virtual_key"),
        "end_user_id": at("metadata/_end_user", "body/user"),
        "conversation_id": at("trace_id"),
        "provider": at("ai_org"),
        "request_model": at("ai_model", "body/model"),
        "response_model": at("reply/model"),
        "operation": at("request_url", to=operation),
        "input_tokens": at("req_units"),
        "output_tokens": at("res_units"),
        "cached_input_tokens": at("reply/usage/prompt_tokens_details/cached_tokens"),
        "reasoning_tokens": at("reply/usage/completion_tokens_details/reasoning_tokens"),
        "stream": at("stream_mode", to=flag),
        "status_code": at("response_status_code"),
        "latency_ms": at("response_time", to=scaled(1)),
        "cost_usd": at("cost", to=_dollars),
        "sdk_version": at("sdk_version"),
        "sdk_name": at("runtime"),
    },
    text=("prompt", "system", "output"),
    join="send x-portkey-metadata with _user in every request, and export id, trace_id and metadata",
)
