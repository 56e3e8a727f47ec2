"""`stillwatch sinks`: bring alerts to those who read them."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.common import EXIT_GATE, EXIT_INFRASTRUCTURE, EXIT_USAGE, fail
from detector.cli.live import connect, exits
from detector.cli.options import Bootstrap, Prefix
from detector.records import ConfigError
from detector.runtime import logs
from detector.runtime.logs import LogFormat
from detector.runtime.sinks import running
from detector.runtime.sinks.settings import SinkSettings, sinks_from

log = logging.getLogger("stillwatch.sinks")


def _chosen(config: Path, names: list[str]) -> list[SinkSettings]:
    """The sinks that were asked for, all of them unless some are named."""
    try:
        found = {sink.name: sink for sink in sinks_from(config.read_text())}
    except OSError as wrong:
        raise fail(f"configuration {config}: {wrong.strerror or wrong}", code=EXIT_USAGE) from wrong
    except (ConfigError, UnicodeDecodeError) as wrong:
        raise fail(f"{config}: {wrong}", code=EXIT_USAGE) from wrong
    unknown = sorted(set(names) - set(found))
    if unknown or not found:
        said = f"no sink {', '.join(unknown)}" if unknown else "no sink"
        raise fail(f"{said} in {config}; it has: {', '.join(found) or 'no [[sinks]] table'}", code=EXIT_USAGE)
    return [sink for name, sink in found.items() if not names or name in names]


def sinks(
    config: Annotated[Path, typer.Option(help="settings, TOML; its tables sinks say where alerts go")],
    sink: Annotated[list[str] | None, typer.Option(help="only this one; may be repeated")] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="a sink that is new gets what the topic holds already")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="end where the topic ends now")] = False,
    log_format: Annotated[LogFormat, typer.Option(help="auto: text on a terminal, else JSON")] = LogFormat.auto,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Deliver alerts to PagerDuty, Alertmanager, Slack, webhooks, files and topics until told to stop."""
    chosen = _chosen(config, sink or [])
    logs.begin(log_format)
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    try:
        with exits():
            done = asyncio.run(running.run(chosen, connection, from_beginning=from_beginning, once=once))
    except ExceptionGroup as wrong:
        # Never as a trace on standard error: an exception's text may quote what was read.
        log.critical("ended: %s", wrong.exceptions[0], exc_info=wrong.exceptions[0], extra={"action": "sinks.failed"})
        raise typer.Exit(EXIT_INFRASTRUCTURE) from None
    for name, (taken, parked) in done.items():
        typer.echo(f"{name}: {taken} alerts taken, {parked} refused", err=True)
    if any(parked for _, parked in done.values()):
        raise typer.Exit(EXIT_GATE)
