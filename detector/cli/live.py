"""What the verbs that talk to Kafka share: the connection's options, and errors as exit codes."""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from aiokafka.errors import KafkaError
from kafka.errors import KafkaError as KafkaPythonError

from detector.cli.common import EXIT_INFRASTRUCTURE, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_USAGE, fail
from detector.records import ConfigError, DetectorError, SchemaError
from detector.runtime.kafka.connection import Connection, connection_from
from detector.runtime.kafka.reach import reach
from detector.runtime.logs import LogFormat
from detector.runtime.printing import printable
from detector.runtime.sources import InputError

LogForm = Annotated[LogFormat, typer.Option("--log-format", help="auto: text on a terminal, else JSON")]

Result = TypeVar("Result")


def read_connection(config: Path | None, *, bootstrap: str | None, prefix: str | None) -> Connection:
    """Read how to reach the brokers; a bad setting ends the program with 2."""
    try:
        return connection_from(config.read_text() if config is not None else "", bootstrap=bootstrap, prefix=prefix)
    except OSError as wrong:
        raise fail(f"configuration {config}: {wrong.strerror or wrong}", code=EXIT_USAGE) from wrong
    except (ConfigError, UnicodeDecodeError) as wrong:
        raise fail(f"{config or 'kafka'}: {wrong}", code=EXIT_USAGE) from wrong


@contextmanager
def exits() -> Iterator[None]:
    """Make a message and an exit code of what goes wrong inside."""
    try:
        yield
    except BrokenPipeError:
        raise  # who read our output has enough: the command line ends quietly by itself
    except InputError as wrong:
        raise fail(printable(str(wrong)), code=EXIT_INPUT) from wrong
    except (ConfigError, SchemaError) as wrong:
        raise fail(printable(str(wrong)), code=EXIT_USAGE) from wrong
    except DetectorError as wrong:
        raise fail(printable(str(wrong)), code=EXIT_INFRASTRUCTURE) from wrong
    except (KafkaError, KafkaPythonError, OSError) as wrong:
        raise fail(f"{type(wrong).__name__}: {printable(str(wrong))}", code=EXIT_INFRASTRUCTURE) from wrong
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def finish(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end; what goes wrong becomes a message and an exit code."""
    with exits():
        return asyncio.run(work)


def quiet() -> None:
    """Let the Kafka clients say nothing by themselves: what matters is said by `exits`."""
    for name in ("aiokafka", "kafka"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def connect(config: Path | None, *, bootstrap: str | None, prefix: str | None) -> Connection:
    """Read how to reach the brokers, and see that one of them lets us in."""
    connection = read_connection(config, bootstrap=bootstrap, prefix=prefix)
    quiet()
    finish(reach(connection))
    return connection
