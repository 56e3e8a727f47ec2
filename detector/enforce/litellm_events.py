"""LiteLLM's requests and log payloads as fields of `access.v1`; their text apart.

Purpose: what `formats/litellm.py` does for logs, in a gateway that has no engine: the account is
the key's user, else the key itself, by its hash, as there.
Invariants: no text in a field. Whatever shape a client sent is taken; what is not known gives nothing.
Limits: chat, text completions, responses and messages; other calls have an event without text.
Source: LiteLLM's StandardLoggingPayload and UserAPIKeyAuth.
"""

from collections.abc import Mapping
from typing import Any, Final

from detector.enforce.recorder import Texts
from detector.shim import messages_to_content

# What an operator may know of a key that the proxy does not.
NOTES: Final = frozenset(
    {"account_created_at", "account_tier", "payment_fp", "device_fp", "signup_ip_fp", "signup_email_domain_fp"}
    | {"declared_use", "payer_verified", "reseller_id"}
)
REDACTED: Final = "redacted-by-litellm"
IDENTIFIER_CHARS_MAX: Final = 256
_SETTINGS: Final = ("max_tokens", "temperature", "top_p", "top_k", "n", "seed", "reasoning_effort", "top_logprobs")
_NUMBERS: Final = frozenset(_SETTINGS) - {"reasoning_effort"}


def _short(value: Any) -> str | None:
    return str(value)[:IDENTIFIER_CHARS_MAX] if value not in (None, "") else None


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def asked_event(auth: Any, data: Mapping[str, Any], *, tenant: str, operation: str) -> dict[str, Any]:
    """The fields that are known before a request is answered; `auth` is LiteLLM's UserAPIKeyAuth."""
    metadata = _dict(data.get("metadata")) or _dict(data.get("litellm_metadata"))
    key = _short(getattr(auth, "token", None) or getattr(auth, "api_key", None))
    notes = _dict(_dict(getattr(auth, "metadata", None)).get("stillwatch"))
    event = {
        "event_id": _short(data.get("litellm_call_id")),
        "tenant": tenant,
        "account_id": _short(getattr(auth, "user_id", None)) or key,
        "api_key_id": key,
        "org_id": _short(getattr(auth, "org_id", None) or getattr(auth, "team_id", None)),
        "end_user_id": _short(getattr(auth, "end_user_id", None) or data.get("user")),
        "client_ip": _short(metadata.get("requester_ip_address")),
        "user_agent": _short(metadata.get("user_agent")),
        "request_model": _short(data.get("model")) or "",
        "operation": _short(operation),
        "input_tokens": None,
        "output_tokens": None,
    }
    return event | _chosen(data) | _noted(notes)


def _chosen(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a client chose."""
    found = {name: asked[name] for name in _SETTINGS if isinstance(asked.get(name), int | float | str)}
    found = {name: v for name, v in found.items() if name not in _NUMBERS or not isinstance(v, bool | str)}
    tools, form = asked.get("tools"), _dict(asked.get("response_format")).get("type")
    logprobs = asked.get("logprobs")
    more = {
        "stream": asked["stream"] if isinstance(asked.get("stream"), bool) else None,
        "logprobs_requested": bool(logprobs) or type(logprobs) is int if logprobs is not None else None,
        "structured_output": form in ("json_object", "json_schema") if form else None,
        "tool_count": len(tools) if isinstance(tools, list) else None,
    }
    return found | {name: value for name, value in more.items() if value is not None}


def _noted(notes: Any) -> dict[str, Any]:
    return {name: value for name, value in _dict(notes).items() if name in NOTES}


def event_of(payload: Mapping[str, Any], *, tenant: str, known: Any) -> dict[str, Any]:
    """The event of a request that LiteLLM has logged; `known`: what the operator noted about its key."""
    metadata, error = _dict(payload.get("metadata")), _dict(payload.get("error_information"))
    usage = _dict(metadata.get("usage_object"))
    key = _short(metadata.get("user_api_key_hash"))
    failed = payload.get("status") != "success"
    code = str(error.get("error_code") or "")
    event = {
        "event_id": _short(payload.get("id")),
        "event_time": _ms(payload.get("endTime")),
        "tenant": tenant,
        "account_id": _short(metadata.get("user_api_key_user_id")) or key,
        "api_key_id": key,
        "org_id": _short(metadata.get("user_api_key_org_id") or metadata.get("user_api_key_team_id")),
        "project_id": _short(metadata.get("user_api_key_project_id") or metadata.get("user_api_key_team_id")),
        "end_user_id": _short(payload.get("end_user") or metadata.get("user_api_key_end_user_id")),
        "conversation_id": _short(payload.get("session_id")),
        "provider": _short(payload.get("custom_llm_provider")),
        "request_model": _short(payload.get("model_group") or payload.get("model")) or "",
        "response_model": _short(payload.get("model")),
        "operation": _short(payload.get("call_type")),
        "input_tokens": int(payload.get("prompt_tokens") or 0),
        "output_tokens": int(payload.get("completion_tokens") or 0),
        "reasoning_tokens": _dict(usage.get("completion_tokens_details")).get("reasoning_tokens"),
        "cached_input_tokens": _dict(usage.get("prompt_tokens_details")).get("cached_tokens"),
        "status_code": (int(code) if code.isdecimal() else None) if failed else 200,
        "error_type": _short(error.get("error_class")) if failed else None,
        "latency_ms": max(0, _ms(payload.get("endTime")) - _ms(payload.get("startTime"))),
        "cost_usd": payload.get("response_cost"),
        "client_ip": _short(payload.get("requester_ip_address") or metadata.get("requester_ip_address")),
        "user_agent": _short(payload.get("user_agent") or metadata.get("user_agent")),
        "finish_reason": _short(_dict(_first(_dict(payload.get("response")).get("choices"))).get("finish_reason")),
    }
    if payload.get("stream") is True and payload.get("completionStartTime"):
        event["ttft_ms"] = max(0, _ms(payload["completionStartTime"]) - _ms(payload.get("startTime")))
    turn = messages_to_content(_list(payload.get("messages")))[2]
    asked = {**_dict(payload.get("model_parameters")), "stream": bool(payload.get("stream"))}
    return event | {"turn_index": turn} | _chosen(asked) | _noted(known)


def _ms(seconds: Any) -> int:
    return round(float(seconds or 0) * 1000)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def texts_asked(data: Mapping[str, Any]) -> Texts:
    """The text of a request's body."""
    body = data.get("messages") or data.get("input") or data.get("prompt")
    told = data.get("system") or data.get("instructions")
    return _texts(body, told=told if isinstance(told, str) else None)


def _texts(asked: Any, *, told: str | None = None, output: str | None = None) -> Texts:
    system, prompt, _ = messages_to_content(_list(asked))
    if isinstance(asked, str) and asked != REDACTED:
        prompt = asked
    if isinstance(_first(asked), str):  # several prompts of a text completion
        prompt = "\n\n".join(part for part in asked if isinstance(part, str))
    return Texts(told or system, prompt, output)


def texts_of(payload: Mapping[str, Any]) -> Texts:
    """The text of a request that LiteLLM has logged."""
    asked = payload.get("messages")
    if isinstance(asked, Mapping):
        asked = asked.get("messages")
    return _texts(asked, output=_said(payload.get("response")))


def _said(response: Any) -> str | None:
    """What the model answered: of several choices the first."""
    if isinstance(response, str):
        return response if response != REDACTED else None
    choice = _dict(_first(_dict(response).get("choices")))
    for found in (_dict(choice.get("message")).get("content"), choice.get("text")):
        if isinstance(found, str):
            return found if found != REDACTED else None
    items = _list(_dict(response).get("output")) or [_dict(response)]
    parts = [p for item in items for p in _list(_dict(item).get("content")) if isinstance(_dict(p).get("text"), str)]
    return "\n\n".join(part["text"] for part in parts) or None
