"""`stillwatch alerts list|show|tail|label|resolve`."""

from pathlib import Path
from typing import Annotated

import typer

from detector.cli.alert_page import write_page
from detector.cli.common import of_run
from detector.cli.dossier import show_case
from detector.cli.options import KeyFile
from detector.cli.orders import By, Reason, Verdict, now_ms, said, verdict_of
from detector.cli.output import Listing
from detector.cli.verbs import FromBeginning, Limit, Topics, printing, row_of
from detector.operators import Command, Label
from detector.records import Alert
from detector.runtime.explain import read_run
from detector.runtime.kafka import orders_out, views
from detector.runtime.printing import printable
from detector.runtime.sources import InputError
from detector.vocabulary import Severity

alerts = typer.Typer(help="Alerts: read them, say what they were, close them.", no_args_is_help=True)

AlertId = Annotated[str, typer.Argument(metavar="ID", help="an alert's id, or its campaign's")]
COLUMNS = {
    "alert": "alert_id",
    "rev": "revision",
    "status": "status",
    "severity": "severity",
    "kind": "kind",
    "tenant": "entity.tenant",
    "entity": "entity.value",
    "detected": "detected_at",
    "mode": "mode",
    "accounts": "campaign.accounts",
    "requests": "damage.requests",
    "title": "title",
}
CLOSED = ("resolved", "suppressed")
Folder = Annotated[Path | None, typer.Option("--in", metavar="DIR", help="a replay's directory; else the topics")]


def _known(topics: Topics, folder: Path | None) -> dict[str, Alert]:
    """The latest revision of each alert, of a replay or of the topics."""
    if folder is None:
        return views.alerts(topics.connection)
    with of_run(folder):
        return views.latest(read_run(folder).alerts)


@alerts.command("list")
@printing
def list_(
    topics: Topics,
    every: Annotated[bool, typer.Option("--all", help="resolved and suppressed ones too")] = False,
    severity: Annotated[Severity | None, typer.Option(help="only of this severity")] = None,
    tenant: Annotated[str | None, typer.Option(help="only of this tenant")] = None,
    folder: Folder = None,
) -> None:
    """List the latest revision of each alert."""
    wanted = [
        row_of(alert)
        for alert in _known(topics, folder).values()
        if (every or alert.status not in CLOSED)
        and severity in (None, alert.severity)
        and tenant in (None, alert.entity.tenant)
    ]
    topics.rows(wanted, COLUMNS, nothing="no open alert" if not every else "no alert")


@alerts.command()
@printing
def show(
    topics: Topics,
    alert_id: AlertId,
    dossier: Annotated[bool, typer.Option("--dossier", help="its campaign in full: Markdown, or JSON by -o")] = False,
    folder: Folder = None,
    events: Annotated[list[str] | None, typer.Option(metavar="IN", help="the log, for --dossier's pathway")] = None,
    key_file: KeyFile = None,
) -> None:
    """Show the latest revision of one alert: why, what it would take to be wrong, what was lost, what to do."""
    if dossier:
        show_case(
            alert_id,
            folder=folder,
            events=events or [],
            key_file=key_file,
            connect=lambda: topics.connection,
            output=topics.output,
        )
        return
    place = f"in {folder}" if folder is not None else f"on {topics.connection.topic('alerts')}"
    alert = views.alert_named(alert_id, _known(topics, folder), place=place)
    if topics.form is Listing.human:
        write_page(alert)
    else:
        topics.one(row_of(alert))


@alerts.command()
@printing
def tail(topics: Topics, from_beginning: FromBeginning = False, limit: Limit = None) -> None:
    """Follow every revision as it is published, until Ctrl-C."""
    topics.tail("alerts", views.alert_of, COLUMNS, from_beginning=from_beginning, limit=limit)


@alerts.command()
@printing
def label(
    topics: Topics,
    alert_id: AlertId,
    verdict: Annotated[Verdict, typer.Argument(help="what it was; tp and fp are short for the usual two")],
    by: By,
    note: Annotated[str | None, typer.Option(help="what is worth remembering")] = None,
) -> None:
    """Say what an alert was: the label feeds replay's truth and the estimate of precision."""
    word, name = verdict_of(verdict), said(by, option="--by")
    found = views.find_alert(topics.connection, alert_id)
    record = Label(alert_id=found.alert_id, verdict=word, by=name, note=note, at=now_ms())
    orders_out.label(topics.connection, record)
    topics.done(record, f"{printable(found.alert_id)}: {word}")


@alerts.command()
@printing
def resolve(topics: Topics, alert_id: AlertId, by: By, reason: Reason) -> None:
    """Ask the judge to close an alert's case: its detector's decisions are revoked."""
    name, why = said(by, option="--by"), said(reason, option="--reason")
    found = views.find_alert(topics.connection, alert_id)
    if found.kind != "campaign":
        raise InputError(
            f"alert {alert_id} is {found.kind}: only a campaign's case can be resolved; what it tells of is over with "
            "its hour, and `stillwatch alerts label` says what it was"
        )
    record = Command(
        command="resolve", tenant=found.entity.tenant, alert_id=found.alert_id, by=name, reason=why, at=now_ms()
    )
    orders_out.command(topics.connection, record, key=(found.entity.scope, found.entity.value))
    topics.done(record, f"asked the judge to resolve {printable(found.alert_id)}")
