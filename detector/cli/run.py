"""`stillwatch run`: the live worker."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.common import EXIT_USAGE, KEY_VARIABLE, fail, read_key, read_settings
from detector.cli.live import Bootstrap, Config, Prefix, Set, begin_logging, connect, finish
from detector.runtime.kafka import worker
from detector.runtime.kafka.topics import begin_at_end
from detector.vocabulary import Mode


def run(
    config: Config = None,
    roles: Annotated[str, typer.Option(help="encode, judge, or both")] = "encode,judge",
    mode: Annotated[str | None, typer.Option(help="shadow or enforce (else the configuration's)")] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="a new installation reads what the access topic holds already")
    ] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    key_file: Annotated[Path | None, typer.Option(help="file with the fingerprint key, 64 hex digits")] = None,
    set_: Set = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="log what the Kafka clients say")] = False,
) -> None:
    """Run the live worker until it is told to stop: access events in, alerts and decisions out."""
    names = tuple(name.strip() for name in roles.split(","))
    if not set(names) <= set(worker.ROLES):
        raise fail(f"--roles {roles!r}: expected some of {', '.join(worker.ROLES)}", code=EXIT_USAGE)
    settings = read_settings(config, [*(set_ or []), *([f'mode="{_mode_of(mode)}"'] if mode else [])])
    key, development = read_key(key_file)
    if development:
        raise fail(f"no fingerprint key: set {KEY_VARIABLE} (64 hex digits) or --key-file", code=EXIT_USAGE)
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    begin_logging(verbose=verbose)

    async def work() -> None:
        if "encode" in names and not from_beginning:
            await asyncio.to_thread(begin_at_end, connection)
        await worker.run(names, connection, settings, key=key)

    finish(work())


def _mode_of(text: str) -> Mode:
    """Check a mode."""
    if text not in ("shadow", "enforce"):
        raise fail(f"--mode {text!r}: expected shadow or enforce", code=EXIT_USAGE)
    return "enforce" if text == "enforce" else "shadow"
