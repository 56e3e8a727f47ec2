"""`stillwatch allow add|remove|list|check`."""

from typing import Annotated, Any

import typer

from detector.cli.common import EXIT_USAGE, fail
from detector.cli.forms import row_of
from detector.cli.orders import (
    TENANT,
    For,
    Reason,
    ScopeArgument,
    Tenant,
    Until,
    ValueArgument,
    expiry_ms,
    now_ms,
    said,
)
from detector.cli.verbs import Topics, printing
from detector.operators import AllowEntry
from detector.records import decision_key
from detector.runtime.kafka import orders_out, views
from detector.runtime.printing import printable
from detector.signatures.registry import BY_ID

allow = typer.Typer(help="The allow-list: exemptions, each with an owner and an end.", no_args_is_help=True)

Signatures = Annotated[
    list[str] | None, typer.Option("--signature", help="exempt only from what this one says; may be repeated")
]
COLUMNS = {
    "state": "state",
    "tenant": "tenant",
    "scope": "scope",
    "value": "value",
    "signatures": "signatures",
    "owner": "owner",
    "expires": "expires_at",
    "reason": "reason",
}
MATCHES = {"match": "match", "id": "id", "state": "state", "action": "action", "title": "title"}


def _known(signatures: list[str] | None) -> tuple[str, ...]:
    unknown = sorted(set(signatures or ()) - set(BY_ID))
    if unknown:
        raise fail(f"no signature {', '.join(unknown)}; there are: {', '.join(sorted(BY_ID))}", code=EXIT_USAGE)
    return tuple(sorted(set(signatures or ())))


@allow.command()
@printing
def add(
    topics: Topics,
    scope: ScopeArgument,
    value: ValueArgument,
    owner: Annotated[str, typer.Option(help="who answers for it")],
    reason: Reason,
    for_: For = None,
    until: Until = None,
    signature: Signatures = None,
    tenant: Tenant = TENANT,
) -> None:
    """Exempt a key until a time; decisions that it covers are revoked at once."""
    made: Any = {"tenant": tenant, "scope": scope, "value": value, "signatures": _known(signature)}
    made |= {"owner": said(owner, option="--owner"), "reason": said(reason, option="--reason")}
    entry = AllowEntry(**made, expires_at=expiry_ms(for_, until))
    orders_out.allow(topics.connection, entry)
    topics.done(entry, f"exempt: {scope} {printable(value)} of {printable(tenant)}")


@allow.command()
@printing
def remove(topics: Topics, scope: ScopeArgument, value: ValueArgument, tenant: Tenant = TENANT) -> None:
    """Take an exemption back."""
    held = decision_key(tenant=tenant, scope=scope, value=value) in views.exemptions(topics.connection)
    orders_out.disallow(topics.connection, tenant=tenant, scope=scope, value=value)
    said = f"{'no longer exempt' if held else 'was not exempt'}: {scope} {printable(value)} of {printable(tenant)}"
    topics.done({"tenant": tenant, "scope": scope, "value": value, "was_exempt": held}, said)


@allow.command("list")
@printing
def list_(topics: Topics, every: Annotated[bool, typer.Option("--all", help="expired ones too")] = False) -> None:
    """List the exemptions that hold."""
    entries = views.exemptions(topics.connection).values()
    now = now_ms()
    rows = [
        {"state": "holds" if entry.expires_at > now else "expired", **row_of(entry)}
        for entry in sorted(entries, key=lambda e: (e.expires_at, views.key_of(e)))
        if every or entry.expires_at > now
    ]
    topics.rows(rows, COLUMNS, nothing="no exemption holds")


@allow.command()
@printing
def check(
    topics: Topics,
    scope: ScopeArgument,
    value: ValueArgument,
    signature: Signatures = None,
    tenant: Tenant = TENANT,
) -> None:
    """Say what an exemption would cover: decisions under its key, and alerts that name it.

    An organisation's or payment's exemption frees its accounts too; which those are the judge knows, not the topics.
    """
    made: Any = {"tenant": tenant, "scope": scope, "value": value, "signatures": _known(signature)}
    entry = AllowEntry(**made, owner="", reason="", expires_at=0)
    now = now_ms()
    held = views.exemptions(topics.connection).get(views.key_of(entry))
    decisions = views.board(topics.connection).in_force(now)
    alerts = views.alerts(topics.connection).values()
    rows = [
        {"match": "exemption", "id": "", "state": "holds", "title": e.reason}
        for e in (held,)
        if e is not None and e.expires_at > now
    ]
    rows += [
        {"match": "decision", "id": d.decision_id, "state": d.state, "action": d.action, "title": d.reason}
        for d in decisions
        if views.covers(entry, d)
    ]
    rows += [
        {"match": "alert", "id": a.alert_id, "state": a.status, "action": a.recommended_action, "title": a.title}
        for a in alerts
        if views.touches(entry, a)
    ]
    topics.rows(rows, MATCHES, nothing="nothing that the topics hold now")
