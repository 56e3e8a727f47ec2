"""`stillwatch run`: the live worker."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from detector.cli.common import EXIT_INFRASTRUCTURE, EXIT_USAGE, KEY_VARIABLE, fail, read_key, read_settings
from detector.cli.live import LogForm, connect
from detector.cli.options import Bootstrap, Config, KeyFile, Prefix, Set, Verbose
from detector.records import ConfigError
from detector.runtime import logs
from detector.runtime.kafka import worker
from detector.runtime.kafka.http import HttpSettings, http_settings_from, token_of
from detector.runtime.logs import LogFormat
from detector.vocabulary import AlertFormat, Mode

log = logging.getLogger("stillwatch.worker")


def run(
    config: Config = None,
    roles: Annotated[str, typer.Option(help="encode, judge, or both")] = "encode,judge",
    mode: Annotated[str | None, typer.Option(help="shadow or enforce (else the configuration's)")] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="a new installation reads what the access topic holds already")
    ] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    key_file: KeyFile = None,
    alert_format: Annotated[
        AlertFormat | None, typer.Option(help="what the alerts' topic carries (else the configuration's, else native)")
    ] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="probes, metrics and status; port 0: a free one; or off")
    ] = None,
    log_format: LogForm = LogFormat.auto,
    set_: Set = None,
    verbose: Verbose = False,
) -> None:
    """Run the live worker until it is told to stop: access events in, alerts and decisions out."""
    names = tuple(name.strip() for name in roles.split(","))
    if not set(names) <= set(worker.ROLES):
        raise fail(f"--roles {roles!r}: expected some of {', '.join(worker.ROLES)}", code=EXIT_USAGE)
    settings = read_settings(config, [*(set_ or []), *([f'mode="{_mode_of(mode)}"'] if mode else [])])
    key, development = read_key(key_file)
    if development:
        raise fail(f"no fingerprint key: set {KEY_VARIABLE} (64 hex digits) or --key-file", code=EXIT_USAGE)
    listening = _read_http(config, http)
    logs.begin(log_format, verbose=verbose)
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    if alert_format is not None:
        connection = msgspec.structs.replace(connection, alert_format=alert_format)
    try:
        asyncio.run(worker.run(names, connection, settings, key=key, http=listening, from_beginning=from_beginning))
    except ConfigError as wrong:
        raise fail(str(wrong), code=EXIT_USAGE) from wrong
    except Exception as wrong:
        # Never as a trace on standard error: an exception's text may quote what was read.
        log.critical("ended: %s", wrong, exc_info=wrong, extra={"action": "worker.failed"})
        raise typer.Exit(EXIT_INFRASTRUCTURE) from None


def _read_http(config: Path | None, bind: str | None) -> HttpSettings:
    """Read where to listen; a bad setting ends the program with 2."""
    try:
        settings = http_settings_from(config.read_text() if config is not None else "", bind=bind)
        token_of(settings)
    except ConfigError as wrong:
        raise fail(f"{config or '--http'}: {wrong}", code=EXIT_USAGE) from wrong
    return settings


def _mode_of(text: str) -> Mode:
    """Check a mode."""
    if text not in ("shadow", "enforce"):
        raise fail(f"--mode {text!r}: expected shadow or enforce", code=EXIT_USAGE)
    return "enforce" if text == "enforce" else "shadow"
