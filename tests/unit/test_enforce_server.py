"""The HTTP side of enforcers: what a gateway and a bouncer are told, over a real socket."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pytest
import urllib3
from aiohttp import web

from detector.enforce.client import DecisionClient, now_ms
from detector.enforce.crowdsec import CrowdsecCopy
from detector.enforce.push import Pusher
from detector.enforce.server import make_app
from detector.enforce.standing import told_of
from detector.records import Decision, DecisionParams, decision_key, encode
from detector.runtime.kafka.connection import Connection
from tests.unit.leasing import HOUR, decision
from tests.unit.waiting import until

KEY = {"X-Api-Key": "k3y"}


class Enforcer(NamedTuple):
    """A served client, whose records are told by hand, as its thread would."""

    client: DecisionClient
    url: str
    http: urllib3.PoolManager

    def tell(self, *made: Decision) -> None:
        assert self.client.changed is not None
        for d in made:
            key = decision_key(tenant=d.tenant, scope=d.scope, value=d.value)
            if self.client.table.apply(key, encode(d)):
                self.client.changed(key, now_ms())
        self.client.ready.set()

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        return self.http.request("GET", self.url + path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def pull(self, path: str) -> Any:
        answer = self.http.request("GET", self.url + path, headers=KEY)
        assert answer.status == 200, answer.data
        return orjson.loads(answer.data)


@pytest.fixture(params=["last_state"])
def enforcer(request: pytest.FixtureRequest) -> Iterator[Enforcer]:
    client, copy = DecisionClient(Connection(), failure_mode=request.param), CrowdsecCopy()
    pusher = Pusher(client, copy)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(make_app(client, told_of(client, pusher), crowdsec=copy, api_keys=("k3y",)))
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    port = runner.addresses[0][1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    pusher.start()
    http = urllib3.PoolManager()
    yield Enforcer(client, f"http://127.0.0.1:{port}", http)
    pusher.stop()
    http.clear()
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def current(value: str = "a-1", **more: object) -> Decision:
    now = now_ms()
    return decision(value, **{"issued_at": now, "effective_at": now, "expires_at": now + HOUR, **more})


def test_a_gateway_is_told_to_refuse_to_limit_or_to_pass(enforcer: Enforcer) -> None:
    limits = DecisionParams(requests_per_minute=6, retry_after_s=60)
    enforcer.tell(current(), current("o-1", scope="org", action="throttle", params=limits))
    assert [enforcer.get("/check", X_Stillwatch_account=a).status for a in ("a-1", "a-2")] == [403, 204]
    slowed = enforcer.get("/check", X_Stillwatch_account="a-2", X_Stillwatch_org="o-1")
    assert slowed.status == 204
    assert slowed.headers["X-Stillwatch-Action"] == "throttle"
    assert slowed.headers["X-Stillwatch-requests-per-minute"] == "6"
    assert slowed.headers["Retry-After"] == "60"
    assert enforcer.get("/check", X_Stillwatch_account="a-1", X_Stillwatch_Tenant="other").status == 204
    enforcer.tell(current(seq=2, state="revoked"))
    assert enforcer.get("/check", X_Stillwatch_account="a-1").status == 204


@pytest.mark.parametrize("enforcer", ["closed"], indirect=True)
def test_without_decisions_a_closed_check_is_an_error_and_no_refusal(enforcer: Enforcer) -> None:
    assert enforcer.get("/check", X_Stillwatch_account="a-1").status == 503
    assert enforcer.get("/readyz").status == 503
    assert enforcer.get("/livez").status == 200


@pytest.mark.parametrize("enforcer", ["open"], indirect=True)
def test_without_decisions_an_open_check_lets_pass(enforcer: Enforcer) -> None:
    assert enforcer.get("/check", X_Stillwatch_account="a-1").status == 204


def test_a_bouncer_gets_everything_then_what_changed(enforcer: Enforcer) -> None:
    enforcer.tell(current("10.1.2.0/24", scope="subnet", action="block"), current())
    until(lambda: len(enforcer.pull("/v1/decisions") or ()) == 2)
    first = enforcer.pull("/v1/decisions/stream?startup=true")
    assert first["deleted"] is None
    assert {(d["type"], d["scope"], d["value"]) for d in first["new"]} == {
        ("ban", "Range", "10.1.2.0/24"),
        ("captcha", "username", "a-1"),
    }
    assert all(d["duration"].startswith("59m") and not d["simulated"] for d in first["new"])
    enforcer.tell(current(seq=2, state="revoked"))
    until(lambda: len(enforcer.pull("/v1/decisions") or ()) == 1)
    then = enforcer.pull("/v1/decisions/stream?startup=false")
    assert [(d["value"], d["duration"]) for d in then["deleted"]] == [("a-1", then["deleted"][0]["duration"])]
    assert then["deleted"][0]["duration"].startswith("-")


def test_a_bouncer_asks_for_an_address_a_scope_a_type(enforcer: Enforcer) -> None:
    enforcer.tell(current("10.1.2.0/24", scope="subnet", action="block"), current("10.1.2.9/32", scope="subnet"))
    until(lambda: len(enforcer.pull("/v1/decisions") or ()) == 2)
    assert sorted(d["type"] for d in enforcer.pull("/v1/decisions?ip=10.1.2.9")) == ["ban", "captcha"]
    assert [d["scope"] for d in enforcer.pull("/v1/decisions?ip=10.1.2.9&type=captcha")] == ["Ip"]
    assert enforcer.pull("/v1/decisions?ip=10.9.9.9") is None
    assert enforcer.pull("/v1/decisions/stream?startup=true&scopes=username") == {"new": None, "deleted": None}
    assert enforcer.http.request("GET", enforcer.url + "/v1/decisions").status == 403


def test_the_port_of_an_adapter_tells_probes_and_counts_its_answers(enforcer: Enforcer) -> None:
    assert enforcer.get("/healthz").status == 503
    enforcer.tell(current(), current("a-3", action="throttle"))
    for account in ("a-1", "a-2", "a-3", "a-1"):
        enforcer.get("/check", X_Stillwatch_account=account)
    until(lambda: enforcer.get("/readyz").status == 200)
    text = enforcer.get("/metrics").data.decode()
    for answer, number in (("refused", 2), ("passed", 1), ("throttled", 1), ("unavailable", 0)):
        assert f'stillwatch_enforcer_answers_total{{answer="{answer}"}} {number}.0' in text
    assert "stillwatch_decision_apply_lag_seconds_bucket" in text
    assert b'"decisions"' in enforcer.get("/status").data
