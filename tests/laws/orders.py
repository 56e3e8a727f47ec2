"""Operators' records for the laws, as the broker appended them."""

import random
from typing import Any

from detector.operators import AllowEntry, Command, Control, Indicator, Label, OperatorRecord, Received
from detector.vocabulary import OperatorKind

TENANT = "default"
START_MS = 1_782_050_400_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def received(record: OperatorRecord, ingest_ms: int) -> Received:
    """A record as the broker appended it at `ingest_ms`."""
    kinds: dict[type, OperatorKind] = {
        AllowEntry: "allow",
        Command: "command",
        Control: "control",
        Indicator: "indicator",
        Label: "label",
    }
    return Received(kinds[type(record)], record, ingest_ms)


def command(name: str, ingest_ms: int, **fields: Any) -> Received:
    """A command of kim's."""
    made = Command(command=name, tenant=TENANT, by="kim", reason="", at=ingest_ms, **fields)  # type: ignore[arg-type]
    return received(made, ingest_ms)


def label(alert_id: str, verdict: str, ingest_ms: int) -> Received:
    """An analyst's word."""
    made = Label(alert_id=alert_id, verdict=verdict, by="kim", at=ingest_ms)  # type: ignore[arg-type]
    return received(made, ingest_ms)


def switch(enforcement: str, ingest_ms: int) -> Received:
    """The kill switch, turned."""
    made = Control(enforcement=enforcement, since=ingest_ms, by="kim", reason="drill")  # type: ignore[arg-type]
    return received(made, ingest_ms)


def exemption(scope: str, value: str, ingest_ms: int, *, end_ms: int, signatures: tuple[str, ...] = ()) -> Received:
    """An allow-list entry."""
    made = AllowEntry(
        tenant=TENANT,
        scope=scope,  # type: ignore[arg-type]
        value=value,
        owner="kim",
        reason="evaluation",
        signatures=signatures,
        expires_at=end_ms,
    )
    return received(made, ingest_ms)


def indicator(kind: str, value: str, ingest_ms: int, *, end_ms: int) -> Received:
    """A finding of others."""
    made = Indicator(
        indicator_id=f"indicator--{kind}",
        tenant=TENANT,
        kind=kind,  # type: ignore[arg-type]
        value=value,
        source="another lab",
        owner="kim",
        reason="",
        expires_at=end_ms,
    )
    return received(made, ingest_ms)


def some_orders(rng: random.Random) -> tuple[Received, ...]:
    """A revoke, exemptions, an added lease, a drill and findings of others, somewhere in the harvest's second half."""
    at = [START_MS + rng.randrange(150, 300) * MINUTE_MS + rng.randrange(MINUTE_MS) for _ in range(6)]
    drill = START_MS + 240 * MINUTE_MS + 1
    return (
        command("revoke", at[0], scope="account", value="h-1"),
        exemption("org", "ho-2", at[1], end_ms=at[1] + 2 * HOUR_MS),
        exemption("payment_fp", "card-1", at[2], end_ms=at[2] + HOUR_MS, signatures=("c1_shared_template",)),
        command("add", at[3], scope="account", value="a-1", action="throttle", expires_at=at[3] + HOUR_MS),
        command("revoke", at[4], scope="account", value="nobody"),
        switch("off", drill),
        switch("on", drill + 20 * MINUTE_MS),
        indicator("template_fp", "t-harvest", START_MS + HOUR_MS, end_ms=START_MS + 3 * HOUR_MS),
        indicator("anchor_fp", f"{7_001:016x}", START_MS + 2 * HOUR_MS, end_ms=START_MS + 9 * HOUR_MS),
    )
