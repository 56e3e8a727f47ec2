"""`stillwatch decisions add|revoke|approve|kill-switch`: an operator's word, as records for the judge and enforcers."""

from typing import Annotated, Any, Literal

import typer

from detector.cli.orders import (
    TENANT,
    ActionOption,
    By,
    For,
    Reason,
    ScopeArgument,
    ScopeOption,
    Tenant,
    Until,
    ValueArgument,
    Yes,
    expiry_ms,
    now_ms,
    said,
)
from detector.cli.output import confirmed
from detector.cli.verbs import Topics, printing
from detector.operators import Command, Control
from detector.runtime.kafka import orders_out, views
from detector.runtime.printing import printable
from detector.runtime.sources import InputError
from detector.vocabulary import Enforcement


@printing
def add(
    topics: Topics,
    scope: ScopeArgument,
    value: ValueArgument,
    action: ActionOption,
    by: By,
    reason: Reason,
    for_: For = None,
    until: Until = None,
    tenant: Tenant = TENANT,
) -> None:
    """Ask the judge for a decision of your own; it holds until its end."""
    said(value, option="VALUE")
    asked: Any = {"command": "add", "tenant": tenant, "scope": scope, "value": value, "action": action}
    asked |= {"by": said(by, option="--by"), "reason": said(reason, option="--reason")}
    record = Command(**asked, expires_at=expiry_ms(for_, until), at=now_ms())
    orders_out.command(topics.connection, record, key=(scope, value))
    topics.done(record, f"asked the judge to {action} {scope} {printable(value)} of {printable(tenant)}")


def _named(topics: Topics, target: str, *, scope: Any, tenant: str) -> tuple[dict[str, Any], tuple[str, str]]:
    """What a record says of its target, a scope's value or else a decision's id, and the key it is ordered by."""
    if scope is not None:
        return {"tenant": tenant, "scope": scope, "value": target}, (scope, target)
    held = views.find_decision(topics.connection, target)
    return {"tenant": held.tenant, "decision_id": held.decision_id}, (held.scope, held.value)


@printing
def revoke(
    topics: Topics,
    target: Annotated[str, typer.Argument(metavar="ID|VALUE", help="a decision's id, or with --scope a value")],
    by: By,
    reason: Reason,
    scope: ScopeOption = None,
    tenant: Tenant = TENANT,
) -> None:
    """Ask the judge to lift a decision; the same campaign does not give it again."""
    asked: Any = {"command": "revoke", "by": said(by, option="--by"), "reason": said(reason, option="--reason")}
    named, key = _named(topics, target, scope=scope, tenant=tenant)
    record = Command(**asked, **named, at=now_ms())
    orders_out.command(topics.connection, record, key=key)
    topics.done(record, f"asked the judge to revoke {printable(target)}")


@printing
def approve(
    topics: Topics,
    target: Annotated[
        str, typer.Argument(metavar="ID|VALUE", help="a decision's or a campaign alert's id, or with --scope a value")
    ],
    by: By,
    reason: Reason,
    action: Annotated[Literal["challenge", "block"] | None, typer.Option(help="else what policy proposed")] = None,
    scope: ScopeOption = None,
    tenant: Tenant = TENANT,
) -> None:
    """Approve what waits for a human: one decision, or a campaign by its alert."""
    asked: Any = {"command": "approve", "action": action}
    asked |= {"by": said(by, option="--by"), "reason": said(reason, option="--reason")}
    alert = views.alerts(topics.connection).get(target) if scope is None else None
    if alert is not None and alert.kind != "campaign":
        raise InputError(f"alert {target} is {alert.kind}: only a campaign's alert can be approved")
    if alert is not None:
        named: dict[str, Any] = {"tenant": alert.entity.tenant, "alert_id": alert.alert_id}
        key = (alert.entity.scope, alert.entity.value)
    else:
        named, key = _named(topics, target, scope=scope, tenant=tenant)
    record = Command(**asked, **named, at=now_ms())
    orders_out.command(topics.connection, record, key=key)
    topics.done(record, f"asked the judge to approve {printable(target)}")


@printing
def kill_switch(
    topics: Topics,
    enforcement: Annotated[Enforcement, typer.Argument(help="observe_only: decisions are made, none is enforced")],
    by: By,
    reason: Reason,
    yes: Yes = False,
) -> None:
    """Turn the kill switch: the record goes straight to the enforcers, judge or no judge, and to the judges."""
    asked: Any = {"enforcement": enforcement}
    asked |= {"by": said(by, option="--by"), "reason": said(reason, option="--reason")}
    connection = topics.connection
    where = f"{connection.topic('decisions')} on {connection.bootstrap}"
    confirmed(f"Set enforcement to {enforcement} for every tenant of {where}?", yes=yes)
    # What lets less pass counts only if it is newer than what it follows, which another machine's clock may have
    # dated; what switches off waits for no look.
    held = views.board(connection).control if enforcement != "off" else None
    record = Control(**asked, since=max(now_ms(), held.since + 1 if held is not None else 0))
    orders_out.switch(connection, record)
    topics.done(record, f"enforcement is {enforcement}")
