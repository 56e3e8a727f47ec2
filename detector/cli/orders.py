"""What the verbs share by which operators write: who, why, until when, about what."""

import time
from typing import Annotated, Literal

import typer

from detector.cli.common import EXIT_USAGE, duration_ms, fail
from detector.encode import DEFAULT_TENANT
from detector.records import SchemaError, parse_time
from detector.vocabulary import Action, LabelVerdict, Scope

By = Annotated[str, typer.Option(envvar="STILLWATCH_OPERATOR", help="who asks for it: a name that can be reached")]
Reason = Annotated[str, typer.Option(help="why, in a sentence: it is kept with the record")]
Tenant = Annotated[str, typer.Option(help="whose")]
ScopeOption = Annotated[Scope | None, typer.Option(help="says that a value is meant, and of what")]
ScopeArgument = Annotated[Scope, typer.Argument(help="which event field is meant")]
ValueArgument = Annotated[str, typer.Argument(metavar="VALUE", help="the event field's own string")]
For = Annotated[str | None, typer.Option("--for", help="how long, such as 30m, 4h or 7d")]
Until = Annotated[str | None, typer.Option(help="or until when, RFC 3339")]
ActionOption = Annotated[Action, typer.Option(help="what is to be done")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask on a terminal")]
TENANT = DEFAULT_TENANT

Verdict = Literal["tp", "fp", LabelVerdict]


def verdict_of(word: Verdict) -> LabelVerdict:
    """An OCSF verdict, or its short form.

    >>> verdict_of("fp")
    'false_positive'
    """
    if word == "tp":
        return "true_positive"
    return "false_positive" if word == "fp" else word


def now_ms() -> int:
    """The clock, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def expiry_ms(for_: str | None, until: str | None) -> int:
    """Read `--for` or `--until`; neither, both, or a time that has passed ends the program with 2."""
    if (for_ is None) == (until is None):
        raise fail("give an end: one of --for (such as 4h) and --until (RFC 3339)", code=EXIT_USAGE)
    if for_ is not None:
        end_ms = now_ms() + duration_ms(for_, option="--for")
    else:
        try:
            end_ms = parse_time(str(until))
        except SchemaError as wrong:
            raise fail(f"--until: {wrong}", code=EXIT_USAGE) from wrong
    if end_ms <= now_ms():
        raise fail("the end has passed already: nothing would hold", code=EXIT_USAGE)
    return end_ms


def said(text: str, *, option: str) -> str:
    """A text that may not be empty."""
    if not text.strip():
        raise fail(f"{option} is empty", code=EXIT_USAGE)
    return text.strip()
