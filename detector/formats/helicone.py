"""Helicone: messages of its request queue, and rows of its request export.

Purpose: the queue's `{authorization, heliconeMeta, log}` and the flat rows of the query API.
Invariants: `authorization` and the keys in `heliconeMeta` are never read.
Limits: the queue has tokens only after its consumer added them; no address, no user agent.
Source: Helicone's worker (message producer types) and its documentation of requests.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import settings, talk
from detector.formats.layout import at, find, layout
from detector.formats.values import operation, scaled, unpacked

_ROW = ("request_id", "response_id", "request_user_id", "delay_ms")
_ROW_MIN = 3


def looks(value: Any) -> bool:
    """Whether a JSON value is a message of the queue or a row of the export."""
    if type(value) is not dict:
        return False
    message = find(value, keys=("log", "request")) is not None and find(value, keys=("log", "response")) is not None
    return message or sum(name in value for name in _ROW) >= _ROW_MIN


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What stands in `log`, or the row itself, without what else a message carries."""
    log = value.get("log")
    record = log if type(log) is dict else value
    bodies = {"body": ("request", "body"), "reply": ("response", "body")}
    opened = {name: unpacked(find(record, keys=keys)) for name, keys in bodies.items()}
    if type(log) is not dict:
        opened = {
            name: unpacked(value.get(f"{part}_body")) for name, part in (("body", "request"), ("reply", "response"))
        }
    added = {name: value[name] for name in ("usage", "processedLog") if name in value and name not in record}
    notes = {name: part for name, part in value.items() if name.startswith("stillwatch")}
    yield record | opened | added | notes


_SESSION = "Helicone-Session-Id"

FORMAT = layout(
    "helicone",
    "Helicone request queue or export",
    looks=looks,
    calls=calls,
    table={
        **settings("body"),
        **talk(request="body", reply="reply"),
        "event_id": at("request/id", "request_id"),
        "event_time": at(
            "response/responseCreatedAt", "response_created_at", "request/requestCreatedAt", "request_created_at"
        ),
        "account_id": at("request/userId", "request_user_id"),
        "api_key_id": at("request/heliconeApiKeyId", "request/heliconeProxyKeyId", "helicone_proxy_key_id"),
        "end_user_id": at("request/properties/end_user", "request_properties/end_user", "body/user"),
        "conversation_id": at(f"request/properties/{_SESSION}", f"request_properties/{_SESSION}"),
        "provider": at("request/provider", "provider"),
        "request_model": at("model", "processedLog/model", "request_model", "request/model", "body/model"),
        "response_model": at("response/model", "response_model", "reply/model"),
        "operation": at("request/path", "request_path", "request/targetUrl", to=operation),
        "input_tokens": at(
            "usage/promptTokens", "prompt_tokens", "reply/usage/prompt_tokens", "reply/usage/input_tokens"
        ),
        "output_tokens": at(
            "usage/completionTokens", "completion_tokens", "reply/usage/completion_tokens", "reply/usage/output_tokens"
        ),
        "reasoning_tokens": at("usage/thinking", "reasoning_tokens"),
        "cached_input_tokens": at("usage/promptCacheReadTokens", "prompt_cache_read_tokens"),
        "input_bytes": at("request/bodySize", to=scaled(1)),
        "output_bytes": at("response/bodySize", to=scaled(1)),
        "stream": at("request/isStream", "body/stream"),
        "status_code": at("response/status", "response_status"),
        "latency_ms": at("response/delayMs", "delay_ms", to=scaled(1)),
        "ttft_ms": at("response/timeToFirstToken", "time_to_first_token", to=scaled(1)),
        "cost_usd": at("usage/cost", "cost_usd", "costUSD"),
        "country": at("request/countryCode", "country_code"),
    },
    text=("prompt", "system", "output"),
    join="send Helicone-User-Id (and Helicone-Session-Id) with every request",
)
