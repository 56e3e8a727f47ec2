"""`stillwatch dlq list|show|retry`."""

from typing import Annotated, Any

import typer

from detector.cli.common import EXIT_GATE, EXIT_USAGE, fail
from detector.cli.orders import Yes
from detector.cli.output import confirmed
from detector.cli.verbs import Topics, printing
from detector.records import format_time
from detector.runtime.kafka import dead_letters
from detector.runtime.kafka.dead_letters import Letter
from detector.runtime.sources import InputError

dlq = typer.Typer(help="Dead letters: records that were refused. Their content is never shown.", no_args_is_help=True)

Place = Annotated[str, typer.Argument(metavar="OFFSET", help="a letter's offset, or PARTITION:OFFSET")]
COLUMNS = {
    "reason": "reason",
    "source": "topic",
    "partition": "partition",
    "letters": "letters",
    "first at": "first.offset",
    "last at": "last.offset",
    "last letter": "last.letter",
    "when": "last.at",
}


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.rpartition(":")
    try:
        return int(partition or 0), int(offset)
    except ValueError:
        raise fail(f"{text!r} is no place of a letter: expected OFFSET or PARTITION:OFFSET", code=EXIT_USAGE) from None


def _edge(letter: Letter) -> dict[str, Any]:
    at = format_time(letter.appended_ms)
    return {"offset": letter.source_offset, "letter": f"{letter.partition}:{letter.offset}", "at": at}


@dlq.command("list")
@printing
def list_(
    topics: Topics,
    reason: Annotated[str | None, typer.Option(help="only of this reason")] = None,
) -> None:
    """Count letters by reason and source."""
    found = [letter for letter in dead_letters.letters(topics.connection) if reason in (None, letter.reason)]
    rows = [
        {**group._asdict(), "first": _edge(group.first), "last": _edge(group.last)}
        for group in dead_letters.grouped(found)
    ]
    topics.rows(rows, COLUMNS, nothing="no dead letter")


@dlq.command()
@printing
def show(
    topics: Topics,
    letter: Place,
) -> None:
    """Show what is known of one refused record: where it stood, why, its length and keyed digest."""
    place = _place(letter)
    (found,) = _chosen(dead_letters.letters(topics.connection), [place])
    row = {
        "letter": f"{found.partition}:{found.offset}",
        "appended_at": format_time(found.appended_ms),
        "reason": found.reason,
        "topic": found.topic,
        "partition": found.source_partition,
        "offset": found.source_offset,
        "length": found.length,
        "digest": found.digest,
        "content_kept": bool(found.value),
    }
    topics.one(row | ({"sink": found.sink, "answer": found.answer} if found.sink else {}))


def _chosen(found: list[Letter], places: list[tuple[int, int]]) -> list[Letter]:
    by_place = {(letter.partition, letter.offset): letter for letter in found}
    missing = [place for place in places if place not in by_place]
    if missing:
        raise InputError(f"no letter at {', '.join(f'{p}:{o}' for p, o in missing)}; `stillwatch dlq list` counts them")
    return [by_place[place] for place in dict.fromkeys(places)]


@dlq.command()
@printing
def retry(
    topics: Topics,
    letter: Annotated[
        list[str] | None, typer.Argument(metavar="OFFSET...", help="letters' offsets, or PARTITION:OFFSET")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="or every letter of this reason")] = None,
    yes: Yes = False,
) -> None:
    """Put refused records on the access topic again: after a tenant was configured, or a reader mended."""
    if bool(letter) == (reason is not None):
        raise fail("name letters by their offsets, or --reason, not both", code=EXIT_USAGE)
    places = [_place(text) for text in letter or ()]
    connection = topics.connection
    found = dead_letters.letters(connection)
    wanted = _chosen(found, places) if places else [one for one in found if one.reason == reason]
    confirmed(f"Put {len(wanted)} records on {connection.topic('access')} again?", yes=yes)
    done = dead_letters.retry(connection, wanted)
    row = {"sent": len(done.sent), "gone": len(done.gone), "not_of_the_access_topic": len(done.foreign)}
    topics.one(row)
    if done.gone or done.foreign:
        raise typer.Exit(EXIT_GATE)
