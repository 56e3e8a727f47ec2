"""What a gateway is asked with and answered: attributes from headers, a lease as headers.

Purpose: one convention for every adapter that answers a gateway's question about a request.
Invariants: a lease that refuses is `challenge` or `block`; a throttled request passes, with
its limits. The caller learns the decision's reason code and nothing of the evidence.
Limits: a gateway must set the attribute headers itself and strip them from what clients send.
"""

from collections.abc import Mapping
from typing import Final

from detector.enforce.client import Answered
from detector.enforce.leases import SCOPES, Lease

PREFIX: Final = "x-stillwatch-"
TENANT: Final = PREFIX + "tenant"
MODEL: Final = PREFIX + "model"
HEADERS: Final = {scope: PREFIX + scope.replace("_", "-") for scope in SCOPES}
_LIMITS: Final = ("requests_per_minute", "tokens_per_minute", "max_output_tokens")
_FLAGS: Final = ("strip_logprobs", "hide_reasoning", "require_kyc")


def attributes_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a request, by scope; names of headers in lower case.

    >>> attributes_of({"x-stillwatch-api-key": "k1", "accept": "*/*"})
    {'api_key': 'k1'}
    """
    return {scope: headers[name] for scope, name in HEADERS.items() if headers.get(name)}


def refuses(lease: Lease | None) -> bool:
    """Whether the request is to be kept out."""
    return lease is not None and lease.action in ("challenge", "block")


def answer_of(lease: Lease | None) -> Answered:
    """How a metric counts the answer."""
    if refuses(lease):
        return "refused"
    return "throttled" if lease is not None and lease.action == "throttle" else "passed"


def status_of(lease: Lease) -> int:
    """The HTTP status of a refusal: the decision's own, else 403."""
    return lease.record.params.http_status or 403


def headers_of(lease: Lease | None) -> dict[str, str]:
    """What a gateway is told beside pass or refuse."""
    if lease is None:
        return {PREFIX + "action": "observe"}
    record, params = lease.record, lease.record.params
    out = {
        PREFIX + "action": lease.action,
        PREFIX + "decision": record.decision_id,
        PREFIX + "reason": record.reason_code,
    }
    for name in _LIMITS:
        limit = getattr(params, name)
        if limit is not None:
            out[PREFIX + name.replace("_", "-")] = str(limit)
    out |= {PREFIX + name.replace("_", "-"): "true" for name in _FLAGS if getattr(params, name)}
    if params.retry_after_s is not None:
        out["retry-after"] = str(params.retry_after_s)
    return out
