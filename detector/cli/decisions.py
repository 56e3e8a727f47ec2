"""`stillwatch decisions list|get|tail|simulate`: what holds, why, and what it would do."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from detector.cli.common import read_key
from detector.cli.decisions_orders import add, approve, kill_switch, revoke
from detector.cli.live import Bootstrap, Config, Prefix, connect, exits
from detector.cli.orders import TENANT, ScopeOption, Tenant, now_ms
from detector.cli.output import Listing, Output, Row, chosen, write_one, write_rows, write_stream
from detector.records import Decision, decision_key, encode, format_time
from detector.runtime.kafka import views
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.reading import follow, read_topic
from detector.runtime.printing import json_text
from detector.tuning.simulate import Reach, always, simulate
from detector.vocabulary import Scope

decisions = typer.Typer(help="Decisions: what holds, why, and an operator's word on it.", no_args_is_help=True)
for order, name in ((add, "add"), (revoke, "revoke"), (approve, "approve"), (kill_switch, "kill-switch")):
    decisions.command(name)(order)

COLUMNS = {
    "decision": "decision_id",
    "seq": "seq",
    "state": "state",
    "tenant": "tenant",
    "scope": "scope",
    "value": "value",
    "action": "action",
    "mode": "mode",
    "origin": "origin",
    "expires": "expires_at",
    "approval": "approval.state",
    "campaign": "campaign_id",
}
REACHED = {"requests": "requests", "contained": "contained", "slowed": "slowed"}


def _row(decision: Decision) -> dict[str, Any]:
    row: dict[str, Any] = orjson.loads(encode(decision))
    return row


def _board(connection: Connection, *, shadow: bool) -> views.Board:
    """What holds: of the enforced decisions, or of all that were ever logged."""
    return views.board_of(read_topic(connection, "decision-log")) if shadow else views.board(connection)


Shadow = Annotated[bool, typer.Option("--shadow", help="shadow decisions too: what the decision log says")]


@decisions.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="revoked, expired and lapsed ones too")] = False,
    shadow: Shadow = False,
    tenant: Annotated[str | None, typer.Option(help="only of this tenant")] = None,
    scope: Annotated[Scope | None, typer.Option(help="only of this scope")] = None,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """List the current decision of every key: what enforcers apply now."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    with exits():
        found = _board(connection, shadow=shadow)
    current = [held.decision for held in found.held.values() if held.decision is not None]
    listed = sorted(current if every else found.in_force(now_ms()), key=views.key_of)
    rows = [_row(d) for d in listed if tenant in (None, d.tenant) and scope in (None, d.scope)]
    if found.control is not None and found.control.enforcement != "on":
        typer.echo(f"the kill switch stands at {found.control.enforcement}: enforcers do not block", err=True)
    if found.unreadable:
        typer.echo(f"{found.unreadable} records are no decisions: somebody else writes this topic", err=True)
    write_rows(rows, COLUMNS, chosen(output), nothing="no decision holds")


@decisions.command()
def get(
    target: Annotated[str, typer.Argument(metavar="ID|VALUE", help="a decision's id, or with --scope a value")],
    scope: ScopeOption = None,
    tenant: Tenant = TENANT,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show one key: what its topic says, its history, what made it, and whether it acts now."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    with exits():
        if scope is None:
            key = views.key_of(views.find_decision(connection, target))
        else:
            key = decision_key(tenant=tenant, scope=scope, value=target)
        found = views.dossier(connection, key=key)
    write_one(_dossier_row(found, now_ms()), chosen(output))


def _dossier_row(found: views.Dossier, at_ms: int) -> Row:
    held = found.held
    decision = held.decision if held is not None else None
    acts = decision is not None and decision.state == "active" and decision.effective_at <= at_ms < decision.expires_at
    switched_off = found.control is not None and found.control.enforcement != "on"
    topic: dict[str, Any] = {"state": "absent"}
    if held is not None:
        state = "tombstone" if decision is None else decision.state
        topic = {"state": state, "partition": held.partition, "offset": held.offset}
        topic["appended_at"] = format_time(held.appended_ms)
    briefly = ("seq", "decision_id", "state", "action", "mode", "issued_at", "expires_at", "renewals", "reason_code")
    named = ("alert_id", "revision", "status", "severity", "title", "signature_ids")
    return {
        "key": orjson.loads(found.key),
        "acts_now": acts and not switched_off,
        "kill_switch": orjson.loads(encode(found.control)) if found.control is not None else None,
        "topic": topic,
        "decision": _row(decision) if decision is not None else None,
        "log": [{"offset": at} | {name: _row(d).get(name) for name in briefly} for d, at in found.log],
        "alerts": [{name: orjson.loads(encode(a)).get(name) for name in named} for a in found.alerts],
        "exemptions": [orjson.loads(encode(e)) for e in found.exemptions],
    }


def _records(connection: Connection, topic: str, *, from_beginning: bool) -> Iterator[dict[str, Any]]:
    for record in follow(connection, topic, from_beginning=from_beginning):
        decision = views.decision_of(record)
        if decision is not None:
            yield _row(decision)


@decisions.command()
def tail(
    shadow: Shadow = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="first what the topic holds")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="end after so many records")] = None,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Follow decisions as they are published, until Ctrl-C."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    topic = "decision-log" if shadow else "decisions"
    with exits():
        rows = islice(_records(connection, topic, from_beginning=from_beginning), limit)
        write_stream(rows, COLUMNS, chosen(output, stream=True))


@decisions.command("simulate")
def simulate_(
    inputs: Annotated[list[str], typer.Argument(metavar="IN", help="logs: what the decisions are held against")],
    current: Annotated[
        bool, typer.Option("--current", help="the decisions that hold now, whatever the events' times")
    ] = False,
    top: Annotated[int, typer.Option(min=0, help="show so many decisions, those with most requests")] = 20,
    key_file: Annotated[Path | None, typer.Option(help="file with the fingerprint key, 64 hex digits")] = None,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Say what the logged decisions, shadow ones too, do to a log: requests contained by decision and by tier."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    key, _ = read_key(key_file)
    with exits():
        if current:
            found = always(_board(connection, shadow=True).in_force(now_ms()))
        else:
            found = [decision for decision, _ in views.history(connection)]
        result = simulate(found, inputs, key=key)
    form = chosen(output)
    tiers = [{"tier": name, **reach._asdict()} for name, reach in result.tiers.items()]
    keys = [{**_named(named), **reach._asdict()} for named, reach in _most(result.keys, top)]
    if form in (Listing.json, Listing.jsonl):
        said = {"total": result.total._asdict(), "tiers": tiers, "decisions": keys, "keys": len(result.keys)}
        typer.echo(json_text(said, indent=form is Listing.json))
        return
    write_rows(tiers, {"tier": "tier", **REACHED}, form, nothing="no event")
    write_rows(keys, {"tenant": "tenant", "scope": "scope", "value": "value", **REACHED}, form, nothing="no decision")


def _most(keys: dict[bytes, Reach], top: int) -> list[tuple[bytes, Reach]]:
    return sorted(keys.items(), key=lambda item: (-item[1].requests, item[0]))[:top]


def _named(key: bytes) -> dict[str, str]:
    return dict(zip(("tenant", "scope", "value"), orjson.loads(key), strict=True))
