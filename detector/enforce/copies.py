"""Copies of the leases: Redis, a webhook, a file.

Purpose: what each store elsewhere is told, in its own convention.
Invariants: whatever is held carries its own end, so that a copy whose source has died
empties itself. To tell a copy the same twice is harmless.
Limits: a webhook's receiver must order by `seq`; a file is written whole.
Source: Redis SET with PXAT; CloudEvents 1.0 structured mode; rename(2) for whole files.
"""

import os
from pathlib import Path
from typing import Final

import orjson
import redis
import urllib3

from detector.enforce.leases import Lease
from detector.enforce.push import CopyError
from detector.enforce.transitions import Key, Transition
from detector.records import encode

REDIS_PREFIX: Final = "stillwatch:dec:"
REDIS_CHANNEL: Final = "stillwatch:dec"
REDIS_CONTROL: Final = "stillwatch:control"
REDIS_TIMEOUT_S: Final = 2.0
SCAN_COUNT: Final = 1_000
WEBHOOK_TIMEOUT_S: Final = 5.0


def _order(transition: Transition) -> bytes:
    """One line for a reader: what holds of a key from now on."""
    tenant, scope, value = transition.key
    head = {"action": "add" if transition.lease else "del", "tenant": tenant, "scope": scope, "value": value}
    if transition.lease is None:
        return orjson.dumps(head)
    return orjson.dumps(head | {"decision": orjson.Fragment(_shown(transition.lease))})


def _shown(lease: Lease) -> bytes:
    """The lease's record, with the action that a consumer is to apply."""
    return encode(lease.record)


class RedisCopy:
    """`SET stillwatch:dec:{tenant}:{scope}:{value} <json> PXAT <ms>`, `DEL`, and a message for each on a channel."""

    def __init__(self, url: str, *, password: str = "") -> None:
        """Nothing connects yet. `url` holds no password."""
        self.client = redis.Redis.from_url(
            url,
            password=password or None,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )

    def reconcile(self, wanted: set[Key]) -> None:
        """Drop our keys that nobody wants. Raises `CopyError`."""
        keep = {redis_key(key).encode() for key in wanted}
        try:
            stray = [k for k in self.client.scan_iter(REDIS_PREFIX + "*", count=SCAN_COUNT) if k not in keep]
            for at in range(0, len(stray), SCAN_COUNT):
                self.client.delete(*stray[at : at + SCAN_COUNT])
        except redis.RedisError as wrong:
            raise CopyError(f"Redis: {type(wrong).__name__}") from wrong

    def take(self, transitions: list[Transition], enforcement: str) -> None:
        """Apply in one round trip. Raises `CopyError`."""
        pipe = self.client.pipeline(transaction=True)
        pipe.set(REDIS_CONTROL, enforcement)
        for transition in transitions:
            name, lease = redis_key(transition.key), transition.lease
            if lease is None:
                pipe.delete(name)
            else:
                pipe.set(name, _shown(lease), pxat=lease.expires_ms)
            pipe.publish(REDIS_CHANNEL, _order(transition))
        try:
            pipe.execute()
        except redis.RedisError as wrong:
            raise CopyError(f"Redis: {type(wrong).__name__}") from wrong


def redis_key(key: Key) -> str:
    """The name of a key's entry.

    >>> redis_key(("default", "account", "a-1"))
    'stillwatch:dec:default:account:a-1'
    """
    return REDIS_PREFIX + ":".join(key)


class FileCopy:
    """A file of JSON lines, one for each lease in force, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        """Nothing is written yet."""
        self.path = path
        self.held: dict[Key, bytes] = {}

    def reconcile(self, wanted: set[Key]) -> None:
        """Hold nothing but what will come. Raises `CopyError`."""
        self.held = {key: raw for key, raw in self.held.items() if key in wanted}

    def take(self, transitions: list[Transition], enforcement: str) -> None:
        """Write the file anew. Raises `CopyError`."""
        held = dict(self.held)
        for transition in transitions:
            if transition.lease is None:
                held.pop(transition.key, None)
            else:
                held[transition.key] = _shown(transition.lease)
        lines = [orjson.dumps({"enforcement": enforcement}), *(held[key] for key in sorted(held))]
        part = self.path.with_name(self.path.name + ".part")
        try:
            with part.open("wb") as file:
                file.write(b"\n".join(lines) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as wrong:
            raise CopyError(f"file {self.path}: {wrong.strerror}") from wrong
        self.held = held


class WebhookCopy:
    """Each change as one CloudEvent (structured mode), posted in order."""

    def __init__(self, url: str, *, token: str = "") -> None:
        """Nothing connects yet."""
        self.url = url
        self.headers = {"Content-Type": "application/cloudevents+json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.pool = urllib3.PoolManager(retries=False, timeout=WEBHOOK_TIMEOUT_S)

    def reconcile(self, wanted: set[Key]) -> None:
        """A receiver is told everything again; what it holds beyond that ends by itself."""

    def take(self, transitions: list[Transition], enforcement: str) -> None:
        """Post each. Raises `CopyError` at the first that is not taken."""
        for transition in transitions:
            lease = transition.lease
            name = f"{lease.record.decision_id}:{lease.record.seq}" if lease else "/".join(transition.key)
            body = orjson.dumps(
                {
                    "specversion": "1.0",
                    "type": "stillwatch.decision" if lease else "stillwatch.decision.ended",
                    "source": "stillwatch",
                    "id": name,
                    "subject": "/".join(transition.key),
                    "datacontenttype": "application/json",
                    "data": orjson.Fragment(_order(transition)),
                    "enforcement": enforcement,
                }
            )
            try:
                answer = self.pool.request("POST", self.url, body=body, headers=self.headers)
            except urllib3.exceptions.HTTPError as wrong:
                raise CopyError(f"webhook: {type(wrong).__name__}") from wrong
            if answer.status >= 300:
                raise CopyError(f"webhook: answered {answer.status}")
