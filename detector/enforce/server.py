"""The HTTP side of enforcers: a check for gateways, CrowdSec's API for bouncers, probes.

Purpose: `/check` (nginx `auth_request` and anybody's), `/v1/decisions[...]`, `/livez`, `/readyz`, `/status`.
Invariants: an error of ours is an error (503), never a refusal and never a permission that
looks like one: what a gateway does then is its own `failure mode`. What a caller learns is
the decision's reason for customers and nothing else.
Limits: attributes come in headers, which the gateway must set itself and strip from clients.
Source: nginx's `ngx_http_auth_request_module` (2xx passes, 401 and 403 refuse, all else is an error).
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import orjson
from aiohttp import web

from detector.enforce.client import DecisionClient, UnavailableError
from detector.enforce.crowdsec import Asked, CrowdsecCopy
from detector.enforce.leases import SCOPES, Lease

HEADER_PREFIX: Final = "X-Stillwatch-"
_HEADERS: Final = {scope: HEADER_PREFIX + scope.replace("_", "-") for scope in SCOPES}
REFUSED: Final = frozenset({"challenge", "block"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def _answer(lease: Lease | None) -> web.Response:
    """204 passes (throttled ones too: limits stand in the headers), 403 refuses."""
    if lease is None:
        return web.Response(status=204, headers={"X-Stillwatch-Action": "observe"})
    record, params = lease.record, lease.record.params
    headers = {
        "X-Stillwatch-Action": lease.action,
        "X-Stillwatch-Decision": record.decision_id,
        "X-Stillwatch-Reason": record.reason_code,
    }
    for name in ("requests_per_minute", "tokens_per_minute", "max_output_tokens"):
        limit = getattr(params, name)
        if limit is not None:
            headers[HEADER_PREFIX + name.replace("_", "-")] = str(limit)
    if params.retry_after_s is not None:
        headers["Retry-After"] = str(params.retry_after_s)
    return web.Response(status=403 if lease.action in REFUSED else 204, headers=headers)


def make_app(
    client: DecisionClient, *, crowdsec: CrowdsecCopy | None = None, api_keys: tuple[str, ...] = ()
) -> web.Application:
    """The application; `api_keys` are asked of bouncers."""

    async def check(request: web.Request) -> web.Response:
        given = {scope: request.headers[name] for scope, name in _HEADERS.items() if name in request.headers}
        tenant = request.headers.get(HEADER_PREFIX + "Tenant", "default")
        try:
            lease = client.lookup(given, tenant=tenant, model=request.headers.get(HEADER_PREFIX + "Model", ""))
        except UnavailableError:
            return _json({"error": "decisions are not available"}, 503)
        return _answer(lease)

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_: web.Request) -> web.Response:
        is_ready = client.ready.is_set()
        return web.Response(
            text="ready\n" if is_ready else "decisions are not loaded yet\n", status=200 if is_ready else 503
        )

    async def status(_: web.Request) -> web.Response:
        return _json(msgspec.to_builtins(client.status()))

    app = web.Application()
    app.add_routes(
        [web.get("/check", check), web.get("/livez", live), web.get("/readyz", ready), web.get("/status", status)]
    )
    if crowdsec is not None:
        _add_crowdsec(app, crowdsec, client, api_keys)
    return app


def _asked(request: web.Request) -> Asked:
    def words(name: str) -> list[str]:
        return [word.strip() for word in request.query.get(name, "").split(",") if word.strip()]

    return Asked(
        scopes=frozenset(word.lower() for word in words("scopes") + words("scope")),
        origins=frozenset(word.lower() for word in words("origins")),
        containing=tuple(words("scenarios_containing")),
        not_containing=tuple(words("scenarios_not_containing")),
    )


def _add_crowdsec(app: web.Application, copy: CrowdsecCopy, client: DecisionClient, api_keys: tuple[str, ...]) -> None:
    def guarded(handler: Handler) -> Handler:
        async def guard(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("X-Api-Key", "").encode()
            if not any(hmac.compare_digest(given, key.encode()) for key in api_keys):
                return _json({"message": "access forbidden"}, 403)
            if not client.ready.is_set():
                return _json({"message": "decisions are not loaded yet"}, 503)
            return await handler(request)

        return guard

    async def stream(request: web.Request) -> web.Response:
        startup = request.query.get("startup", "false").lower() == "true"
        return _json(copy.stream(request.headers["X-Api-Key"], startup=startup, asked=_asked(request)))

    async def decisions(request: web.Request) -> web.Response:
        values = [request.query[name] for name in ("ip", "range", "value") if request.query.get(name)]
        return _json(copy.matching(values=values, asked=_asked(request), kind=request.query.get("type", "")))

    async def taken(_: web.Request) -> web.Response:
        return web.Response(status=201)

    app.add_routes(
        [
            web.get("/v1/decisions/stream", guarded(stream)),
            web.get("/v1/decisions", guarded(decisions)),
            web.post("/v1/usage-metrics", guarded(taken)),
        ]
    )
