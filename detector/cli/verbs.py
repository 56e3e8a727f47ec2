"""What the verbs over topics have in common: the options that say where they are, and how an answer is written.

A verb takes `Topics` first and its own options after that; `printing` puts in the rest. Errors
become a sentence and an exit code. The brokers are reached when they are first asked for, so that a wrong option is
told without them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from msgspec import Struct

from detector.cli.forms import FORM, Answers, row_of, with_options
from detector.cli.live import connect, exits
from detector.cli.options import Bootstrap, Config, Prefix
from detector.cli.output import Row, chosen, write_stream
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.reading import follow

FromBeginning = Annotated[bool, typer.Option("--from-beginning", help="first what the topic holds")]
Limit = Annotated[int | None, typer.Option(min=1, help="end after so many records")]

_PLACE: Final = {"config": (Config, None), "bootstrap": (Bootstrap, None), "prefix": (Prefix, None)}


class Topics(Answers):
    """The topics of an installation, and the form in which a verb answers."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Nothing is reached yet."""
        super().__init__(given)
        self._place = {name: given[name] for name in _PLACE}

    @property
    def config(self) -> Path | None:
        """The configuration file."""
        return self._place["config"]

    @cached_property
    def connection(self) -> Connection:
        """How to reach the brokers; one of them has let us in. Ends the program with 2 or 4 where that fails."""
        place = dict(self._place)
        return connect(place.pop("config"), **place)

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


def _rows(read: Iterable[Struct | None]) -> Iterator[Row]:
    return (row_of(record) for record in read if record is not None)


def _call(given: Mapping[str, Any], run: Callable[[Any], None]) -> None:
    with exits():
        run(Topics(given))


def printing(verb: Callable[..., None]) -> Callable[..., None]:
    """Make a verb that answers with records, too."""
    return with_options(verb, FORM | _PLACE, _call)
