"""SGLang: the server's request log, `--log-requests --log-requests-format json`.

Purpose: `request.finished` lines of a self-hosted model; other lines hold no finished call.
Invariants: a server serves one model, so a request that names none has the server's default
name, `default`.
Limits: no identity but what allowed headers bring; `timestamp` is local time without a zone and
read as UTC (run the server with TZ=UTC); level 1 has no text, level 2 cuts it at 2,048
characters, which spoils fingerprints of long prompts.
Source: SGLang's request logger.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import content_of, joined, settings
from detector.formats.layout import Reads, always, at, find, layout
from detector.formats.values import flag, scaled, short

_DEFAULT_MODEL = "default"
_HEADERS = ("x-account-id", "x-tenant-id", "x-user-id")
_META = "out/meta_info"


def looks(value: Any) -> bool:
    """Whether a JSON value is a line of the request log."""
    event = value.get("event") if type(value) is dict else None
    return type(event) is str and event.startswith("request.") and ("rid" in value or "obj" in value)


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The line, where it tells of a finished request."""
    if value["event"] == "request.finished":
        yield value


def _content(record: dict[str, Any]) -> dict[str, str] | None:
    prompt, output = (joined(find(record, keys=(part, "text"))) for part in ("obj", "out"))
    return content_of(system=None, prompt=prompt, output=output)


def _model(record: dict[str, Any]) -> Any:
    return short(find(record, keys=("obj", "model"))) or _DEFAULT_MODEL


FORMAT = layout(
    "sglang",
    "SGLang request log",
    looks=looks,
    calls=calls,
    table={
        **settings("obj/sampling_params"),
        "event_id": at("rid"),
        "event_time": at("timestamp"),
        "account_id": at(*(f"headers/{name}" for name in _HEADERS)),
        "conversation_id": at("obj/session_params/id", "obj/session_id"),
        "provider": always("self"),
        "request_model": Reads(_model),
        "operation": at("event", to=lambda _: "text_completion"),
        "input_tokens": at(f"{_META}/prompt_tokens"),
        "output_tokens": at(f"{_META}/completion_tokens"),
        "cached_input_tokens": at(f"{_META}/cached_tokens"),
        "reasoning_tokens": at(f"{_META}/reasoning_tokens"),
        "logprobs_requested": at("obj/return_logprob", to=flag),
        "stream": at("obj/stream", to=flag),
        "finish_reason": at(f"{_META}/finish_reason/type", f"{_META}/finish_reason"),
        "latency_ms": at(f"{_META}/e2e_latency", to=scaled(1000)),
        "content": Reads(_content),
    },
    text=("prompt", "output"),
    join="let the gateway set x-account-id and name it in SGLANG_LOG_REQUEST_HEADERS",
)
