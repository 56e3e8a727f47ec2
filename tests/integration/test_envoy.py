"""A real Envoy asks us about each request, by its external authorization filter."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from detector.enforce.client import DecisionClient
from detector.enforce.ext_authz import make_server
from detector.records import DecisionParams
from detector.runtime.kafka.connection import Connection
from tests.integration.gateways import free_port, python, running
from tests.integration.live import wait_until
from tests.unit.leasing import put
from tests.unit.test_ext_authz import current

CONFIG = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              response_headers_to_add:
              - header: {{key: x-seen-limit, value: "%REQ(x-stillwatch-requests-per-minute)%"}}
              routes:
              - match: {{prefix: /}}
                direct_response: {{status: 200, body: {{inline_string: answered}}}}
          http_filters:
          - name: authorization
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              failure_mode_allow: {allow}
              grpc_service: {{envoy_grpc: {{cluster_name: stillwatch}}, timeout: 2s}}
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: stillwatch
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: stillwatch
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {ours}}}}}}}
"""


class Envoy:
    """A running Envoy before one of our servers."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, **headers: str) -> urllib3.BaseHTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return urllib3.request("GET", f"http://127.0.0.1:{self.port}/v1/chat", headers=named, retries=False)

    def live(self) -> bool:
        try:
            return self.ask().status > 0
        except urllib3.exceptions.HTTPError:
            return False


@contextmanager
def envoy(ours: int, folder: Path, *, allow: bool) -> Iterator[Envoy]:
    port, config, log = free_port(), folder / "envoy.yaml", folder / "envoy.log"
    config.write_text(CONFIG.format(port=port, ours=ours, allow=str(allow).lower()))
    command = str(python().with_name("envoy")), "--config-path", str(config), "--disable-hot-restart"
    with running(*command, log=log) as process:
        made = Envoy(port)
        wait_until(lambda: made.live() or process.poll() is not None, what="Envoy", every_s=0.05)
        assert process.poll() is None, log.read_text()[-2000:]
        yield made


@pytest.fixture
def client() -> DecisionClient:
    """A client whose decisions are put in by hand, as its thread would."""
    made = DecisionClient(Connection(), failure_mode="closed")
    made.ready.set()
    made._away_s = None
    return made


@pytest.mark.timeout(600)  # as in test_litellm
def test_envoy_refuses_passes_and_slows_as_decisions_say(client: DecisionClient, tmp_path: Path) -> None:
    server, ours = make_server(client, address="127.0.0.1:0")
    server.start()
    refuses = current(params=DecisionParams(http_status=429, retry_after_s=30), reason="Verify your account.")
    slows = current("a-2", action="throttle", params=DecisionParams(requests_per_minute=2))
    put(client.table, refuses, slows, current("10.1.2.0/24", scope="subnet"))
    try:
        with envoy(ours, tmp_path, allow=False) as gateway:
            refused = gateway.ask(x_stillwatch_account="a-1")
            assert (refused.status, refused.headers["retry-after"]) == (429, "30")
            assert b"Verify your account." in refused.data
            passed = gateway.ask(x_stillwatch_account="a-3")
            assert (passed.status, passed.data, "x-seen-limit" in passed.headers) == (200, b"answered", False)
            assert gateway.ask(x_stillwatch_account="a-2").headers["x-seen-limit"] == "2"
            assert gateway.ask(x_stillwatch_subnet="10.1.2.9").status == 403
            put(client.table, current(seq=2, state="revoked"))
            assert gateway.ask(x_stillwatch_account="a-1").status == 200
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize(("allow", "status"), [(True, 200), (False, 403)])
def test_an_error_of_ours_is_what_envoys_operator_says_it_is(
    client: DecisionClient, tmp_path: Path, *, allow: bool, status: int
) -> None:
    server, ours = make_server(client, address="127.0.0.1:0")
    server.start()
    put(client.table, current())
    client._away_s = 0.0  # the source is away, and `closed` says what that means: UNAVAILABLE
    try:
        with envoy(ours, tmp_path, allow=allow) as gateway:
            assert gateway.ask(x_stillwatch_account="a-3").status == status
            assert gateway.ask(x_stillwatch_account="a-1").status == status
            client._away_s = None
            assert gateway.ask(x_stillwatch_account="a-3").status == 200
            assert gateway.ask(x_stillwatch_account="a-1").status == 403
    finally:
        server.stop(None).wait()
