"""`stillwatch topics create|check`."""

from typing import Annotated, Literal

import typer

from detector.cli.common import EXIT_GATE, EXIT_INFRASTRUCTURE, fail, read_settings
from detector.cli.live import connect
from detector.cli.options import Answer, Bootstrap, Config, Prefix, Set
from detector.cli.output import Listing, write_rows
from detector.runtime.kafka.topics import ACCESS_PARTITIONS, TopicError, check_topics, create_topics

COLUMNS = {"topic": "topic", "state": "state", "faults": "faults"}


def topics(
    action: Annotated[Literal["create", "check"], typer.Argument(help="create or check")],
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    access_partitions: Annotated[int, typer.Option(min=1, help="of a new access topic")] = ACCESS_PARTITIONS,
    replication: Annotated[int, typer.Option(help="copies of each partition; -1: as the brokers are set")] = -1,
    set_: Set = None,
    output: Answer = Listing.human,
) -> None:
    """Create the topics that are missing, or check that all of them are as they must be."""
    settings = read_settings(config, set_ or [])
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    found: list[tuple[str, list[str]]] = []
    try:
        if action == "create":
            made = create_topics(connection, settings, access_partitions=access_partitions, replication=replication)
            rows = [{"topic": name, "state": "created", "faults": []} for name in made]
            said = [f"created {name}" for name in made] or ["all topics are there"]
        else:
            found = [(topic, list(faults)) for topic, faults in check_topics(connection, settings)]
            rows = [{"topic": t, "state": "wrong" if faults else "ok", "faults": faults} for t, faults in found]
            said = [f"{topic}: {'; '.join(faults) or 'ok'}" for topic, faults in found]
    except TopicError as wrong:
        raise fail(str(wrong), code=EXIT_INFRASTRUCTURE) from wrong
    if output is Listing.human:
        typer.echo("\n".join(said))
    else:
        write_rows(rows, COLUMNS, output, nothing="")
    if any(faults for _, faults in found):
        raise typer.Exit(EXIT_GATE)
