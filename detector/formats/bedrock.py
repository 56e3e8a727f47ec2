"""Amazon Bedrock: model invocation logs, as delivered to S3 or CloudWatch.

Purpose: one ModelInvocationLog a call, with the bodies of request and reply.
Invariants: streamed replies are arrays of deltas and are put together. The account is the
caller's ARN, the organisation the AWS account.
Limits: no address, user agent or access key (join CloudTrail by the request's id); bodies over
100 KB stand in S3 and are not followed. `timestamp` is when the call was made.
Source: AWS' documentation of model invocation logging, Converse and InvokeModel.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.bodies import opened, settings, talk
from detector.formats.layout import Reads, at, find, layout
from detector.formats.values import lenient, operation, scaled, short, tail

_SCHEMA = "ModelInvocationLog"
_REGIONS = frozenset({"us", "eu", "apac", "global", "us-gov", "jp", "au", "ca"})


def looks(value: Any) -> bool:
    """Whether a JSON value is an invocation log."""
    if type(value) is not dict:
        return False
    return value.get("schemaType") == _SCHEMA or ("modelId" in value and "requestId" in value and "operation" in value)


def calls(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The log with its bodies opened."""
    yield opened(value, parts={"body": "input/inputBodyJson", "reply": "output/outputBodyJson"})


def _provider(record: dict[str, Any]) -> str | None:
    """The model's maker, which begins its id, behind a region where the call crosses some."""
    name = lenient(tail)(record.get("modelId"))
    parts = str(name or "").split(".")
    maker = parts[1] if parts[0] in _REGIONS and len(parts) > 1 else parts[0]
    return lenient(short)(maker if len(parts) > 1 else None)


def _streamed(name: Any) -> bool | None:
    return name.endswith("Stream") if type(name) is str else None


def _latency_ms(record: dict[str, Any]) -> int | None:
    reply = record.get("reply")
    for part in reversed(reply) if type(reply) is list else (reply,):
        for keys in (("metrics", "latencyMs"), ("metadata", "metrics", "latencyMs")):
            found: int | None = lenient(scaled(1))(find(part, keys=keys))
            if found is not None:
                return found
    return None


_USAGE = "reply/usage"

FORMAT = layout(
    "bedrock",
    "Amazon Bedrock model invocation log",
    looks=looks,
    calls=calls,
    table={
        **settings("body", "body/inferenceConfig", "body/textGenerationConfig"),
        **talk(request="body", reply="reply"),
        "event_id": at("requestId"),
        "event_time": at("timestamp"),
        "account_id": at("identity/arn"),
        "org_id": at("accountId"),
        "provider": Reads(_provider),
        "request_model": at("modelId", to=tail),
        "operation": at("operation", to=operation),
        "input_tokens": at("input/inputTokenCount"),
        "output_tokens": at("output/outputTokenCount"),
        "cached_input_tokens": at(
            "input/cacheReadInputTokenCount", f"{_USAGE}/cacheReadInputTokens", f"{_USAGE}/cache_read_input_tokens"
        ),
        "stream": at("operation", to=_streamed),
        "error_type": at("errorCode"),
        "latency_ms": Reads(_latency_ms),
    },
    text=("prompt", "system", "output"),
    join="join CloudTrail by requestId for sourceIPAddress, userAgent and accessKeyId, under an object `stillwatch`",
)
