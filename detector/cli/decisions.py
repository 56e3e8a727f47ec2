"""`stillwatch decisions list|get|tail|simulate`: what holds, why, and what it would do."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from detector.cli.common import EXIT_USAGE, fail, of_run, read_key
from detector.cli.decisions_caps import caps
from detector.cli.decisions_orders import add, approve, kill_switch, revoke
from detector.cli.forms import row_of
from detector.cli.options import KeyFile
from detector.cli.orders import TENANT, ScopeOption, Tenant, now_ms
from detector.cli.output import Row
from detector.cli.simulated import Logs, Top, write_simulated
from detector.cli.verbs import FromBeginning, Limit, Topics, printing
from detector.records import Decision, decision_key, encode, format_time
from detector.runtime.explain import read_run
from detector.runtime.kafka import views
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.reading import read_topic
from detector.tuning.simulate import always
from detector.vocabulary import Scope

decisions = typer.Typer(help="Decisions: what holds, why, and an operator's word on it.", no_args_is_help=True)
for order, name in (
    (add, "add"),
    (revoke, "revoke"),
    (approve, "approve"),
    (kill_switch, "kill-switch"),
    (caps, "caps"),
):
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


def _board(connection: Connection, *, shadow: bool) -> views.Board:
    """What holds: of the enforced decisions, or of all that were ever logged."""
    return views.board_of(read_topic(connection, "decision-log")) if shadow else views.board(connection)


Shadow = Annotated[bool, typer.Option("--shadow", help="shadow decisions too: what the decision log says")]


@decisions.command("list")
@printing
def list_(
    topics: Topics,
    every: Annotated[bool, typer.Option("--all", help="revoked, expired and lapsed ones too")] = False,
    shadow: Shadow = False,
    tenant: Annotated[str | None, typer.Option(help="only of this tenant")] = None,
    scope: Annotated[Scope | None, typer.Option(help="only of this scope")] = None,
) -> None:
    """List the current decision of every key: what enforcers apply now."""
    found = _board(topics.connection, shadow=shadow)
    current = [held.decision for held in found.held.values() if held.decision is not None]
    listed = sorted(current if every else found.in_force(now_ms()), key=views.key_of)
    rows = [row_of(d) for d in listed if tenant in (None, d.tenant) and scope in (None, d.scope)]
    if found.control is not None and found.control.enforcement != "on":
        typer.echo(f"the kill switch stands at {found.control.enforcement}: enforcers do not block", err=True)
    if found.unreadable:
        typer.echo(f"{found.unreadable} records are no decisions: somebody else writes this topic", err=True)
    topics.rows(rows, COLUMNS, nothing="no decision holds" + ("" if every else "; --all lists those that ended"))


@decisions.command()
@printing
def get(
    topics: Topics,
    target: Annotated[str, typer.Argument(metavar="ID|VALUE", help="a decision's id, or with --scope a value")],
    scope: ScopeOption = None,
    tenant: Tenant = TENANT,
) -> None:
    """Show one key: what its topic says, its history, what made it, and whether it acts now."""
    if scope is None:
        key = views.key_of(views.find_decision(topics.connection, target))
    else:
        key = decision_key(tenant=tenant, scope=scope, value=target)
    topics.one(_dossier_row(views.dossier(topics.connection, key=key), now_ms()))


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
        "decision": row_of(decision) if decision is not None else None,
        "log": [{"offset": at} | {name: row_of(d).get(name) for name in briefly} for d, at in found.log],
        "alerts": [{name: orjson.loads(encode(a)).get(name) for name in named} for a in found.alerts],
        "exemptions": [orjson.loads(encode(e)) for e in found.exemptions],
    }


@decisions.command()
@printing
def tail(topics: Topics, shadow: Shadow = False, from_beginning: FromBeginning = False, limit: Limit = None) -> None:
    """Follow decisions as they are published, until Ctrl-C."""
    topic = "decision-log" if shadow else "decisions"
    topics.tail(topic, views.decision_of, COLUMNS, from_beginning=from_beginning, limit=limit)


@decisions.command("simulate")
@printing
def simulate_(
    topics: Topics,
    inputs: Logs,
    current: Annotated[
        bool, typer.Option("--current", help="the decisions that hold now, whatever the events' times")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--in", metavar="DIR", help="a replay's decisions; else those of the topics")
    ] = None,
    top: Top = 20,
    key_file: KeyFile = None,
) -> None:
    """Say what the logged decisions, shadow ones too, do to a log: requests contained by decision and by tier."""
    key, _ = read_key(key_file)
    write_simulated(topics, _held_against(topics, folder, current=current), inputs, top=top, key=key)


def _held_against(topics: Topics, folder: Path | None, *, current: bool) -> list[Decision]:
    """The decisions to simulate: of a replay, or of the topics; all of them at their times, or those of now at all."""
    if folder is not None and current:
        raise fail("--current asks the topics, --in a replay: give one of them", code=EXIT_USAGE)
    if folder is not None:
        with of_run(folder):
            return list(read_run(folder).decisions)
    if current:
        return always(_board(topics.connection, shadow=True).in_force(now_ms()))
    return [decision for decision, _ in views.history(topics.connection)]
