"""`stillwatch doctor`."""

import typer
from rich.text import Text

from detector.cli.common import EXIT_INFRASTRUCTURE, read_key, read_settings
from detector.cli.live import connect, exits
from detector.cli.options import Bootstrap, Config, KeyFile, Output, Prefix, Set
from detector.cli.output import Listing, chosen, console, write_rows
from detector.runtime.kafka.doctor import Line, examine
from detector.runtime.printing import printable

COLUMNS = {"check": "check", "level": "level", "found": "found", "advice": "advice"}
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    key_file: KeyFile = None,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    set_: Set = None,
) -> None:
    """Examine brokers, topics, clock, groups, key, state and disk: one line each, and what to do; 4 if one fails."""
    settings = read_settings(config, set_ or [])
    key, development = read_key(key_file)
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    with exits():
        lines = list(examine(connection, settings, key=None if development else key))
    form = chosen(output)
    if form is Listing.human:
        for line in lines:
            console(wrap=False).print(_text(line))
    else:
        write_rows([line._asdict() for line in lines], COLUMNS, form, nothing="")
    if any(line.level == "fail" for line in lines):
        raise typer.Exit(EXIT_INFRASTRUCTURE)


def _text(line: Line) -> Text:
    said = Text(f"{line.level:<5}", style=STYLES[line.level])
    return said.append(f"{printable(f'{line.check}: {line.found}')}{f'; {line.advice}' if line.advice else ''}", "none")
