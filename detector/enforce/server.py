"""The HTTP side of enforcers: a check for gateways, CrowdSec's API for bouncers, probes.

Purpose: `/check` (nginx `auth_request` and anybody's), `/v1/decisions[...]`, and the pages of every process of ours.
Invariants: an error of ours is an error (503), never a refusal and never a permission that
looks like one: what a gateway does then is its own `failure mode`. What a caller learns is
the decision's reason for customers and nothing else.
Limits: attributes come in headers, which the gateway must set itself and strip from clients.
Source: nginx's `ngx_http_auth_request_module` (2xx passes, 401 and 403 refuse, all else is an error).
"""

import hmac
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from detector.enforce.answers import MODEL, TENANT, answer_of, attributes_of, headers_of, refuses
from detector.enforce.client import DecisionClient, UnavailableError
from detector.enforce.crowdsec import Asked, CrowdsecCopy
from detector.runtime.kafka.http import Told, application_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def make_app(
    client: DecisionClient, told: Told, *, crowdsec: CrowdsecCopy | None = None, api_keys: tuple[str, ...] = ()
) -> web.Application:
    """The application, with probes, metrics and status; `api_keys` are asked of bouncers."""

    async def check(request: web.Request) -> web.Response:
        sent = {name.lower(): value for name, value in request.headers.items()}
        try:
            lease = client.lookup(attributes_of(sent), tenant=sent.get(TENANT, "default"), model=sent.get(MODEL, ""))
        except UnavailableError:
            client.answered("unavailable")
            return _json({"error": "decisions are not available"}, 503)
        client.answered(answer_of(lease))
        return web.Response(status=403 if refuses(lease) else 204, headers=headers_of(lease))

    app = application_of(told)
    app.router.add_get("/check", check)
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
