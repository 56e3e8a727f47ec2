"""Kong AI Gateway: the log plugins' JSON (file, HTTP, Kafka) with `ai.proxy`.

Purpose: one object a request, or an array of them where a plugin batches.
Invariants: requests that met no AI plugin are passed over. The time is the start and what
the request took. Headers other than the user agent and JA4 are never read.
Limits: text only where the plugin logs payloads. Times of tokens and cost need Kong 3.8.
Source: Kong's references of the AI audit log and of the log plugins' format.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import opened, settings, talk
from detector.formats.layout import Reads, at, find, layout
from detector.formats.values import BAD_TIME, Fault, address, milliseconds, number, operation, scaled

_USAGE, _META, _PAYLOAD = "ai/proxy/usage", "ai/proxy/meta", "ai/proxy/payload"


def looks(value: Any) -> bool:
    """Whether a JSON value is a log record of Kong, or an array that begins with one."""
    record = value[0] if type(value) is list and value else value
    return type(record) is dict and "latencies" in record and ("request" in record or "started_at" in record)


def calls(value: Any) -> Iterator[Any]:
    """The records that an AI plugin saw, their payloads opened; what is no object stays as it is."""
    for record in value if type(value) is list else (value,):
        if type(record) is not dict:
            yield record
        elif find(record, keys=("ai", "proxy")) is not None:
            parts = {"body": f"{_PAYLOAD}/request", "reply": f"{_PAYLOAD}/response"}
            yield opened(record, parts=parts)


def _completed(record: dict[str, Any]) -> int | Fault | None:
    begun_ms = milliseconds(record.get("started_at"))
    took_ms = number(find(record, keys=("latencies", "request")))
    if begun_ms is None:
        return None if record.get("started_at") is None else BAD_TIME
    return begun_ms + (max(0, round(took_ms)) if type(took_ms) is int or type(took_ms) is float else 0)


def _streamed(mode: Any) -> bool | None:
    return mode == "stream" if type(mode) is str else None


FORMAT = layout(
    "kong",
    "Kong AI Gateway log plugins",
    looks=looks,
    calls=calls,
    table={
        **settings("body"),
        **talk(request="body", reply="reply"),
        "event_id": at("request/id", "response/headers/x-kong-request-id"),
        "event_time": Reads(_completed),
        "account_id": at("consumer/id", "authenticated_entity/consumer_id", "consumer/custom_id", "consumer/username"),
        "org_id": at("workspace"),
        "api_key_id": at("authenticated_entity/id"),
        "provider": at(f"{_META}/provider_name"),
        "request_model": at(f"{_META}/request_model"),
        "response_model": at(f"{_META}/response_model"),
        "operation": at("request/uri", "upstream_uri", to=operation),
        "input_tokens": at(f"{_USAGE}/prompt_tokens"),
        "output_tokens": at(f"{_USAGE}/completion_tokens"),
        "reasoning_tokens": at(f"{_USAGE}/completion_tokens_details/reasoning_tokens"),
        "cached_input_tokens": at(f"{_USAGE}/prompt_tokens_details/cached_tokens"),
        "input_bytes": at("request/size", to=scaled(1)),
        "output_bytes": at("response/size", to=scaled(1)),
        "stream": at(f"{_META}/request_mode", to=_streamed),
        "status_code": at("response/status"),
        "latency_ms": at("latencies/request", to=scaled(1)),
        "ttft_ms": at(f"{_USAGE}/time_to_first_token", to=scaled(1)),
        "cost_usd": at(f"{_USAGE}/cost"),
        "client_ip": at("client_ip", to=address),
        "user_agent": at("request/headers/user-agent"),
        "ja4": at("request/headers/x-ja4", "request/headers/x-ja4-fingerprint"),
    },
    text=("prompt", "system", "output"),
    join=(
        "put an authentication plugin before the proxy, so that a consumer is logged; "
        "custom_fields_by_lua may add keys stillwatch.<field>"
    ),
    batched=True,
)
