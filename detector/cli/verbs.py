"""What the verbs over topics have in common: the options that say where they are, and how an answer is written.

A verb takes `Topics` first and its own options after that; `printing` puts in the rest. Errors
become a sentence and an exit code. The brokers are reached when they are first asked for, so that a wrong option is
told without them.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, wraps
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from msgspec import Struct

from detector.cli.live import connect, exits
from detector.cli.options import Bootstrap, Config, Output, Prefix
from detector.cli.output import Listing, Row, chosen, write_one, write_rows, write_stream
from detector.records import encode
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.reading import follow

Json = Annotated[bool, typer.Option("--json", help="the same as -o json")]
FromBeginning = Annotated[bool, typer.Option("--from-beginning", help="first what the topic holds")]
Limit = Annotated[int | None, typer.Option(min=1, help="end after so many records")]

_PLACE: Final = {"config": (Config, None), "bootstrap": (Bootstrap, None), "prefix": (Prefix, None)}
_FORM: Final = {"output": (Output, None), "json": (Json, False)}


class Topics:
    """The topics of an installation, and the form in which a verb answers."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Nothing is reached yet."""
        self._place = {name: given[name] for name in _PLACE}
        self.output: Listing | None = Listing.json if given.get("json") else given.get("output")

    @property
    def config(self) -> Path | None:
        """The configuration file."""
        return self._place["config"]

    @cached_property
    def connection(self) -> Connection:
        """How to reach the brokers; one of them has let us in. Ends the program with 2 or 4 where that fails."""
        place = dict(self._place)
        return connect(place.pop("config"), **place)

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

    def tail(
        self,
        topic: str,
        read: Callable[[Any], Struct | None],
        columns: Mapping[str, str],
        *,
        from_beginning: bool,
        limit: int | None,
    ) -> None:
        """Answer with a topic's records as they come; `read` gives None for those that are not meant."""
        records = follow(self.connection, topic, from_beginning=from_beginning)
        rows = islice(_rows(map(read, records)), limit)
        write_stream(rows, columns, chosen(self.output, stream=True))


def row_of(record: Struct) -> dict[str, Any]:
    """A record as it is written, for an answer."""
    row: dict[str, Any] = orjson.loads(encode(record))
    return row


def _rows(read: Iterable[Struct | None]) -> Iterator[Row]:
    return (row_of(record) for record in read if record is not None)


def _with(verb: Callable[..., None], options: Mapping[str, tuple[Any, Any]]) -> Callable[..., None]:
    """A verb for the command line: its options without the first parameter, and those of `options` behind them."""
    seen = inspect.signature(verb)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]

    @wraps(verb)
    def run(**given: Any) -> None:
        own = {name: value for name, value in given.items() if name not in options}
        with exits():
            verb(Topics(given), **own)

    own = list(seen.parameters.values())[1:]
    run.__signature__ = seen.replace(parameters=[*own, *more])  # type: ignore[attr-defined] # inspect reads it
    run.__annotations__ = {p.name: p.annotation for p in (*own, *more)}
    return run


def printing(verb: Callable[..., None]) -> Callable[..., None]:
    """Make a verb that answers with records, too."""
    return _with(verb, _FORM | _PLACE)
