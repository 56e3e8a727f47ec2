"""OpenRouter: Broadcast traces as a webhook receives them, OTLP JSON.

Purpose: as OpenTelemetry, with OpenRouter's own attributes for keys, users and cost.
Invariants: the test call (header `X-Test-Connection`, an export without spans) holds no call;
a generation and its attempts at providers share their response's id and count once.
Limits: no address, user agent or country; Privacy Mode leaves the text out.
Source: OpenRouter's documentation of Broadcast (webhook) and its trace attributes.
"""

from typing import Any

from detector.formats.layout import at, find, layout
from detector.formats.otel import TABLE, calls, exports

_NAMED = ("openrouter.", "trace.metadata.openrouter.")


def looks(value: Any) -> bool:
    """Whether an OTLP export comes from OpenRouter: its service's name, or attributes of its own."""
    if not exports(value):
        return False
    for resource in value.get("resourceSpans") or ():
        shared = find(resource, keys=("resource", "attributes"))
        spans = find(resource, keys=("scopeSpans", 0, "spans"))
        held = [shared, *(find(span, keys=("attributes",)) for span in (spans if type(spans) is list else ()))]
        for pair in (p for pairs in held if type(pairs) is list for p in pairs if type(p) is dict):
            name = pair.get("key")
            if name == "service.name" and find(pair, keys=("value", "stringValue")) == "openrouter":
                return True
            if type(name) is str and name.startswith(_NAMED):
                return True
    return False


FORMAT = layout(
    "openrouter",
    "OpenRouter Broadcast (OTLP JSON webhook)",
    looks=looks,
    calls=calls,
    table={
        **{k: v for k, v in TABLE.items() if k not in {"client_ip", "user_agent", "org_id"}},
        "account_id": at("user.id", "openrouter.user_id", *(f"{p}creator_user_id" for p in _NAMED)),
        "org_id": at(*(f"{p}entity_id" for p in _NAMED)),
        "end_user_id": at("user.id"),
        "api_key_id": at(*(f"{p}api_key_name" for p in _NAMED)),
        "conversation_id": at("session.id", "gen_ai.conversation.id"),
        "provider": at("gen_ai.provider.name", *(f"{p}provider_name" for p in _NAMED), "gen_ai.system"),
        "cost_usd": at("gen_ai.usage.total_cost"),
    },
    text=("prompt", "system", "output"),
    join="send `user` with each request and switch on the identity fields of the destination; it becomes account_id",
    batched=True,
)
