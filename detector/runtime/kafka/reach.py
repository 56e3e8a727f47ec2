"""Reach the brokers once, and say exactly why that fails.

Purpose: the first thing that any verb does. The clients retry and then say "unable to
bootstrap"; here one connection is made step by step (name, TCP, TLS, the protocol, the
password), and the step that fails is named with the setting to look at.
Invariants: no message holds a secret; every attempt ends within `REACH_TIMEOUT_S`.
Limits: it tells of the bootstrap brokers only; what they allow is seen when it is asked for.
Source: the handshakes are aiokafka's own.
"""

import asyncio
import os
import socket
import ssl
from typing import Any, Final

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, collect_hosts

from detector.records import ConfigError, DetectorError
from detector.runtime.kafka.connection import Connection, client_arguments

REACH_TIMEOUT_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 0.5


class ReachError(DetectorError):
    """No broker lets us in; the message says why."""


def _why(wrong: BaseException, connection: Connection) -> str:
    """What a failed attempt means, and what to check."""
    protocol = connection.security_protocol
    if isinstance(wrong, socket.gaierror):
        return "its name is unknown; check --bootstrap"
    if isinstance(wrong, ssl.SSLCertVerificationError):
        return f"its certificate is refused ({wrong.verify_message}); check kafka.ca_file and the host's name"
    if isinstance(wrong, ssl.SSLError):
        return f"the TLS handshake fails ({wrong.reason}); does it speak TLS there? security_protocol is {protocol}"
    if isinstance(wrong, TimeoutError):
        return (
            f"no answer within {REACH_TIMEOUT_S:.0f} s; check --bootstrap, and security_protocol, which is {protocol}"
        )
    if isinstance(wrong, OSError) and not isinstance(wrong, ConnectionResetError):
        return f"{os.strerror(wrong.errno) if wrong.errno else wrong}; check --bootstrap"
    if isinstance(wrong, errors.UnsupportedSaslMechanismError):
        return f"it does not take kafka.sasl_mechanism={connection.sasl_mechanism}"
    if isinstance(wrong, errors.IllegalSaslStateError):
        return f"it expects no password there; security_protocol is {protocol}"
    if connection.sasl and isinstance(wrong, errors.BrokerResponseError | errors.AuthenticationFailedError):
        return f"it does not let {connection.username!r} in; check kafka.username and the password"
    also = "" if connection.certificate_file or not connection.tls else " or a client's certificate (certificate_file)"
    return f"it closes the connection; does it want another security_protocol than {protocol}{also}?"


async def _attempt(host: str, port: int, arguments: dict[str, Any]) -> None:
    made = AIOKafkaConnection(host, port, request_timeout_ms=int(REACH_TIMEOUT_S * 1000), **arguments)
    try:
        async with asyncio.timeout(REACH_TIMEOUT_S):
            await made.connect()
    except (TimeoutError, errors.KafkaError):
        await _closed(made)
        raise
    await _closed(made)


async def _closed(made: AIOKafkaConnection) -> None:
    """Wait for the socket: after TCP was refused there is none, which is why this is no `finally`."""
    await asyncio.wait([made.close()], timeout=CLOSE_TIMEOUT_S)


async def reach(connection: Connection) -> None:
    """Connect to one of the brokers. Raises `ReachError`, and `ConfigError` for files that do not load."""
    arguments = client_arguments(connection)
    del arguments["bootstrap_servers"]
    try:
        hosts = collect_hosts(connection.bootstrap.split(","), randomize=False)
    except ValueError as wrong:
        raise ConfigError(f"kafka.bootstrap={connection.bootstrap} does not read; name HOST:PORT,...") from wrong
    said = []
    for host, port, _ in hosts:
        try:
            await _attempt(host, port, arguments)
        except (OSError, TimeoutError, errors.KafkaError) as wrong:
            said.append(f"{host}:{port}: {_why(wrong, connection)}")
        else:
            return
    raise ReachError("no broker lets us in: " + "; ".join(said))
