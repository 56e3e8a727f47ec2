"""The verbs over topics where the extra `kafka` is missing: what they answer from a replay's directory alone."""

from pathlib import Path
from typing import Annotated

import typer

from detector.cli.alerts_shown import (
    AlertId,
    Events,
    Every,
    InDossier,
    OfSeverity,
    OfTenant,
    of_folder,
    write_alert,
    write_list,
)
from detector.cli.common import EXIT_USAGE, fail, of_run, read_key
from detector.cli.dossier import from_folder, write_dossier
from detector.cli.forms import Answers, answering
from detector.cli.options import KeyFile
from detector.cli.simulated import Logs, Top, write_simulated
from detector.runtime.explain import read_run

SAID = "the topics need the extra `kafka`: pip install 'stillwatch[kafka]'; without it there is --in DIR"
Folder = Annotated[Path | None, typer.Option("--in", metavar="DIR", help="a replay's directory")]

alerts = typer.Typer(help="Alerts of a replay; those of the topics need the extra `kafka`.", no_args_is_help=True)
decisions = typer.Typer(help="Decisions of a replay; those of the topics need the extra `kafka`.", no_args_is_help=True)


def _given(folder: Path | None) -> Path:
    if folder is None:
        raise fail(f"--in DIR is missing: {SAID}", code=EXIT_USAGE)
    return folder


@alerts.command("list")
@answering
def list_(
    answers: Answers,
    every: Every = False,
    severity: OfSeverity = None,
    tenant: OfTenant = None,
    folder: Folder = None,
) -> None:
    """List the latest revision of each alert."""
    write_list(answers, of_folder(_given(folder)), every=every, severity=severity, tenant=tenant)


@alerts.command()
@answering
def show(
    answers: Answers,
    alert_id: AlertId,
    dossier: InDossier = False,
    folder: Folder = None,
    events: Events = None,
    key_file: KeyFile = None,
) -> None:
    """Show the latest revision of one alert: why, what it would take to be wrong, what was lost, what to do."""
    place = _given(folder)
    key, _ = read_key(key_file)
    with of_run(place):
        if dossier:
            write_dossier(from_folder(alert_id, place, events=events or [], key=key), answers.output)
        else:
            write_alert(answers, alert_id, of_folder(place), place=f"in {place}")


@decisions.command()
@answering
def simulate(answers: Answers, inputs: Logs, folder: Folder = None, top: Top = 20, key_file: KeyFile = None) -> None:
    """Say what a replay's decisions, shadow ones too, do to a log: requests contained by decision and by tier."""
    place = _given(folder)
    key, _ = read_key(key_file)
    with of_run(place):
        write_simulated(answers, read_run(place).decisions, inputs, top=top, key=key)


def _absent(context: typer.Context) -> None:
    raise fail(f"{context.command_path}: {SAID}", code=EXIT_USAGE)


for group, names in (
    (alerts, ("tail", "label", "resolve")),
    (decisions, ("list", "get", "tail", "add", "revoke", "approve", "caps", "kill-switch")),
):
    for name in names:
        anything = {"ignore_unknown_options": True, "allow_extra_args": True}
        group.command(name, help="Needs the extra `kafka`.", context_settings=anything)(_absent)
