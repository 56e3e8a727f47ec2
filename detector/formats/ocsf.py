"""OCSF: API Activity (class 6003) with the profile for operations on AI.

Purpose: what security data lakes hold of calls to models.
Invariants: other classes, and API calls of no model, are passed over.
Limits: no settings of the request, no time to the first token; `status_code` is a string that
may be a word, which then is the error's type.
Source: OCSF schema 1.8 (api_activity, ai_operation, message_context, ai_model).
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import content_of, joined
from detector.formats.layout import Reads, at, find, layout
from detector.formats.values import address, lenient, operation, scaled, short, text, whole

CLASS_UID = 6003


def looks(value: Any) -> bool:
    """Whether a JSON value is an OCSF event, of any class."""
    return type(value) is dict and "class_uid" in value and ("metadata" in value or "category_uid" in value)


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The event itself, where it is a call to a model."""
    if value["class_uid"] == CLASS_UID and (value.get("ai_model") or value.get("message_context")):
        yield value


def _status(record: dict[str, Any]) -> int | None:
    for keys in (("http_response", "code"), ("status_code",)):
        found: int | None = lenient(whole)(find(record, keys=keys))
        if found is not None:
            return found
    return None


def _error(value: Any) -> Any:
    return short(value) if type(value) is str and not value.isdecimal() else None


def _content(record: dict[str, Any]) -> dict[str, str] | None:
    def part(name: str) -> str | None:
        return joined(record.get(name)) or joined(find(record, keys=("message_context", name)))

    return content_of(system=None, prompt=part("prompt_text"), output=part("response_text"))


def _ja4(record: dict[str, Any]) -> Any:
    """The TLS client's fingerprint, of the several kinds that may be listed."""
    for place in ((), ("tls",)):
        found = find(record, keys=(*place, "ja4_fingerprint_list"))
        for item in found if type(found) is list else ():
            if find(item, keys=("type_id",)) in (None, 1):
                return text(find(item, keys=("value",)))
    return None


FORMAT = layout(
    "ocsf",
    "OCSF API Activity 6003 with ai_operation",
    looks=looks,
    calls=calls,
    table={
        "event_id": at("metadata/uid", "api/request/uid"),
        "event_time": at("time"),
        "account_id": at("actor/user/uid"),
        "org_id": at("actor/user/org/uid", "cloud/account/uid", "cloud/org/uid"),
        "project_id": at("cloud/project_uid"),
        "api_key_id": at("api/token/uid", "actor/user/credential_uid"),
        "conversation_id": at("message_context/uid"),
        "provider": at("ai_model/ai_provider"),
        "request_model": at("ai_model/name"),
        "operation": at("api/operation", to=operation),
        "input_tokens": at("message_context/prompt_tokens"),
        "output_tokens": at("message_context/completion_tokens"),
        "status_code": Reads(_status),
        "error_type": at("api/response/error", "status_code", to=_error),
        "latency_ms": at("duration", to=scaled(1)),
        "client_ip": at("src_endpoint/ip", to=address),
        "country": at("src_endpoint/location/country"),
        "asn": at("src_endpoint/autonomous_system/number"),
        "user_agent": at("http_request/user_agent"),
        "ja4": Reads(_ja4),
        "content": Reads(_content),
    },
    text=("prompt", "output"),
    join="fill actor.user.uid; put what OCSF has no place for under an object `stillwatch`",
)
