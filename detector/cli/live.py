"""What the verbs that talk to Kafka share: the connection's options, and errors as exit codes."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from aiokafka.errors import KafkaError

from detector.cli.common import EXIT_INFRASTRUCTURE, EXIT_INPUT, EXIT_USAGE, fail
from detector.config import ConfigError
from detector.records import DetectorError
from detector.runtime.kafka.connection import Connection, connection_from
from detector.runtime.sources import InputError

Bootstrap = Annotated[
    str | None, typer.Option(help="brokers, HOST:PORT,... (else STILLWATCH_BOOTSTRAP, else the configuration)")
]
Prefix = Annotated[str | None, typer.Option(help="prefix of the topics' names (else STILLWATCH_TOPIC_PREFIX)")]
Config = Annotated[Path | None, typer.Option(help="settings, TOML; the table kafka has the connection")]
Set = Annotated[list[str] | None, typer.Option("--set", help="override a setting: a.b=value")]

Result = TypeVar("Result")


def read_connection(config: Path | None, *, bootstrap: str | None, prefix: str | None) -> Connection:
    """Read how to reach the brokers; a bad setting ends the program with 2."""
    try:
        return connection_from(config.read_text() if config is not None else "", bootstrap=bootstrap, prefix=prefix)
    except OSError as wrong:
        raise fail(f"configuration {config}: {wrong.strerror or wrong}", code=EXIT_USAGE) from wrong
    except (ConfigError, UnicodeDecodeError) as wrong:
        raise fail(f"{config or 'kafka'}: {wrong}", code=EXIT_USAGE) from wrong


def finish(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end; what goes wrong becomes a message and an exit code."""
    try:
        return asyncio.run(work)
    except InputError as wrong:
        raise fail(str(wrong), code=EXIT_INPUT) from wrong
    except ConfigError as wrong:
        raise fail(str(wrong), code=EXIT_USAGE) from wrong
    except (DetectorError, KafkaError, OSError) as wrong:
        raise fail(f"{type(wrong).__name__}: {wrong}", code=EXIT_INFRASTRUCTURE) from wrong
