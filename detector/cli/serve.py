"""`stillwatch serve`: the live page."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.live import exits, finish, quiet, read_connection
from detector.cli.options import Bootstrap, Config, Prefix
from detector.pages.serve import serve_until, token_from
from detector.runtime.kafka.watching import Watcher


async def _serve(watcher: Watcher, *, host: str, port: int, token: bytes) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)

    def said(address: str) -> None:
        typer.echo(f"live page: {address}" + (" (the token is the password)" if token else ""), err=True)

    await serve_until(told, watcher.seen, host=host, port=port, token=token, said=said)


def serve(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="where to listen; 0: a free port")] = 8_765,
    host: Annotated[str, typer.Option(help="address to listen on; others than loopback need a token")] = "127.0.0.1",
    token_file: Annotated[Path | None, typer.Option(help="file with the token that the page asks for")] = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show current campaigns, decisions, caps and coverage in a browser, read-only, out of the topics."""
    quiet()
    connection = read_connection(config, bootstrap=bootstrap, prefix=prefix)
    with exits():
        token = token_from(token_file, host=host)
    watcher = Watcher(connection)
    watcher.start()
    try:
        finish(_serve(watcher, host=host, port=port, token=token))
    finally:
        watcher.stop()
