"""OpenTelemetry: spans and log records of the generative AI conventions, as OTLP JSON.

Purpose: what the collector's file exporter writes: a line is one export with many spans
or log records.
Invariants: attributes of a span win over those of its scope and resource. The same call told
by a span and by an event has one `event_id`, its response's, so it counts once.
Limits: spans that are no inference (agents, tools, HTTP) are passed over; base64 bytes are
not text. The conventions have no account, payment or JA4: `user.id` or `tenant.id` is taken.
Source: OTLP 1.x JSON encoding; semantic conventions for generative AI (status: development),
with the older names that libraries still write.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from detector.events import NESTING_MAX
from detector.formats.bodies import asked, content_of, joined, said
from detector.formats.layout import At, Reads, at, find, layout
from detector.formats.values import address, epoch, first, keyed, scaled, unpacked, whole

OPERATIONS = ("chat", "generate_content", "text_completion", "embeddings")
SHARED_MAX = 128  # as many attributes as SDKs allow by default
_FROM_NS = 1e-6
_MODELS = ("gen_ai.request.model", "gen_ai.response.model")


def any_value(value: Any, *, depth: int = 0) -> Any:
    """An OTLP AnyValue as plain JSON; 64-bit integers stand as text there.

    >>> any_value({"arrayValue": {"values": [{"intValue": "7"}, {"stringValue": "x"}]}})
    [7, 'x']
    """
    if type(value) is not dict or depth > NESTING_MAX:
        return None
    for kind in ("stringValue", "boolValue", "doubleValue"):
        if kind in value:
            return value[kind]
    if "intValue" in value:
        found = whole(value["intValue"])
        return found if type(found) is int else None
    if "arrayValue" in value:
        items = find(value, keys=("arrayValue", "values"))
        return [any_value(item, depth=depth + 1) for item in items] if type(items) is list else []
    return _attributes(find(value, keys=("kvlistValue", "values")), depth=depth + 1)


def _attributes(pairs: Any, *, depth: int = 0) -> dict[str, Any]:
    found = {}
    for pair in pairs if type(pairs) is list else ():
        if type(pair) is dict and type(key := pair.get("key")) is str:
            found[key] = any_value(pair.get("value"), depth=depth)
    return found


def _parts(value: Any, *names: str) -> Iterator[dict[str, Any]]:
    for name in names:
        found = value.get(name) if type(value) is dict else None
        yield from (part for part in found if type(part) is dict) if type(found) is list else ()


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The inference spans and log records of an export: their attributes, flat, and themselves under `span`."""
    for resource in _parts(value, "resourceSpans", "resourceLogs"):
        shared = _attributes(find(resource, keys=("resource", "attributes")))
        shared = dict(islice(shared.items(), SHARED_MAX))  # each span has a copy
        for scope in _parts(resource, "scopeSpans", "scopeLogs"):
            for span in _parts(scope, "spans", "logRecords"):
                own = _attributes(span.get("attributes"))
                named = own.get("gen_ai.operation.name")
                if any(own.get(m) for m in _MODELS) and (type(named) is not str or named in OPERATIONS):
                    yield shared | own | {"span": span}


def exports(value: Any) -> bool:
    """Whether a JSON value is an OTLP export."""
    return type(value) is dict and any(type(value.get(k)) is list for k in ("resourceSpans", "resourceLogs"))


def _numbered(record: dict[str, Any], *, prefix: str) -> list[dict[str, Any]]:
    """Messages as OpenLLMetry writes them: `gen_ai.prompt.0.role`, `gen_ai.prompt.0.content`."""
    found: list[dict[str, Any]] = []
    while f"{prefix}.{len(found)}.content" in record:
        at_ = f"{prefix}.{len(found)}"
        found.append({"role": record.get(f"{at_}.role"), "content": unpacked(record[f"{at_}.content"])})
    return found


def _content(record: dict[str, Any]) -> dict[str, str] | None:
    request = _readable(record, "gen_ai.input.messages", "gen_ai.prompt") or _numbered(record, prefix="gen_ai.prompt")
    reply = _readable(record, "gen_ai.output.messages", "gen_ai.completion")
    system, prompt, _ = asked(request)
    told = joined(_readable(record, "gen_ai.system_instructions"))
    said_ = said(reply or _numbered(record, prefix="gen_ai.completion"))
    return content_of(system=told or system, prompt=prompt, output=said_)


def _turn(record: dict[str, Any]) -> int | None:
    return asked(_readable(record, "gen_ai.input.messages", "gen_ai.prompt"))[2]


def _is_json(kind: Any) -> bool | None:
    return kind == "json" if type(kind) is str else None


def _readable(record: dict[str, Any], *names: str) -> Any:
    """The first of some attributes that holds text, unless a fingerprint stands in its place."""
    values = (unpacked(record.get(name)) for name in names)
    return next((value for value in values if value and keyed(value) is None), None)


def _latency_ms(record: dict[str, Any]) -> int | None:
    begun, ended = (
        epoch(_FROM_NS)(find(record, keys=("span", name))) for name in ("startTimeUnixNano", "endTimeUnixNano")
    )
    return ended - begun if type(begun) is int and type(ended) is int and ended >= begun else None


TABLE: dict[str, At | Reads] = {
    "event_id": at("gen_ai.response.id", "span/spanId"),
    "event_time": at(
        "span/endTimeUnixNano",
        "span/timeUnixNano",
        "span/observedTimeUnixNano",
        "span/startTimeUnixNano",
        to=epoch(_FROM_NS),
    ),
    "account_id": at("user.id", "tenant.id", "enduser.id"),
    "org_id": at("organization.id", "tenant.id"),
    "end_user_id": at("enduser.pseudo.id"),
    "conversation_id": at("gen_ai.conversation.id", "session.id"),
    "provider": at("gen_ai.provider.name", "gen_ai.system"),
    "request_model": at(*_MODELS),
    "response_model": at("gen_ai.response.model"),
    "operation": at("gen_ai.operation.name"),
    "input_tokens": at("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output_tokens": at("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "reasoning_tokens": at("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.output_tokens.reasoning"),
    "cached_input_tokens": at("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.input_tokens.cached"),
    "max_tokens": at("gen_ai.request.max_tokens"),
    "temperature": at("gen_ai.request.temperature"),
    "top_p": at("gen_ai.request.top_p"),
    "top_k": at("gen_ai.request.top_k"),
    "n": at("gen_ai.request.choice.count"),
    "seed": at("gen_ai.request.seed"),
    "stream": at("gen_ai.request.stream"),
    "status_code": at("http.response.status_code"),
    "error_type": at("error.type"),
    "finish_reason": at("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", to=first),
    "latency_ms": Reads(_latency_ms),
    "ttft_ms": at("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token", to=scaled(1000)),
    "client_ip": at("client.address", to=address),
    "user_agent": at("user_agent.original"),
    "prompt_fp": at("gen_ai.input.messages", to=keyed),
    "system_prompt_fp": at("gen_ai.system_instructions", to=keyed),
    "tools_fp": at("gen_ai.tool.definitions", to=keyed),
    "structured_output": at("gen_ai.output.type", to=_is_json),
    "turn_index": Reads(_turn),
    "content": Reads(_content),
}

FORMAT = layout(
    "otel",
    "OpenTelemetry generative AI spans and logs (OTLP JSON lines)",
    looks=exports,
    calls=calls,
    table=TABLE,
    text=("prompt", "system", "output"),
    join="set user.id or tenant.id where the caller is known; add attributes stillwatch.<field> for the rest",
    batched=True,
)
