"""`stillwatch alerts list|show|tail|label|resolve`."""

from pathlib import Path
from typing import Annotated

import typer

from detector.cli.alerts_shown import COLUMNS, AlertId, Source, add_reading, in_folder
from detector.cli.dossier_topics import from_topics
from detector.cli.orders import By, Reason, Verdict, now_ms, said, verdict_of
from detector.cli.verbs import FromBeginning, Limit, Topics, printing
from detector.operators import Command, Label
from detector.runtime.kafka import orders_out, views
from detector.runtime.printing import printable
from detector.runtime.sources import InputError

alerts = typer.Typer(help="Alerts: read them, say what they were, close them.", no_args_is_help=True)


def _source(topics: Topics, folder: Path | None) -> Source:
    if folder is not None:
        return in_folder(folder)
    there = topics.connection
    return Source(
        lambda: views.alerts(there),
        lambda name: views.find_alert(there, name),
        lambda alert_id, events, key: from_topics(alert_id, there, events=events, key=key),
    )


add_reading(alerts, printing, _source)


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
