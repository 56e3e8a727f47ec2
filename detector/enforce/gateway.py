"""A limiter inside a gateway's process: asks about each request, tells what became of it.

Purpose: what a gateway's plug-in needs beside its own API: the lease that a request falls
under, the pace that a throttle allows, what to answer, and how the event says it.
Invariants: a challenge or block refuses; a throttle refuses what is above its requests or
tokens of this minute, and passes the rest with its limits. What an error of ours is worth
is `failure_mode`'s matter: by default it lets requests pass. A refusal is an event too.
Limits: minutes are this process's own: of several gateways each allows the whole pace.
Attributes that are made of text are looked up only while a lease is about such.
Source: the safety policy's ladder; the contract's `disposition` and `decision_id`.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from detector import shim
from detector.enforce.answers import status_of
from detector.enforce.client import DecisionClient, now_ms
from detector.enforce.leases import Lease
from detector.enforce.recorder import Texts
from detector.records import DecisionParams

MINUTE_MS: Final = 60_000
TOO_MANY: Final = 429
RETRY_AFTER_S: Final = 60
# The fields of an event that name what a decision may be about; by scope.
FIELDS: Final = {
    "account": "account_id",
    "api_key": "api_key_id",
    "org": "org_id",
    "end_user": "end_user_id",
    "subnet": "client_ip",
    "payment_fp": "payment_fp",
    "device_fp": "device_fp",
    "ja4": "ja4",
    "system_prompt_fp": "system_prompt_fp",
    "template_fp": "template_fp",
    "anchor_fp": "anchor_fps",
}
TEXT_SCOPES: Final = ("system_prompt_fp", "template_fp", "anchor_fp")
DISPOSITIONS: Final = {"throttle": "throttled", "challenge": "challenged", "block": "blocked"}


class Answer(NamedTuple):
    """What to do with a request. `status` is that of a refusal, 0 lets it pass."""

    status: int
    lease: Lease | None

    @property
    def disposition(self) -> str:
        """What the event says was done."""
        return DISPOSITIONS[self.lease.action] if self.lease is not None and self.status else "allowed"

    @property
    def decision_id(self) -> str | None:
        """By which decision."""
        return self.lease.record.decision_id if self.lease is not None and self.lease.rank else None

    @property
    def params(self) -> DecisionParams:
        """The limits that a request which passes has."""
        return self.lease.record.params if self.lease is not None and self.lease.rank else DecisionParams()

    @property
    def headers(self) -> dict[str, str]:
        """What the client of a refused request is told beside: when to come again, and which decision to name."""
        if self.lease is None or not self.status:
            return {}
        after_s = self.params.retry_after_s or (RETRY_AFTER_S if self.status == TOO_MANY else None)
        told = {"x-stillwatch-decision": self.lease.record.decision_id}
        return told | ({"retry-after": str(after_s)} if after_s else {})


PASS: Final = Answer(0, None)


class Pace:
    """Requests and tokens of the current minute, by what a lease is about."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._minute = 0
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._tokens: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()

    def _at(self, at_ms: int) -> None:
        if at_ms // MINUTE_MS != self._minute:
            self._minute = at_ms // MINUTE_MS
            self._requests.clear()
            self._tokens.clear()

    def admits(self, lease: Lease, *, at_ms: int) -> bool:
        """Count a request; say whether the lease lets it pass."""
        key, params = _key_of(lease), lease.record.params
        with self._lock:
            self._at(at_ms)
            if params.tokens_per_minute is not None and self._tokens[key] >= params.tokens_per_minute:
                return False
            if params.requests_per_minute is not None and self._requests[key] >= params.requests_per_minute:
                return False
            self._requests[key] += 1
        return True

    def spend(self, lease: Lease, tokens: int, *, at_ms: int) -> None:
        """Count the tokens of a request that passed."""
        with self._lock:
            self._at(at_ms)
            self._tokens[_key_of(lease)] += tokens


def _key_of(lease: Lease) -> tuple[str, str, str]:
    return lease.record.tenant, lease.record.scope, lease.record.value


class Gateway:
    """A client of decisions, and the pace of those who are throttled."""

    def __init__(self, client: DecisionClient, *, key: bytes, tenant: str = "default") -> None:
        """Requests are those of one tenant; `key` is the fingerprints'."""
        self.client, self.key, self.tenant = client, key, tenant
        self.pace = Pace()

    def ask(self, event: Mapping[str, Any], texts: Texts) -> Answer:
        """What to do with a request, of which `event` has the fields that are known before it is answered.

        Raises `UnavailableError` under `failure_mode="closed"` only.
        """
        fields = dict(event)
        if any(self.client.table.holds(scope) for scope in TEXT_SCOPES):
            fields |= shim.fingerprint(system=texts.system, prompt=texts.prompt, output=None, key=self.key)
        attributes = {scope: fields[name] for scope, name in FIELDS.items() if fields.get(name)}
        lease = self.client.lookup(attributes, tenant=self.tenant, model=str(event.get("request_model", "")))
        if lease is None or lease.action == "observe":
            return Answer(0, lease)
        if lease.action == "throttle":
            return Answer(0 if self.pace.admits(lease, at_ms=now_ms()) else TOO_MANY, lease)
        return Answer(status_of(lease), lease)

    def spent(self, answer: Answer, tokens: int) -> None:
        """A request that passed has taken so many tokens."""
        if answer.lease is not None and answer.lease.action == "throttle":
            self.pace.spend(answer.lease, tokens, at_ms=now_ms())
