"""Azure OpenAI: diagnostic logs of category RequestResponse.

Purpose: records from storage (JSON lines) or an event hub (`{"records": [...]}`).
Invariants: `properties` may be an object or JSON text; its times are .NET ticks. Operations
without a model (threads, files) are passed over, as are other categories.
Limits: no token counts, only bytes; no text; the address lacks its last octet and becomes a
/24; `objectId` is empty for callers with a key, and then there is no account.
Source: Microsoft's reference of Azure OpenAI monitoring data; samples of such logs in
Elastic's integration.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import opened
from detector.formats.layout import always, at, find, layout
from detector.formats.values import address, instant, operation, scaled, ticks

_CATEGORIES = frozenset({"RequestResponse", "Audit", "Trace", "AzureOpenAIRequestUsage"})
_P = "about"


def _is_record(value: Any) -> bool:
    return type(value) is dict and value.get("category") in tuple(_CATEGORIES) and "resourceId" in value


def looks(value: Any) -> bool:
    """Whether a JSON value is a diagnostic record or a batch of them."""
    return _is_record(value) or _is_record(find(value, keys=("records", 0)))


def calls(value: dict[str, Any]) -> Iterator[Any]:
    """The records of calls to a model, their properties opened; items that are no objects stay as they are."""
    records = value.get("records")
    for record in records if type(records) is list else (value,):
        if type(record) is not dict:
            yield record
        elif record.get("category") == "RequestResponse":
            found = opened(record, parts={_P: "properties"})
            if any(find(found, keys=(_P, name)) for name in ("modelDeploymentName", "modelName")):
                yield found


def _time(value: Any) -> Any:
    """`responseTime` in ticks, or the record's own `time`, which is text."""
    return instant(value) if type(value) is str and not value.isdecimal() else ticks(value)


def _streamed(kind: Any) -> bool | None:
    return not kind.lower().startswith("non") if type(kind) is str and kind else None


FORMAT = layout(
    "azure",
    "Azure OpenAI diagnostic log (RequestResponse)",
    looks=looks,
    calls=calls,
    table={
        "event_id": at("correlationId"),
        "event_time": at(f"{_P}/responseTime", "time", to=_time),
        "account_id": at(f"{_P}/objectId"),
        "org_id": at("resourceId"),
        "provider": always("azure"),
        "request_model": at(f"{_P}/modelDeploymentName", f"{_P}/modelName"),
        "response_model": at(f"{_P}/modelName"),
        "operation": at("operationName", to=operation),
        "input_bytes": at(f"{_P}/requestLength", to=scaled(1)),
        "output_bytes": at(f"{_P}/responseLength", to=scaled(1)),
        "stream": at(f"{_P}/streamType", to=_streamed),
        "status_code": at("resultSignature"),
        "latency_ms": at("durationMs", to=scaled(1)),
        "client_ip": at("callerIpAddress", to=address),
    },
    join="use Entra ID, so that objectId is logged, or log at API Management and join by correlationId",
    batched=True,
)
