"""`stillwatch explain`: why."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.common import EXIT_USAGE, fail, note, of_run, read_key
from detector.cli.options import Answer, KeyFile
from detector.cli.output import Listing, console, write_one
from detector.hashing import key_digest
from detector.records import SchemaError, parse_time
from detector.runtime.explain import as_of, explain_account, explain_alert, explain_event, read_run
from detector.runtime.printing import printable


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
    key_file: KeyFile = None,
    output: Answer = Listing.human,
) -> None:
    """Say why: values, bounds, thresholds, baselines, and what would have cleared it."""
    try:
        at_ms = parse_time(at) if at is not None else None
    except SchemaError as wrong:
        raise fail(f"--at: {wrong}", code=EXIT_USAGE) from wrong
    key, _ = read_key(key_file)
    with of_run(folder):
        run = read_run(folder)
        if run.hash_key != key_digest(key):
            note(
                "note: the run was made with another fingerprint key (--key-file); what accounts share in raw text, "
                "anchors and runs cannot be told"
            )
        lines = {
            What.alert: lambda: explain_alert(as_of(run, at_ms), name),
            What.account: lambda: explain_account(run, name, key=key, at_ms=at_ms),
            What.event: lambda: explain_event(run, name, key=key),
        }[what]()
        said = [printable(line) for line in lines]
    if output is Listing.human:
        console(wrap=False).print("\n".join(said))
    else:
        write_one({"what": what.value, "id": name, "at": at, "said": said}, output)
