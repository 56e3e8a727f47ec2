"""How the verbs that list records answer: the options that say in which form, and the forms."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, Final

import orjson
import typer
from msgspec import Struct

from detector.cli.options import Output
from detector.cli.output import Listing, Row, chosen, write_one, write_rows
from detector.records import encode

Json = Annotated[bool, typer.Option("--json", help="the same as -o json")]
FORM: Final = {"output": (Output, None), "json": (Json, False)}


class Answers:
    """The form in which a verb answers."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """As the options say."""
        self.output: Listing | None = Listing.json if given.get("json") else given.get("output")

    @property
    def form(self) -> Listing:
        """The form of an answer that has an end."""
        return chosen(self.output)

    def rows(self, rows: Sequence[Row], columns: Mapping[str, str], *, nothing: str) -> None:
        """Answer with records."""
        write_rows(rows, columns, self.form, nothing=nothing)

    def one(self, row: Row) -> None:
        """Answer with one record, every field of it."""
        write_one(row, self.form)

    def done(self, record: Struct | Row, sentence: str) -> None:
        """Answer an order: what was written, in a sentence for people."""
        if self.form is Listing.human:
            typer.echo(sentence)
        else:
            self.one(row_of(record) if isinstance(record, Struct) else record)


def row_of(record: Struct) -> dict[str, Any]:
    """A record as it is written, for an answer."""
    row: dict[str, Any] = orjson.loads(encode(record))
    return row


def with_options(
    verb: Callable[..., None],
    options: Mapping[str, tuple[Any, Any]],
    call: Callable[[Mapping[str, Any], Callable[[Any], None]], None],
) -> Callable[..., None]:
    """A verb for the command line: its options without the first parameter, and those of `options` behind them.

    `call` is given all options and the verb, and makes the verb's first argument of them.
    """
    seen = inspect.signature(verb)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]

    @wraps(verb)
    def run(**given: Any) -> None:
        own = {name: value for name, value in given.items() if name not in options}
        call(given, lambda first: verb(first, **own))

    own = list(seen.parameters.values())[1:]
    run.__signature__ = seen.replace(parameters=[*own, *more])  # type: ignore[attr-defined] # inspect reads it
    run.__annotations__ = {p.name: p.annotation for p in (*own, *more)}
    return run


def answering(verb: Callable[..., None]) -> Callable[..., None]:
    """Make a verb that answers with records of files; its first parameter is `Answers`."""
    return with_options(verb, FORM, lambda given, run: run(Answers(given)))
