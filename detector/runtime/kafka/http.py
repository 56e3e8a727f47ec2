"""A process' small HTTP server: probes, metrics, status, and a worker's alert to test the way.

Purpose: `/livez`, `/readyz`, `/healthz`, `/metrics`, `/status`, and `POST /test-alert`.
Invariants: it shows counts, positions, reasons and names of the configuration; nothing that an
event brought. It listens on loopback unless configured. What changes something needs a caller
on loopback, or the token of `token_file`, and never comes out of a web page (`Origin`).
Limits: no TLS. It runs in the process' own thread: while a batch is folded or a snapshot is
read it answers late, so probes need patience.
Source: the names of Kubernetes' probes; the text format of Prometheus.
"""

import asyncio
import hmac
import ipaddress
import os
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from detector.records import ConfigError
from detector.runtime.kafka.metrics import registry_of
from detector.runtime.kafka.status import Process, as_text, status_of, waiting_for

BIND_VARIABLE: Final = "STILLWATCH_HTTP"
OFF: Final = "off"
STOP_S: Final = 1.0
BODY_BYTES_MAX: Final = 1_024

TestAlert = Callable[[], Awaitable[list[str]]]  # publishes; returns the ids


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[http]` table: where to listen (HOST:PORT, port 0 for a free one, or off), and who may act from afar."""

    bind: str = "127.0.0.1:9464"
    token_file: str = ""

    def __post_init__(self) -> None:
        """Check the address once."""
        if self.bind != OFF:
            address_of(self.bind)


def address_of(bind: str) -> tuple[str, int]:
    """Split HOST:PORT. Raises `ConfigError`.

    >>> address_of("[::1]:80"), address_of("127.0.0.1:0")
    (('::1', 80), ('127.0.0.1', 0))
    """
    host, colon, port = bind.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"http.bind={bind!r} must be HOST:PORT, such as 127.0.0.1:9464, or {OFF}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def http_settings_from(text: str, *, bind: str | None = None) -> HttpSettings:
    r"""Read the `[http]` table of a configuration file; the command line wins, then the environment.

    Raises `ConfigError` for unknown keys and wrong values.

    >>> http_settings_from('[http]\nbind = "0.0.0.0:1"').bind
    '0.0.0.0:1'
    """
    try:
        table: dict[str, Any] = dict(tomllib.loads(text).get("http", {}))
        said = bind if bind is not None else os.environ.get(BIND_VARIABLE)
        return msgspec.convert(table | ({"bind": said} if said is not None else {}), HttpSettings)
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as wrong:
        raise ConfigError(f"settings: http: {wrong}") from wrong


def token_of(settings: HttpSettings) -> bytes:
    """Read the token; empty where none is configured. Raises `ConfigError` where it is missing or short."""
    if not settings.token_file:
        return b""
    try:
        token = Path(settings.token_file).read_bytes().strip()
    except OSError as wrong:
        raise ConfigError(f"http.token_file {settings.token_file}: {wrong.strerror or wrong}") from wrong
    if len(token) < 16:
        raise ConfigError(f"http.token_file {settings.token_file} must hold at least 16 characters")
    return token


def may_act(*, peer: str | None, origin: str | None, authorization: str | None, token: bytes) -> bool:
    """Say whether a request may change something.

    >>> may_act(peer="127.0.0.1", origin=None, authorization=None, token=b"")
    True
    >>> may_act(peer="127.0.0.1", origin="https://a.example", authorization=None, token=b"")
    False
    """
    if origin is not None:
        return False
    given = (authorization or "").encode()
    if token and hmac.compare_digest(given, b"Bearer " + token):
        return True
    try:
        return peer is not None and ipaddress.ip_address(peer.partition("%")[0]).is_loopback
    except ValueError:
        return False


class Told(NamedTuple):
    """What a process says of itself: what it waits for before it is ready, what is wrong, its state, its metrics."""

    waits: Callable[[], list[str]]
    wrong: Callable[[], list[str]]
    status: Callable[[], dict[str, Any]]
    registry: CollectorRegistry
    test_alert: TestAlert | None = None


def worker_told(process: Process, *, test_alert: TestAlert) -> Told:
    """What a worker says: it is well when it is ready."""
    waits = partial(waiting_for, process)
    return Told(waits, waits, partial(status_of, process), registry_of(process), test_alert)


def _probe(complaints: list[str]) -> web.Response:
    return web.Response(text="\n".join(complaints or ["ok"]) + "\n", status=503 if complaints else 200)


class _Pages:
    """The handlers of one process."""

    def __init__(self, told: Told, *, token: bytes) -> None:
        """Answer with what is told."""
        self.told, self.token = told, token
        self.testing = asyncio.Lock()

    async def alive(self, _: web.Request) -> web.Response:
        """Whoever answers lives; a worker that waits for brokers does too."""
        return web.Response(text="ok\n")

    async def ready(self, _: web.Request) -> web.Response:
        """Ready, or what is waited for."""
        return _probe(self.told.waits())

    async def healthy(self, _: web.Request) -> web.Response:
        """Well, or what is wrong."""
        return _probe(self.told.wrong())

    async def metrics(self, _: web.Request) -> web.Response:
        """The text format of Prometheus."""
        return web.Response(body=generate_latest(self.told.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def status(self, request: web.Request) -> web.Response:
        """JSON, or lines for a person: `?format=text` or `Accept: text/plain`."""
        said = self.told.status()
        if request.query.get("format") == "text" or request.headers.get("Accept", "").startswith("text/plain"):
            return web.Response(text=as_text(said))
        return web.Response(body=orjson.dumps(said, option=orjson.OPT_INDENT_2), content_type="application/json")

    async def test(self, request: web.Request) -> web.Response:
        """Publish the test alert of every tenant that is judged here."""
        allowed = may_act(
            peer=request.remote,
            origin=request.headers.get("Origin"),
            authorization=request.headers.get("Authorization"),
            token=self.token,
        )
        if not allowed:
            return web.Response(text="call from loopback, or with the token of http.token_file\n", status=403)
        async with self.testing:
            ids = await self.told.test_alert() if self.told.test_alert is not None else []
        if not ids:
            return web.Response(text="no tenant is judged by this worker\n", status=409)
        return web.json_response({"alert_ids": ids}, status=202)


def application_of(told: Told, *, token: bytes = b"") -> web.Application:
    """The routes, for others to be added to."""
    pages = _Pages(told, token=token)
    application = web.Application(client_max_size=BODY_BYTES_MAX)
    application.router.add_get("/livez", pages.alive)
    application.router.add_get("/readyz", pages.ready)
    application.router.add_get("/healthz", pages.healthy)
    application.router.add_get("/metrics", pages.metrics)
    application.router.add_get("/status", pages.status)
    if told.test_alert is not None:
        application.router.add_post("/test-alert", pages.test)
    return application


@asynccontextmanager
async def serving(settings: HttpSettings, told: Told) -> AsyncIterator[str | None]:
    """Serve while the block runs; yields the address, None where it is off. Raises `ConfigError`."""
    if settings.bind == OFF:
        yield None
        return
    application = application_of(told, token=token_of(settings))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    try:
        host, port = address_of(settings.bind)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as wrong:
            raise ConfigError(
                f"http.bind={settings.bind}: {wrong.strerror or wrong}; another process? --http HOST:PORT or --http off"
            ) from wrong
        bound_host, bound_port, *_ = runner.addresses[0]
        yield f"[{bound_host}]:{bound_port}" if ":" in bound_host else f"{bound_host}:{bound_port}"
    finally:
        await runner.cleanup()
