"""Vertex AI: rows of the request-response log in BigQuery, exported as JSON lines.

Purpose: one row a call, with whole request and response.
Invariants: both may be objects or JSON text, in snake or camel case; 64-bit integers may be
text; a streamed response may be a list of which the last part counts tokens.
Limits: no caller and no address (they are in the audit log, to be joined): without a join
no row has an account. The log may be a sample.
Source: Google's documentation of request-response logging and of generateContent.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import opened, settings, talk
from detector.formats.layout import Reads, always, at, find, layout
from detector.formats.values import lenient, number, operation, tail

_MARKS = ("full_request", "full_response", "logging_time", "api_method", "deployed_model_id")
_MARKS_MIN = 2
_USAGE = ("usage/usage_metadata", "usage/usageMetadata", "usage/usage")


def looks(value: Any) -> bool:
    """Whether a JSON value is a row of the log."""
    return type(value) is dict and sum(name in value for name in _MARKS) >= _MARKS_MIN


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The row with its bodies opened; `usage` is the response, of a streamed one the last part."""
    record = opened(value, parts={"body": "full_request", "reply": "full_response", "about": "metadata"})
    reply = record["reply"]
    yield record | {"usage": reply[-1] if type(reply) is list and reply else reply}


def _project(record: dict[str, Any]) -> str | None:
    """The project in a resource's name, `projects/<id>/...`."""
    for keys in (("endpoint",), ("body", "model"), ("model",)):
        parts = str(find(record, keys=keys) or "").split("/")
        if parts[0] == "projects" and len(parts) > 1:
            return parts[1]
    return None


def _streamed(method: Any) -> bool | None:
    return method.lower().startswith("stream") if type(method) is str else None


def _latency_ms(record: dict[str, Any]) -> int | None:
    found = lenient(number)(find(record, keys=("about", "request_latency")))
    return None if found is None or found < 0 else round(found)


def _usage(*names: str) -> tuple[str, ...]:
    return tuple(f"{place}/{name}" for place in _USAGE for name in names)


FORMAT = layout(
    "vertex",
    "Vertex AI request-response log (BigQuery rows)",
    looks=looks,
    calls=calls,
    table={
        **settings("body/generation_config", "body/generationConfig", "body"),
        **talk(request="body", reply="reply"),
        "event_id": at("request_id"),
        "event_time": at("logging_time"),
        "org_id": Reads(_project),
        "project_id": Reads(_project),
        "provider": always("gcp"),
        "request_model": at("model", "body/model", to=tail),
        "response_model": at("usage/model_version", "usage/modelVersion", "usage/model"),
        "operation": at("api_method", to=operation),
        "input_tokens": at(*_usage("prompt_token_count", "promptTokenCount", "input_tokens")),
        "output_tokens": at(*_usage("candidates_token_count", "candidatesTokenCount", "output_tokens")),
        "reasoning_tokens": at(*_usage("thoughts_token_count", "thoughtsTokenCount")),
        "cached_input_tokens": at(
            *_usage("cached_content_token_count", "cachedContentTokenCount", "cache_read_input_tokens")
        ),
        "stream": at("api_method", to=_streamed),
        "status_code": at("response_status", "about/status_code"),
        "latency_ms": Reads(_latency_ms),
    },
    text=("prompt", "system", "output"),
    join="join the audit log in SQL and select STRUCT(principal AS account_id, caller_ip AS client_ip) AS stillwatch",
)
