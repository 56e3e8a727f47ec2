"""`stillwatch dev kafka`: a broker for developers, without Docker."""

import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from detector.cli.common import EXIT_INFRASTRUCTURE, EXIT_USAGE, fail
from detector.runtime.kafka.broker import Broker
from detector.runtime.kafka.jars import BrokerError


def dev(
    what: Annotated[str, typer.Argument(help="kafka")],
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="port on loopback; else a free one")] = None,
    directory: Annotated[Path | None, typer.Option(help="where its data stays; else it goes at the end")] = None,
) -> None:
    """Run a single-node Kafka on loopback until Ctrl-C."""
    if what != "kafka":
        raise fail(f"dev {what!r}: expected kafka", code=EXIT_USAGE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            TemporaryDirectory(prefix="stillwatch-kafka-") as fleeting,
            Broker(directory or Path(fleeting), port=port) as broker,
        ):
            typer.echo(f"{broker.java}; jars from {broker.jars}")
            typer.echo(f"export STILLWATCH_BOOTSTRAP={broker.bootstrap}")
            signal.pause()
    except BrokerError as wrong:
        raise fail(str(wrong), code=EXIT_INFRASTRUCTURE) from wrong
    except KeyboardInterrupt:
        typer.echo("stopped")
