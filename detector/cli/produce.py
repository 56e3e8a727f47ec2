"""`stillwatch produce FILE`: a log file onto the access topic."""

from typing import Annotated

import typer

from detector.cli.live import connect, finish
from detector.cli.options import Bootstrap, Config, Prefix
from detector.runtime.kafka import produce as engine


def produce(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSONL (.gz, .zst), Parquet, or - for JSONL on stdin")],
    rate: Annotated[float | None, typer.Option(min=0.001, help="records a second; else as fast as it goes")] = None,
    end: Annotated[bool, typer.Option("--end", help="write the end marker to every partition afterwards")] = False,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Put a log file's records on the access topic, as a gateway would."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    done = finish(engine.produce(connection, file, rate=rate, end=end))
    left = f", {done.left_out} over-long or damaged lines left out" if done.left_out else ""
    typer.echo(f"{done.records} records sent to {connection.topic('access')}{left}")
