"""`stillwatch topics create|check`."""

from typing import Annotated

import typer

from detector.cli.common import EXIT_GATE, EXIT_INFRASTRUCTURE, EXIT_USAGE, fail, read_settings
from detector.cli.live import connect
from detector.cli.options import Bootstrap, Config, Prefix, Set
from detector.runtime.kafka.topics import ACCESS_PARTITIONS, TopicError, check_topics, create_topics


def topics(
    action: Annotated[str, typer.Argument(help="create or check")],
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    access_partitions: Annotated[int, typer.Option(min=1, help="of a new access topic")] = ACCESS_PARTITIONS,
    replication: Annotated[int, typer.Option(help="copies of each partition; -1: as the brokers are set")] = -1,
    set_: Set = None,
) -> None:
    """Create the topics that are missing, or check that all of them are as they must be."""
    if action not in ("create", "check"):
        raise fail(f"topics {action!r}: expected create or check", code=EXIT_USAGE)
    settings = read_settings(config, set_ or [])
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    try:
        if action == "create":
            made = create_topics(connection, settings, access_partitions=access_partitions, replication=replication)
            typer.echo("\n".join(f"created {name}" for name in made) or "all topics are there")
            return
        found = check_topics(connection, settings)
    except TopicError as wrong:
        raise fail(str(wrong), code=EXIT_INFRASTRUCTURE) from wrong
    for topic, faults in found:
        typer.echo(f"{topic}: {'; '.join(faults) or 'ok'}")
    if any(faults for _, faults in found):
        raise typer.Exit(EXIT_GATE)
