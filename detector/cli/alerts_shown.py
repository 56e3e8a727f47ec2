"""`stillwatch alerts list|show`, wherever the alerts come from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from detector.cli.alert_page import write_page
from detector.cli.common import of_run, read_key
from detector.cli.dossier import from_folder, write_dossier
from detector.cli.forms import Answers, row_of
from detector.cli.options import KeyFile
from detector.cli.output import Listing
from detector.records import Alert
from detector.runtime.explain import read_run
from detector.runtime.revisions import alert_named, latest
from detector.tuning.dossier import CaseFile
from detector.vocabulary import Severity

AlertId = Annotated[str, typer.Argument(metavar="ID", help="an alert's id, or its campaign's")]
Every = Annotated[bool, typer.Option("--all", help="resolved and suppressed ones too")]
OfSeverity = Annotated[Severity | None, typer.Option("--severity", help="only of this severity")]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="only of this tenant")]
InDossier = Annotated[bool, typer.Option("--dossier", help="its campaign in full: Markdown, or JSON by -o")]
Folder = Annotated[Path | None, typer.Option("--in", metavar="DIR", help="a replay's directory; else the topics")]
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


class Source(NamedTuple):
    """Where alerts are read from; nothing is before it is asked for."""

    known: Callable[[], Mapping[str, Alert]]  # the latest revision of each alert
    named: Callable[[str], Alert]  # that of one
    case: Callable[[str, list[str], bytes], CaseFile]  # of an alert, from more inputs, under a key


def in_folder(folder: Path) -> Source:
    """A replay's directory."""

    def known() -> dict[str, Alert]:
        with of_run(folder):
            return latest(read_run(folder).alerts)

    def named(name: str) -> Alert:
        with of_run(folder):
            return alert_named(name, latest(read_run(folder).alerts), place=f"in {folder}")

    def case(alert_id: str, events: list[str], key: bytes) -> CaseFile:
        with of_run(folder):
            return from_folder(alert_id, folder, events=events, key=key)

    return Source(known, named, case)


def add_reading(
    group: typer.Typer,
    verb: Callable[[Callable[..., None]], Callable[..., None]],
    source: Callable[[Any, Path | None], Source],
) -> None:
    """Add `list` and `show` to a group; `verb` makes each one's first parameter, of which `source` is asked."""

    @group.command("list")
    @verb
    def list_(
        answers: Answers,
        every: Every = False,
        severity: OfSeverity = None,
        tenant: OfTenant = None,
        folder: Folder = None,
    ) -> None:
        """List the latest revision of each alert."""
        write_list(answers, source(answers, folder).known(), every=every, severity=severity, tenant=tenant)

    @group.command()
    @verb
    def show(
        answers: Answers,
        alert_id: AlertId,
        dossier: InDossier = False,
        folder: Folder = None,
        events: Events = None,
        key_file: KeyFile = None,
    ) -> None:
        """Show the latest revision of one alert: why, what it would take to be wrong, what was lost, what to do."""
        from_there = source(answers, folder)
        if dossier:
            key, _ = read_key(key_file)
            write_dossier(from_there.case(alert_id, events or [], key), answers.output)
        else:
            write_alert(answers, from_there.named(alert_id))


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


def write_alert(answers: Answers, alert: Alert) -> None:
    """Answer with one alert: a page for people."""
    if answers.form is Listing.human:
        write_page(alert)
    else:
        answers.one(row_of(alert))
