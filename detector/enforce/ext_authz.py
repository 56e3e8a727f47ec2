"""Envoy's external authorization: `envoy.service.auth.v3.Authorization/Check` over gRPC.

Purpose: answer Envoy from a `DecisionClient`.
Invariants: an error of ours is a gRPC error (UNAVAILABLE), which Envoy treats by its
`failure_mode_allow`; it is never a refusal. A refusal carries the decision's status, its
reason code and `retry-after`; a permission carries the action and the limits as headers.
Limits: attributes come in request headers (`answers`); the peer's address serves as
`subnet` where no header names one. A lookup is in memory, so few threads serve many.
Source: Envoy's ext_authz protocol, version 3.
"""

from concurrent import futures
from typing import Any, Final

import grpc
import orjson
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3 import external_auth_pb2 as auth
from envoy.service.auth.v3 import external_auth_pb2_grpc as service
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.rpc.status_pb2 import Status

from detector.enforce.answers import HEADERS, MODEL, TENANT, answer_of, attributes_of, headers_of, refuses, status_of
from detector.enforce.client import DecisionClient, UnavailableError

THREADS: Final = 4


class ExtAuthz:
    """The service."""

    def __init__(self, client: DecisionClient) -> None:
        """Answer from this client."""
        self.client = client

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Answer one request."""
        sent = request.attributes.request.http.headers
        given = attributes_of(sent)
        peer = request.attributes.source.address.socket_address.address
        if peer and HEADERS["subnet"] not in sent:
            given["subnet"] = peer
        try:
            lease = self.client.lookup(given, tenant=sent.get(TENANT) or "default", model=sent.get(MODEL, ""))
        except UnavailableError as wrong:
            self.client.answered("unavailable")
            context.abort(grpc.StatusCode.UNAVAILABLE, str(wrong))
        self.client.answered(answer_of(lease))
        told = [
            HeaderValueOption(header=HeaderValue(key=name, value=value)) for name, value in headers_of(lease).items()
        ]
        if lease is None or not refuses(lease):
            return auth.CheckResponse(status=Status(code=0), ok_response=auth.OkHttpResponse(headers=told))
        return auth.CheckResponse(
            status=Status(code=grpc.StatusCode.PERMISSION_DENIED.value[0]),
            denied_response=auth.DeniedHttpResponse(
                status=HttpStatus(code=status_of(lease)),
                headers=told,
                body=orjson.dumps(
                    {"error": {"code": lease.record.reason_code, "message": lease.record.reason}}
                ).decode(),
            ),
        )


def make_server(client: DecisionClient, *, address: str) -> tuple[grpc.Server, int]:
    """Build the server; returns it, not started, and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=THREADS))
    service.add_AuthorizationServicer_to_server(ExtAuthz(client), server)
    return server, server.add_insecure_port(address)
