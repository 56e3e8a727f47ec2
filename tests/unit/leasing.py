"""Decisions for tests of what consumes them."""

from detector.enforce.leases import LeaseTable
from detector.records import Decision, decision_key, encode

HOUR = 3_600_000


def decision(value: str = "a-1", **more: object) -> Decision:
    fields = {
        "decision_id": f"d-{value}",
        "seq": 1,
        "tenant": "default",
        "scope": "account",
        "value": value,
        "action": "challenge",
        "issued_at": 0,
        "effective_at": 0,
        "expires_at": 4 * HOUR,
        "reason_code": "campaign",
        "reason": "r",
        "config_hash": "c",
        "mode": "enforce",
    }
    return Decision(**{**fields, **more})  # type: ignore[arg-type]


def put(table: LeaseTable, *made: Decision) -> list[bool]:
    return [table.apply(decision_key(tenant=d.tenant, scope=d.scope, value=d.value), encode(d)) for d in made]
