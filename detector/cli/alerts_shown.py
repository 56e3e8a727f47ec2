"""What `stillwatch alerts list|show` answers, wherever the alerts come from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.alert_page import write_page
from detector.cli.common import of_run
from detector.cli.forms import Answers, row_of
from detector.cli.output import Listing
from detector.records import Alert
from detector.runtime.explain import read_run
from detector.runtime.revisions import alert_named, latest
from detector.vocabulary import Severity

AlertId = Annotated[str, typer.Argument(metavar="ID", help="an alert's id, or its campaign's")]
Every = Annotated[bool, typer.Option("--all", help="resolved and suppressed ones too")]
OfSeverity = Annotated[Severity | None, typer.Option("--severity", help="only of this severity")]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="only of this tenant")]
InDossier = Annotated[bool, typer.Option("--dossier", help="its campaign in full: Markdown, or JSON by -o")]
Events = Annotated[list[str] | None, typer.Option(metavar="IN", help="the log, for --dossier's pathway")]
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


def of_folder(folder: Path) -> dict[str, Alert]:
    """The latest revision of each alert of a replay."""
    with of_run(folder):
        return latest(read_run(folder).alerts)


def write_list(
    answers: Answers, known: Mapping[str, Alert], *, every: bool, severity: Severity | None, tenant: str | None
) -> None:
    """Answer with the alerts that are wanted."""
    wanted = [
        row_of(alert)
        for alert in known.values()
        if (every or alert.status not in CLOSED)
        and severity in (None, alert.severity)
        and tenant in (None, alert.entity.tenant)
    ]
    answers.rows(wanted, COLUMNS, nothing="no open alert" if not every else "no alert")


def write_alert(answers: Answers, name: str, known: Mapping[str, Alert], *, place: str) -> None:
    """Answer with one alert: a page for people. Raises `InputError` where there is none."""
    alert = alert_named(name, known, place=place)
    if answers.form is Listing.human:
        write_page(alert)
    else:
        answers.one(row_of(alert))
