"""Envoy's external authorization, asked over a real gRPC channel with Envoy's own messages."""

from collections.abc import Callable, Iterator

import grpc
import pytest
from envoy.service.auth.v3 import external_auth_pb2 as auth
from envoy.service.auth.v3 import external_auth_pb2_grpc as service

from detector.enforce.client import DecisionClient, now_ms
from detector.enforce.ext_authz import make_server
from detector.records import Decision, DecisionParams
from detector.runtime.kafka.connection import Connection
from tests.unit.leasing import HOUR, decision, put

Ask = Callable[..., auth.CheckResponse]


def current(value: str = "a-1", **more: object) -> Decision:
    now = now_ms()
    return decision(value, **{"issued_at": now, "effective_at": now, "expires_at": now + HOUR, **more})


@pytest.fixture
def client() -> DecisionClient:
    return DecisionClient(Connection(), failure_mode="closed")


@pytest.fixture
def ask(client: DecisionClient) -> Iterator[Ask]:
    server, port = make_server(client, address="127.0.0.1:0")
    server.start()

    def call(peer: str = "", **headers: str) -> auth.CheckResponse:
        request = auth.CheckRequest()
        request.attributes.source.address.socket_address.address = peer
        for name, value in headers.items():
            request.attributes.request.http.headers[name.replace("_", "-")] = value
        return service.AuthorizationStub(channel).Check(request, timeout=10)

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield call
    server.stop(None).wait()


def loaded(client: DecisionClient, *made: Decision) -> None:
    put(client.table, *made)
    client.ready.set()
    client._away_s = None


def test_a_contained_account_is_refused_with_the_decisions_own_status_and_reason(
    client: DecisionClient, ask: Ask
) -> None:
    loaded(client, current(params=DecisionParams(http_status=429, retry_after_s=30), reason="Verify your account."))
    refused = ask(x_stillwatch_account="a-1")
    assert refused.status.code == grpc.StatusCode.PERMISSION_DENIED.value[0]
    assert refused.denied_response.status.code == 429
    assert "Verify your account." in refused.denied_response.body
    told = {h.header.key: h.header.value for h in refused.denied_response.headers}
    assert told["x-stillwatch-action"] == "challenge"
    assert told["retry-after"] == "30"


def test_others_pass_and_a_slowed_one_with_its_limits(client: DecisionClient, ask: Ask) -> None:
    loaded(client, current("o-1", scope="org", action="throttle", params=DecisionParams(tokens_per_minute=500)))
    assert ask(x_stillwatch_account="a-2").status.code == 0
    slowed = ask(x_stillwatch_account="a-2", x_stillwatch_org="o-1")
    assert slowed.status.code == 0
    assert ("x-stillwatch-tokens-per-minute", "500") in [
        (h.header.key, h.header.value) for h in slowed.ok_response.headers
    ]


def test_the_peers_address_serves_as_subnet(client: DecisionClient, ask: Ask) -> None:
    loaded(client, current("10.1.2.0/24", scope="subnet"))
    assert ask(peer="10.1.2.7").status.code != 0
    assert ask(peer="10.1.2.7", x_stillwatch_subnet="10.9.0.1").status.code == 0


def test_an_error_of_ours_is_an_error_and_no_refusal(ask: Ask) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(x_stillwatch_account="a-1")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
