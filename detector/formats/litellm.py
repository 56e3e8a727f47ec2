"""LiteLLM: the proxy's StandardLoggingPayload, one JSON object a call.

Purpose: what its callbacks (S3, GCS, SQS, custom) write.
Invariants: times are epoch seconds as floats, cost is in USD. A key without a user is the
account itself, by its hash: that is what can be acted on.
Limits: no country, ASN, JA4 or payment. A user agent only where the proxy adds it as a tag.
Source: LiteLLM's documentation of StandardLoggingPayload and StandardLoggingMetadata.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import opened, settings, talk
from detector.formats.layout import Reads, at, find, layout
from detector.formats.values import address, epoch, lenient, number, operation, whole

_AGENT = "User-Agent: "
_USAGE = ("metadata/usage_object", "response/usage")


def looks(value: Any) -> bool:
    """Whether a JSON value is a StandardLoggingPayload."""
    return type(value) is dict and "call_type" in value and ("startTime" in value or "endTime" in value)


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The payload with its reply opened."""
    yield opened(value, parts={"request": "messages", "reply": "response"})


def _status(record: dict[str, Any]) -> int | None:
    code: int | None = lenient(whole)(find(record, keys=("error_information", "error_code")))
    return 200 if code is None and record.get("status") == "success" else code


def _ttft_ms(record: dict[str, Any]) -> int | None:
    begun, token = (lenient(number)(record.get(name)) for name in ("startTime", "completionStartTime"))
    if begun is None or token is None or token < begun or record.get("stream") is not True:
        return None
    return round((token - begun) * 1000)


def _latency_ms(record: dict[str, Any]) -> int | None:
    begun, ended = (lenient(number)(record.get(name)) for name in ("startTime", "endTime"))
    return round((ended - begun) * 1000) if begun is not None and ended is not None and ended >= begun else None


def _agent(tags: Any) -> str | None:
    """The user agent among the tags that the proxy adds; of several the longest, which has the version."""
    found = (
        [tag[len(_AGENT) :] for tag in tags if type(tag) is str and tag.startswith(_AGENT)]
        if type(tags) is list
        else []
    )
    return max(found, key=len, default=None)


FORMAT = layout(
    "litellm",
    "LiteLLM StandardLoggingPayload",
    looks=looks,
    calls=calls,
    table={
        **settings("model_parameters"),
        **talk(request="request", reply="reply"),
        "event_id": at("id"),
        "event_time": at("endTime", "startTime", to=epoch(1000)),
        "account_id": at("metadata/user_api_key_user_id", "metadata/user_api_key_hash"),
        "org_id": at("metadata/user_api_key_org_id", "metadata/user_api_key_team_id"),
        "project_id": at("metadata/user_api_key_project_id", "metadata/user_api_key_team_id"),
        "api_key_id": at("metadata/user_api_key_hash"),
        "end_user_id": at("end_user", "metadata/user_api_key_end_user_id"),
        "conversation_id": at("session_id", "metadata/session_id"),
        "provider": at("custom_llm_provider"),
        "request_model": at("model_group", "model"),
        "response_model": at("model"),
        "operation": at("call_type", to=operation),
        "input_tokens": at("prompt_tokens"),
        "output_tokens": at("completion_tokens"),
        "reasoning_tokens": at(*(f"{u}/completion_tokens_details/reasoning_tokens" for u in _USAGE)),
        "cached_input_tokens": at(*(f"{u}/prompt_tokens_details/cached_tokens" for u in _USAGE)),
        "stream": at("stream", "model_parameters/stream"),
        "status_code": Reads(_status),
        "error_type": at("error_information/error_class"),
        "latency_ms": Reads(_latency_ms),
        "ttft_ms": Reads(_ttft_ms),
        "cost_usd": at("response_cost"),
        "client_ip": at("requester_ip_address", "metadata/requester_ip_address", to=address),
        "user_agent": at("metadata/user_agent", "request_tags", to=lambda v: _agent(v) if type(v) is list else v),
    },
    text=("prompt", "system", "output"),
    join="give every key a user_id; let a custom logger add an object `stillwatch` with what the proxy does not know",
)
