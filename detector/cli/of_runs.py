"""The verbs over topics where the extra `kafka` is missing: what they answer from a replay's directory alone."""

from pathlib import Path

import typer

from detector.cli.alerts_shown import Folder, add_reading, in_folder
from detector.cli.common import EXIT_USAGE, fail, of_run, read_key
from detector.cli.forms import Answers, answering
from detector.cli.options import KeyFile
from detector.cli.simulated import Logs, Top, write_simulated
from detector.runtime.explain import read_run

SAID = "the topics need the extra `kafka`: pip install 'stillwatch[kafka]'; without it there is --in DIR"

alerts = typer.Typer(help="Alerts of a replay; those of the topics need the extra `kafka`.", no_args_is_help=True)
decisions = typer.Typer(help="Decisions of a replay; those of the topics need the extra `kafka`.", no_args_is_help=True)


def _given(folder: Path | None) -> Path:
    if folder is None:
        raise fail(f"--in DIR is missing: {SAID}", code=EXIT_USAGE)
    return folder


add_reading(alerts, answering, lambda _, folder: in_folder(_given(folder)))


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
