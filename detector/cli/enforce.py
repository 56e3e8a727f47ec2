"""`stillwatch enforce ...`: bring decisions to whoever enforces them, and keep them there."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer
from aiohttp import web

from detector.cli.common import EXIT_INFRASTRUCTURE, EXIT_USAGE, fail
from detector.cli.live import exits, quiet, read_connection
from detector.cli.options import Bootstrap, Config, Prefix
from detector.enforce.client import DecisionClient, FailureMode
from detector.enforce.copies import FileCopy, RedisCopy, WebhookCopy
from detector.enforce.crowdsec import CrowdsecCopy
from detector.enforce.ext_authz import make_server
from detector.enforce.litellm_keys import LitellmCopy
from detector.enforce.push import Copy, CopyError, Pusher
from detector.enforce.server import make_app
from detector.enforce.standing import told_of
from detector.records import ConfigError
from detector.runtime.kafka.http import HttpSettings, http_settings_from, serving

REDIS_PASSWORD: str = "STILLWATCH_REDIS_PASSWORD"  # noqa: S105 - the name of a variable
WEBHOOK_TOKEN: str = "STILLWATCH_WEBHOOK_TOKEN"  # noqa: S105 - the name of a variable
API_KEYS: str = "STILLWATCH_BOUNCER_KEYS"
LITELLM_KEY: str = "STILLWATCH_LITELLM_KEY"
PORT_MAX: int = 65_535
# Beside a worker's own and the sinks' on one machine.
BIND: str = "127.0.0.1:9466"

LITELLM: str = """\
# In the proxy's config.yaml; its environment needs this package (pip install --no-deps), and of others
# msgspec, orjson, kafka-python and crc32c:
litellm_settings:
  callbacks: detector.enforce.litellm_callback.callback
# In its environment: STILLWATCH_FINGERPRINT_KEY, and STILLWATCH_BOOTSTRAP or STILLWATCH_CONFIG (a file with the
# table kafka); where they differ STILLWATCH_TOPIC_PREFIX, STILLWATCH_TENANT and STILLWATCH_FAILURE_MODE.
# What only you know of a key goes into its metadata: {"stillwatch": {"account_tier": "paygo", "payment_fp": "..."}}.
"""

enforce = typer.Typer(
    help="Bring decisions to whoever enforces them: a copy kept in step, or an answer to each question.",
    no_args_is_help=True,
)

Wait = Callable[[threading.Event], None]
Mode = Annotated[
    Literal["last_state", "open", "closed"],
    typer.Option(
        "--failure-mode",
        help="while the source is away: last_state keeps each lease to its end, open lets all pass, closed answers "
        "with an error",
    ),
]
Listen = Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="where to answer; port 0: a free one")]
Tenant = Annotated[str, typer.Option(help="whose decisions")]
Http = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help=f"probes, metrics and status (else {BIND}); or off")
]


def _client(
    config: Path | None, bootstrap: str | None, prefix: str | None, *, mode: FailureMode = "last_state"
) -> DecisionClient:
    quiet()
    return DecisionClient(read_connection(config, bootstrap=bootstrap, prefix=prefix), failure_mode=mode)


def _address(listen: str) -> tuple[str, int]:
    """Host and port of --listen."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > PORT_MAX:
        raise fail(f"--listen {listen!r}: expected HOST:PORT, such as 127.0.0.1:9471", code=EXIT_USAGE)
    return host, int(port)


def _web(url: str) -> str:
    """A URL that can be asked over HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise fail(f"--url {url!r}: expected http://HOST[:PORT][/PATH] or https://...", code=EXIT_USAGE)
    return url


def _settings(http: str | None) -> HttpSettings:
    """Where probes and metrics are answered: as asked, else as the environment says, else beside a worker."""
    try:
        return http_settings_from(f'[http]\nbind = "{BIND}"', bind=http)
    except ConfigError as wrong:
        raise fail(f"--http: {wrong}", code=EXIT_USAGE) from wrong


@contextmanager
def _until_told(client: DecisionClient, pusher: Pusher | None = None) -> Iterator[threading.Event]:
    """Follow until SIGTERM or SIGINT."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    client.start()
    if pusher is not None:
        pusher.start()
    try:
        yield told
    finally:
        if pusher is not None:
            pusher.stop()
        client.stop()


def _stay(client: DecisionClient, pusher: Pusher | None, wait: Wait, *, http: HttpSettings) -> None:
    """Follow, and say how it stands, until told to stop; `wait` waits for that in a thread of its own."""

    async def stay(told: threading.Event) -> None:
        async with serving(http, told_of(client, pusher)) as address:
            if address is not None:
                typer.echo(f"http://{address}/status", err=True)
            await asyncio.to_thread(wait, told)

    with exits(), _until_told(client, pusher) as told:
        asyncio.run(stay(told))


def _push(client: DecisionClient, copy: Copy, *, name: str, http: HttpSettings) -> None:
    """Keep a copy in step until told to stop; says when it first is."""
    pusher = Pusher(client, copy)

    def wait(told: threading.Event) -> None:
        while not told.is_set() and not pusher.begun.wait(0.1):
            pass
        if not told.is_set():
            typer.echo(f"in step: {name}, {pusher.status().held} decisions", err=True)
        told.wait()

    _stay(client, pusher, wait, http=http)


@enforce.command()
def redis(
    url: Annotated[str, typer.Option(help=f"redis://HOST:PORT/DB or rediss://; password in {REDIS_PASSWORD}")],
    http: Http = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Keep a key for each decision in Redis, with its own end, and say each change on a channel."""
    if "@" in url:
        raise fail(f"--url holds an @: give the password in {REDIS_PASSWORD}", code=EXIT_USAGE)
    try:
        copy = RedisCopy(url, password=os.environ.get(REDIS_PASSWORD, ""))
    except ValueError as wrong:
        raise fail(f"--url {url!r}: expected redis://HOST:PORT/DB or rediss://...", code=EXIT_USAGE) from wrong
    _push(_client(config, bootstrap, prefix), copy, name="Redis", http=_settings(http))


@enforce.command()
def file(
    path: Annotated[Path, typer.Argument(help="JSON lines, replaced as a whole at each change")],
    http: Http = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Keep a file that holds every decision in force."""
    if not path.parent.is_dir():
        raise fail(f"{path}: there is no directory {path.parent}; make it first", code=EXIT_USAGE)
    _push(_client(config, bootstrap, prefix), FileCopy(path), name=str(path), http=_settings(http))


@enforce.command()
def webhook(
    url: Annotated[str, typer.Option(help=f"where to post CloudEvents; a bearer token in {WEBHOOK_TOKEN}")],
    http: Http = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Post each change, in order, until it is taken."""
    copy = WebhookCopy(_web(url), token=os.environ.get(WEBHOOK_TOKEN, ""))
    _push(_client(config, bootstrap, prefix), copy, name="webhook", http=_settings(http))


@enforce.command()
def crowdsec(
    listen: Listen = "127.0.0.1:9471",
    tenant: Tenant = "default",
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Answer CrowdSec's bouncers: /v1/decisions and /v1/decisions/stream; their keys in STILLWATCH_BOUNCER_KEYS."""
    keys = tuple(key for key in os.environ.get(API_KEYS, "").split(",") if key)
    if not keys:
        raise fail(f"no bouncer could ask: set {API_KEYS} to their keys, with commas between", code=EXIT_USAGE)
    client, copy = _client(config, bootstrap, prefix), CrowdsecCopy(tenant=tenant)
    pusher = Pusher(client, copy)
    _serve(client, pusher, make_app(client, told_of(client, pusher), crowdsec=copy, api_keys=keys), listen)


@enforce.command()
def nginx(
    listen: Listen = "127.0.0.1:9472",
    failure_mode: Mode = "last_state",
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Answer auth_request, and anybody else: /check says 204 or 403 about a request's X-Stillwatch-* headers."""
    client = _client(config, bootstrap, prefix, mode=failure_mode)
    _serve(client, None, make_app(client, told_of(client)), listen)


@enforce.command()
def litellm(
    url: Annotated[str | None, typer.Option(help=f"the proxy; its master key in {LITELLM_KEY}")] = None,
    journal: Annotated[
        Path | None, typer.Option(help="with --url: a file that remembers what each key had, kept between runs")
    ] = None,
    release: Annotated[bool, typer.Option("--release", help="with --url: give everything back and end")] = False,
    tenant: Tenant = "default",
    http: Http = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Say how LiteLLM's proxy takes our callback; with --url block and limit its keys over its management API instead.

    The callback is better where it can be loaded: it tells what became of each request, its leases end by themselves.
    """
    if url is None:
        if journal is not None or release:
            raise fail("--journal and --release go with --url", code=EXIT_USAGE)
        typer.echo(LITELLM, nl=False)
        return
    if journal is None:
        raise fail("--url needs --journal: a file that remembers what each key had", code=EXIT_USAGE)
    admin_key = os.environ.get(LITELLM_KEY, "")
    if not admin_key:
        raise fail(f"set {LITELLM_KEY} to the proxy's master key", code=EXIT_USAGE)
    try:
        copy = LitellmCopy(_web(url), admin_key=admin_key, journal=journal, tenant=tenant)
        if release:
            typer.echo(f"given back: {copy.release()} keys")
            return
    except ConfigError as wrong:
        raise fail(str(wrong), code=EXIT_USAGE) from wrong
    except CopyError as wrong:
        raise fail(str(wrong), code=EXIT_INFRASTRUCTURE) from wrong
    _push(_client(config, bootstrap, prefix), copy, name="LiteLLM", http=_settings(http))


@enforce.command("ext-authz")
def ext_authz(
    listen: Listen = "127.0.0.1:9473",
    failure_mode: Mode = "last_state",
    http: Http = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Answer Envoy's external authorization over gRPC."""
    client = _client(config, bootstrap, prefix, mode=failure_mode)
    host, port = _address(listen)
    try:
        server, port = make_server(client, address=f"{host}:{port}")
    except RuntimeError as wrong:
        raise fail(f"--listen {listen}: {wrong}", code=EXIT_INFRASTRUCTURE) from wrong

    def wait(told: threading.Event) -> None:
        server.start()
        typer.echo(f"listening: port {port}", err=True)
        told.wait()
        server.stop(grace=1).wait()

    _stay(client, None, wait, http=_settings(http))


def _serve(client: DecisionClient, pusher: Pusher | None, app: web.Application, listen: str) -> None:
    host, port = _address(listen)

    async def serve(told: threading.Event) -> None:
        async with _listening(app, host, port) as address:
            typer.echo(f"listening: {address}", err=True)
            await asyncio.to_thread(told.wait)

    with _until_told(client, pusher) as told:
        try:
            asyncio.run(serve(told))
        except OSError as wrong:
            raise fail(f"--listen {listen}: {wrong.strerror or wrong}", code=EXIT_INFRASTRUCTURE) from wrong


@asynccontextmanager
async def _listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield "{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()
