"""Serve: the live page over HTTP.

Purpose: `/` is the page, `/view` its parts for the script, `/style.css` and `/live.js` what they
need, `/livez` and `/readyz` for whoever watches the watcher.
Invariants: nothing can be changed through it: it answers GET and HEAD. Without a token it listens
on loopback only and answers only to loopback's own names, so that no web page can reach it
through a name of its own. With a token every page asks for it, as a bearer's or as the password
of HTTP's basic scheme; it is compared in constant time. Pages load nothing from elsewhere.
Limits: no TLS: put a proxy before it that has it. One situation is rendered for each question.
Source: RFC 7617 and 6750; Content Security Policy, level 3; on DNS rebinding, Jackson et al. 2007.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from detector.pages.live import live_page
from detector.pages.rendering import asset, live_html, live_parts
from detector.records import ConfigError
from detector.runtime.kafka.watching import Seen

REFRESH_S: Final = 5
TOKEN_BYTES_MIN: Final = 16
OPEN: Final = frozenset({"/livez", "/readyz"})
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

See = Callable[[], Seen]
Clock = Callable[[], int]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Say whether a name or address means this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("evil.example")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_from(path: Path | None, *, host: str) -> bytes:
    """Read the token; empty where none is asked for. Raises `ConfigError` where one is needed, missing or short."""
    if path is None:
        if not is_loopback(host):
            raise ConfigError(f"--host {host} is not loopback: others could read the page; give --token-file FILE")
        return b""
    try:
        token = path.read_bytes().strip()
    except OSError as wrong:
        raise ConfigError(f"--token-file {path}: {wrong.strerror or wrong}") from wrong
    if len(token) < TOKEN_BYTES_MIN:
        raise ConfigError(f"--token-file {path} must hold at least {TOKEN_BYTES_MIN} characters")
    return token


def shows_token(authorization: str | None, *, token: bytes) -> bool:
    """Say whether a request carries the token.

    >>> shows_token("Bearer " + "t" * 16, token=b"t" * 16), shows_token(None, token=b"t" * 16)
    (True, False)
    """
    scheme, _, said = (authorization or "").partition(" ")
    given = b""
    if scheme.lower() == "bearer":
        given = said.strip().encode()
    elif scheme.lower() == "basic":
        try:
            given = base64.b64decode(said.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            given = b""
    return hmac.compare_digest(given, token)


def _host_of(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def clock_ms() -> int:
    """Epoch milliseconds now: leases run on the clock of whoever looks."""
    return time.time_ns() // 1_000_000


def make_app(see: See, *, token: bytes, refresh_s: int = REFRESH_S, clock: Clock = clock_ms) -> web.Application:
    """The application; without a token it takes loopback's own names only."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        refused: web.Response | None = None
        if request.method not in ("GET", "HEAD"):
            refused = web.Response(status=405, text="this page is read-only\n", headers={"Allow": "GET, HEAD"})
        elif request.path not in OPEN and token and not shows_token(request.headers.get("Authorization"), token=token):
            ask = {"WWW-Authenticate": 'Basic realm="stillwatch", charset="UTF-8"'}
            refused = web.Response(status=401, text="this page needs its token, as the password\n", headers=ask)
        elif not token and not is_loopback(_host_of(request.host)):
            refused = web.Response(status=421, text="without a token this page answers to loopback's names only\n")
        try:
            answer = refused if refused is not None else await handler(request)
        except web.HTTPException as known:
            answer = web.Response(status=known.status, text=f"{known.reason}\n")
        answer.headers.update(HEADERS)
        return answer

    async def page(_: web.Request) -> web.Response:
        made = live_html(live_page(see(), now_ms=clock()), refresh_s=refresh_s)
        return web.Response(text=made, content_type="text/html")

    async def view(_: web.Request) -> web.Response:
        made = live_parts(live_page(see(), now_ms=clock()))
        return web.Response(text=made, content_type="text/html")

    async def style(_: web.Request) -> web.Response:
        return web.Response(text=asset("style.css"), content_type="text/css")

    async def script(_: web.Request) -> web.Response:
        return web.Response(text=asset("live.js"), content_type="text/javascript")

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        seen = see()
        waits = "the brokers do not answer" if seen.trouble else "" if seen.complete else "topics are being read"
        return web.Response(text=f"{waits or 'ok'}\n", status=503 if waits else 200)

    app = web.Application(middlewares=[guard], client_max_size=1)
    routes = {"/": page, "/view": view, "/style.css": style, "/live.js": script, "/livez": alive, "/readyz": ready}
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])
    return app


@asynccontextmanager
async def serving(
    see: See, *, host: str, port: int, token: bytes, refresh_s: int = REFRESH_S, clock: Clock = clock_ms
) -> AsyncIterator[str]:
    """Serve while the block runs; yields the page's address. Raises `ConfigError` where it cannot listen."""
    runner = web.AppRunner(
        make_app(see, token=token, refresh_s=refresh_s, clock=clock), access_log=None, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as wrong:
            raise ConfigError(f"--host {host} --port {port}: {wrong.strerror or wrong}; another --port?") from wrong
        bound, number, *_ = runner.addresses[0]
        yield f"http://[{bound}]:{number}/" if ":" in bound else f"http://{bound}:{number}/"
    finally:
        await runner.cleanup()


async def serve_until(
    told: asyncio.Event, see: See, *, host: str, port: int, token: bytes, said: Callable[[str], None]
) -> None:
    """Serve until told to stop; `said` gets the address."""
    async with serving(see, host=host, port=port, token=token) as address:
        said(address)
        await told.wait()
