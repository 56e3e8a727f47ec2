"""`stillwatch alerts list|show|tail|label|resolve`."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from detector.cli.dossier import show_case
from detector.cli.live import Bootstrap, Config, Prefix, connect, exits
from detector.cli.orders import By, Reason, Verdict, now_ms, said, verdict_of
from detector.cli.output import Output, chosen, write_one, write_rows, write_stream
from detector.operators import Command, Label
from detector.records import Alert, encode
from detector.runtime.kafka import orders_out, views
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.reading import follow
from detector.runtime.printing import printable
from detector.runtime.sources import InputError
from detector.vocabulary import Severity

alerts = typer.Typer(help="Alerts: read them, say what they were, close them.", no_args_is_help=True)

AlertId = Annotated[str, typer.Argument(metavar="ID", help="an alert's id")]
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
    "title": "title",
}
CLOSED = ("resolved", "suppressed")


def _row(alert: Alert) -> dict[str, Any]:
    row: dict[str, Any] = orjson.loads(encode(alert))
    return row


@alerts.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="resolved and suppressed ones too")] = False,
    severity: Annotated[Severity | None, typer.Option(help="only of this severity")] = None,
    tenant: Annotated[str | None, typer.Option(help="only of this tenant")] = None,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """List the latest revision of each alert."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    with exits():
        found = views.alerts(connection).values()
    wanted = [
        _row(alert)
        for alert in found
        if (every or alert.status not in CLOSED)
        and severity in (None, alert.severity)
        and tenant in (None, alert.entity.tenant)
    ]
    write_rows(wanted, COLUMNS, chosen(output), nothing="no open alert" if not every else "no alert")


@alerts.command()
def show(
    alert_id: AlertId,
    dossier: Annotated[bool, typer.Option("--dossier", help="its campaign in full: Markdown, or JSON by -o")] = False,
    folder: Annotated[Path | None, typer.Option("--in", help="a replay's directory, for --dossier")] = None,
    events: Annotated[list[str] | None, typer.Option(metavar="IN", help="the log, for --dossier's pathway")] = None,
    key_file: Annotated[Path | None, typer.Option(help="the log's fingerprint key, for --dossier")] = None,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show the latest revision of one alert, every field of it; or its campaign's dossier."""
    if dossier:
        with exits():
            show_case(
                alert_id,
                folder=folder,
                events=events or [],
                key_file=key_file,
                connect=lambda: connect(config, bootstrap=bootstrap, prefix=prefix),
                output=output,
            )
        return
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    with exits():
        write_one(_row(views.find_alert(connection, alert_id)), chosen(output))


def _revisions(connection: Connection, *, from_beginning: bool) -> Iterator[dict[str, Any]]:
    for record in follow(connection, "alerts", from_beginning=from_beginning):
        alert = views.alert_of(record)
        if alert is not None:
            yield _row(alert)


@alerts.command()
def tail(
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="first what the topic holds")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="end after so many revisions")] = None,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Follow every revision as it is published, until Ctrl-C."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    with exits():
        rows = islice(_revisions(connection, from_beginning=from_beginning), limit)
        write_stream(rows, COLUMNS, chosen(output, stream=True))


@alerts.command()
def label(
    alert_id: AlertId,
    verdict: Annotated[Verdict, typer.Argument(help="what it was; tp and fp are short for the usual two")],
    by: By,
    note: Annotated[str | None, typer.Option(help="what is worth remembering")] = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Say what an alert was: the label feeds replay's truth and the estimate of precision."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    word = verdict_of(verdict)
    with exits():
        found = views.find_alert(connection, alert_id)
        record = Label(alert_id=found.alert_id, verdict=word, by=said(by, option="--by"), note=note, at=now_ms())
        orders_out.label(connection, record)
    typer.echo(f"{printable(found.alert_id)}: {word}")


@alerts.command()
def resolve(
    alert_id: AlertId,
    by: By,
    reason: Reason,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Ask the judge to close an alert's case: its detector's decisions are revoked."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    with exits():
        found = views.find_alert(connection, alert_id)
        if found.kind != "campaign":
            raise InputError(f"alert {alert_id} is {found.kind}: only a campaign's case can be resolved")
        record = Command(
            command="resolve",
            tenant=found.entity.tenant,
            alert_id=found.alert_id,
            by=said(by, option="--by"),
            reason=said(reason, option="--reason"),
            at=now_ms(),
        )
        orders_out.command(connection, record, key=(found.entity.scope, found.entity.value))
    typer.echo(f"asked the judge to resolve {printable(found.alert_id)}")
