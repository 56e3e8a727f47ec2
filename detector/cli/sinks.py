"""`stillwatch sinks`: bring alerts to those who read them; `sinks parked|retry`: what receivers refused."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from detector.cli.common import EXIT_GATE, EXIT_INFRASTRUCTURE, EXIT_USAGE, fail
from detector.cli.live import LogForm, connect, exits, finish
from detector.cli.options import Bootstrap, Prefix, Verbose
from detector.cli.orders import Yes
from detector.cli.output import confirmed
from detector.cli.verbs import Topics, printing
from detector.records import ConfigError, format_time
from detector.runtime import logs
from detector.runtime.kafka.http import OFF, HttpSettings, http_settings_from
from detector.runtime.logs import LogFormat
from detector.runtime.sinks import running
from detector.runtime.sinks.parked import Parked, parked, retry
from detector.runtime.sinks.settings import SinkSettings, sinks_from

log = logging.getLogger("stillwatch.sinks")

sinks = typer.Typer(help="Deliver alerts to pagers, chats, webhooks, files and topics; see what they refused.")

# Beside a worker's own on one machine.
BIND = "127.0.0.1:9465"
COLUMNS = {
    "sink": "sink",
    "letter": "letter",
    "state": "state",
    "alert": "alert_id",
    "rev": "revision",
    "severity": "severity",
    "answer": "answer",
    "when": "at",
    "title": "title",
}
Only = Annotated[list[str] | None, typer.Option("--sink", help="only this one; may be repeated")]


def _chosen(config: Path | None, names: list[str]) -> list[SinkSettings]:
    """The sinks that were asked for, all of them unless some are named."""
    if config is None:
        raise fail("--config is missing: its tables sinks say where alerts go", code=EXIT_USAGE)
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


def _listening(http: str | None, *, once: bool) -> HttpSettings:
    """Where to listen: as asked, else as the environment says, else beside a worker; nowhere for a short visit."""
    if once and http is None:
        return HttpSettings(bind=OFF)
    try:
        return http_settings_from(f'[http]\nbind = "{BIND}"', bind=http)
    except ConfigError as wrong:
        raise fail(f"--http: {wrong}", code=EXIT_USAGE) from wrong


@sinks.callback(invoke_without_command=True)
def deliver(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="settings, TOML; its tables sinks say where alerts go")] = None,
    sink: Only = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="a sink that is new gets what the topic holds already")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="end where the topic ends now")] = False,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help=f"probes, metrics and status (else {BIND}); or off")
    ] = None,
    log_format: LogForm = LogFormat.auto,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    verbose: Verbose = False,
) -> None:
    """Deliver alerts to PagerDuty, Alertmanager, Slack, webhooks, files and topics until told to stop."""
    if context.invoked_subcommand is not None:
        place = {"config": config, "bootstrap": bootstrap, "prefix": prefix}
        context.default_map = {context.invoked_subcommand: place}
        return
    chosen, listening = _chosen(config, sink or []), _listening(http, once=once)
    logs.begin(log_format, verbose=verbose)
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    try:
        with exits():
            done = asyncio.run(
                running.run(chosen, connection, from_beginning=from_beginning, once=once, http=listening)
            )
    except ExceptionGroup as wrong:
        # Never as a trace on standard error: an exception's text may quote what was read.
        log.critical("ended: %s", wrong.exceptions[0], exc_info=wrong.exceptions[0], extra={"action": "sinks.failed"})
        raise typer.Exit(EXIT_INFRASTRUCTURE) from None
    for name, (taken, refused) in done.items():
        typer.echo(f"{name}: {taken} alerts taken, {refused} refused", err=True)
    if any(refused for _, refused in done.values()):
        raise typer.Exit(EXIT_GATE)


def _row(one: Parked) -> dict[str, Any]:
    letter, alert = one.letter, one.alert
    return {
        "sink": letter.sink,
        "letter": f"{letter.partition}:{letter.offset}",
        "state": one.state,
        "alert_id": alert.alert_id if alert is not None else None,
        "revision": alert.revision if alert is not None else None,
        "severity": alert.severity if alert is not None else None,
        "title": alert.title if alert is not None else None,
        "answer": letter.answer,
        "at": format_time(letter.appended_ms),
    }


@sinks.command("parked")
@printing
def parked_(
    topics: Topics,
    sink: Only = None,
    every: Annotated[bool, typer.Option("--all", help="those too that were told since")] = False,
) -> None:
    """List the alerts that a receiver refused for good: what it answered, and whether they were told since."""
    names = [given.name for given in _chosen(topics.config, sink or [])]
    found = [one for one in parked(topics.connection, names) if every or one.state not in ("told", "later")]
    topics.rows([_row(one) for one in found], COLUMNS, nothing="no alert is parked")


@sinks.command("retry")
@printing
def retry_(
    topics: Topics,
    letter: Annotated[
        list[str] | None, typer.Argument(metavar="LETTER...", help="as `sinks parked` names them; else all")
    ] = None,
    sink: Only = None,
    yes: Yes = False,
) -> None:
    """Tell the sinks what they refused once more: after a receiver or its settings were mended. Run where they run."""
    chosen = _chosen(topics.config, sink or [])
    found = parked(topics.connection, [given.name for given in chosen])
    by_name = {f"{one.letter.partition}:{one.letter.offset}": one for one in found}
    missing = sorted(set(letter or ()) - set(by_name))
    if missing:
        raise fail(f"no letter {', '.join(missing)}; `stillwatch sinks parked --all` lists them", code=EXIT_USAGE)
    wanted = [one for name, one in by_name.items() if one.state == "parked" and (not letter or name in letter)]
    if wanted:
        confirmed(f"Tell {len(wanted)} alerts once more?", yes=yes)
    tried = finish(retry(topics.connection, chosen, wanted))
    rows = [_row(t.parked) | {"state": t.outcome, "answer": t.why} for t in tried]
    topics.rows(rows, COLUMNS, nothing="no alert is parked")
    if any(t.outcome == "away" for t in tried):
        raise typer.Exit(EXIT_INFRASTRUCTURE)
    if any(t.outcome == "refused" for t in tried):
        raise typer.Exit(EXIT_GATE)
