"""How every client reaches the brokers, and how the live workers are set.

Purpose: the `[kafka]` table of the configuration file, the environment and the command
line, as one frozen value; from it the arguments of aiokafka and of kafka-python.
Invariants: nothing here changes what the engine computes, so nothing of it is in the
settings' hash. A secret is read when a client is made, is never part of a value that is
printed, and comes from a file or the environment only.
Limits: SASL by SCRAM or PLAIN, TLS by files in PEM form. Host names are always checked.
Source: the names of security protocols and mechanisms are Kafka's.
"""

import os
import ssl
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from detector.records import ConfigError
from detector.sinks.lines import AlertFormat

BOOTSTRAP_VARIABLE: Final = "STILLWATCH_BOOTSTRAP"
PREFIX_VARIABLE: Final = "STILLWATCH_TOPIC_PREFIX"
PASSWORD_VARIABLE: Final = "STILLWATCH_KAFKA_PASSWORD"  # noqa: S105 - the name of a variable
KEY_PASSWORD_VARIABLE: Final = "STILLWATCH_KAFKA_KEY_PASSWORD"  # noqa: S105 - the same
DEFAULT_PREFIX: Final = "stillwatch."

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Connection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[kafka]` table. Times in milliseconds of wall clock unless said otherwise.

    Without `ca_file` the system's authorities are trusted; `certificate_file` and `key_file` are ours, where the
    brokers ask clients for a certificate; `key_password_file` opens an encrypted key.
    """

    bootstrap: str = "127.0.0.1:9092"
    prefix: str = DEFAULT_PREFIX
    security_protocol: Protocol = "PLAINTEXT"
    sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password_file: str = ""
    group: str = "stillwatch"
    state_directory: str = "state"
    session_timeout_ms: int = 30_000
    snapshot_interval_ms: int = 60_000
    progress_interval_ms: int = 200
    # An idle partition's clock: how long nothing may come before a tick is written, and how far
    # (event time) partitions that hold no event at all are held behind the broker's clock.
    idle_ms: int = 5_000
    align_ms: int = 120_000
    # Encode waits while a judge has so many of its records before it; an operator's word waits behind them.
    backlog_records_max: int = 1_000_000
    dead_letter_content: bool = False
    # What the values of the alerts' topic are; the native record stands in a header where they are something else.
    alert_format: AlertFormat = "native"

    def __post_init__(self) -> None:
        """Check the relations between fields once."""
        if not self.bootstrap:
            raise ConfigError("kafka.bootstrap is empty; name HOST:PORT,...")
        if "@" in self.bootstrap:  # what stands before it may be a password, so it is not repeated
            raise ConfigError("kafka.bootstrap holds an @; name HOST:PORT,... and give kafka.username apart")
        intervals = ("session_timeout_ms", "snapshot_interval_ms", "progress_interval_ms", "idle_ms", "align_ms")
        for name in (*intervals, "backlog_records_max"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"kafka.{name}={getattr(self, name):_} must be positive")
        if self.security_protocol.startswith("SASL") and not self.username:
            raise ConfigError(f"kafka.security_protocol={self.security_protocol} needs kafka.username")

    @property
    def sasl(self) -> bool:
        """Whether clients log in with a password."""
        return self.security_protocol.startswith("SASL")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    def topic(self, name: str) -> str:
        """The full name of a topic.

        >>> Connection().topic("access")
        'stillwatch.access'
        """
        return self.prefix + name


def connection_from(text: str, *, bootstrap: str | None = None, prefix: str | None = None) -> Connection:
    r"""Read the `[kafka]` table of a configuration file; the command line wins, then the environment.

    Raises `ConfigError` for unknown keys and wrong values.

    >>> connection_from('[kafka]\nbootstrap = "a:1"', bootstrap="b:2").bootstrap
    'b:2'
    """
    try:
        table: dict[str, Any] = dict(tomllib.loads(text).get("kafka", {}))
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as wrong:
        raise ConfigError(f"settings: the table kafka does not read: {wrong}") from wrong
    for field, given, variable in (
        ("bootstrap", bootstrap, BOOTSTRAP_VARIABLE),
        ("prefix", prefix, PREFIX_VARIABLE),
    ):
        said = given if given is not None else os.environ.get(variable)
        if said is not None:
            table[field] = said
    try:
        return msgspec.convert(table, Connection)
    except msgspec.ValidationError as wrong:
        raise ConfigError(f"settings: kafka: {wrong}") from wrong


def _secret(field: str, path: str, variable: str) -> str:
    """Read a secret from its file, else the environment; empty where neither has it. Raises `ConfigError`."""
    if not path:
        return os.environ.get(variable, "")
    try:
        return Path(path).read_text().rstrip("\r\n")
    except OSError as wrong:
        raise ConfigError(f"{field} {path}: {wrong.strerror or wrong}") from wrong
    except UnicodeDecodeError:
        raise ConfigError(f"{field} {path} is no text in UTF-8") from None  # the error holds the bytes


def password_of(connection: Connection) -> str:
    """Read the password from its file, else the environment. Raises `ConfigError`."""
    password = _secret("kafka.password_file", connection.password_file, PASSWORD_VARIABLE)
    if not password:
        raise ConfigError(
            f"kafka: {connection.sasl_mechanism} needs a password: kafka.password_file, with something in it, "
            f"or {PASSWORD_VARIABLE}"
        )
    return password


def tls_context(connection: Connection) -> ssl.SSLContext | None:
    """Make the TLS context; None for unencrypted connections. Raises `ConfigError` where a file is wrong."""
    if not connection.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=connection.ca_file or None)
    except (OSError, ssl.SSLError) as wrong:
        place = f"kafka.ca_file {connection.ca_file}"
        raise ConfigError(f"{place} does not load: {wrong}; it must hold certificates in PEM form") from wrong
    if connection.certificate_file:
        # Given as a value, also where there is none: else OpenSSL would ask for it on the terminal.
        opens = _secret("kafka.key_password_file", connection.key_password_file, KEY_PASSWORD_VARIABLE)
        try:
            context.load_cert_chain(connection.certificate_file, connection.key_file or None, password=opens)
        except (OSError, ssl.SSLError) as wrong:
            place = f"kafka.certificate_file {connection.certificate_file}, key_file {connection.key_file}"
            raise ConfigError(
                f"{place}: certificate and key do not load: {wrong}; an encrypted key needs kafka.key_password_file "
                f"or {KEY_PASSWORD_VARIABLE}"
            ) from wrong
    return context


def client_arguments(connection: Connection) -> dict[str, Any]:
    """The arguments by which a client of aiokafka or kafka-python connects: both take the same names."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": connection.bootstrap.split(","),
        "security_protocol": connection.security_protocol,
        "client_id": "stillwatch",
    }
    context = tls_context(connection)
    if context is not None:
        arguments["ssl_context"] = context
    if connection.sasl:
        arguments |= {
            "sasl_mechanism": connection.sasl_mechanism,
            "sasl_plain_username": connection.username,
            "sasl_plain_password": password_of(connection),
        }
    return arguments
