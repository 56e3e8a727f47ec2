"""`stillwatch explain`: why."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from detector.cli.common import EXIT_INPUT, EXIT_USAGE, errors, fail, read_key
from detector.hashing import key_digest
from detector.records import DetectorError, SchemaError, parse_time
from detector.runtime.explain import as_of, explain_account, explain_alert, explain_event, read_run
from detector.runtime.printing import clean


class What(StrEnum):
    """What can be explained."""

    alert = "alert"
    account = "account"
    event = "event"


def explain(
    what: What,
    name: Annotated[str, typer.Argument(metavar="ID", help="an alert's, campaign's, account's or event's id")],
    folder: Annotated[Path, typer.Option("--in", help="a replay's directory")],
    at: Annotated[str | None, typer.Option(help="as of this time, RFC 3339")] = None,
    key_file: Annotated[Path | None, typer.Option(help="file with the run's fingerprint key, 64 hex digits")] = None,
) -> None:
    """Say why: values, bounds, thresholds, baselines, and what would have cleared it."""
    try:
        at_ms = parse_time(at) if at is not None else None
    except SchemaError as wrong:
        raise fail(f"--at: {wrong}", code=EXIT_USAGE) from wrong
    key, _ = read_key(key_file)
    console = Console(soft_wrap=True, highlight=False)
    try:
        run = read_run(folder)
        if run.hash_key != key_digest(key):
            errors.print(
                "note: the run was made with another fingerprint key (--key-file); what accounts share in raw text, "
                "anchors and runs cannot be told",
                soft_wrap=True,
            )
        lines = {
            What.alert: lambda: explain_alert(as_of(run, at_ms), name),
            What.account: lambda: explain_account(run, name, key=key, at_ms=at_ms),
            What.event: lambda: explain_event(run, name, key=key),
        }[what]()
        for line in lines:
            console.print(clean(line))
    except OSError as wrong:
        raise fail(
            f"{wrong.filename}: {wrong.strerror or wrong}; is {folder} a replay's directory?", code=EXIT_INPUT
        ) from wrong
    except DetectorError as wrong:
        raise fail(str(wrong), code=EXIT_INPUT) from wrong
