"""A real single-node Kafka on a free loopback port, for tests and developers.

Purpose: Apache Kafka in KRaft mode from jars, without Docker; `stillwatch dev kafka` and
the tests use the same code.
Invariants: the broker listens on loopback only and never outlives the process that started
it, however that ends: the shell that guards Java reads from it, and ends Java at the end
of that input. Topics are never created by accident.
Limits: one node, replication 1. Listeners with TLS and passwords are for trying clients out:
the passwords stand in the data directory, which is its owner's, and in the arguments of
Kafka's own format tool.
Source: Kafka's documentation of KRaft, of its listeners and of SCRAM without ZooKeeper;
Java's heap and collector are chosen small.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from detector.runtime.kafka.jars import BrokerError, cache_directory, fetch_jars, find_java

READY_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 15.0
CLUSTER: Final = "c3RpbGx3YXRjaC1kZXYwMQ"  # a cluster's id is 16 bytes in base64
_JAVA_OPTIONS: Final = ("-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
# Says the process id of what it guards, then waits for the end of its input and ends it.
_GUARD: Final = '"$@" </dev/null & pid=$!; echo $pid; while read -r _; do :; done; kill $pid 2>/dev/null; wait $pid'
_LOGGING: Final = """
status = error
appender.file.type = File
appender.file.name = file
appender.file.fileName = {log}
appender.file.append = true
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = info
"""
_STARTED: Final = "Kafka Server started"
_PROPERTIES: Final = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
"""
# The plain listener stays, for the broker itself and whoever sets it up: as ANONYMOUS, who may do everything.
_SECURED: Final = """
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
listener.name.ssl.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$/$1/,DEFAULT
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required {plain};
"""
_MODULES: Final = "org.apache.kafka.common.security"
_AUTHORIZED: Final = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users={users}
"""


class Secured(NamedTuple):
    """Two more listeners: SASL_SSL, where `users` (name to password) log in, and SSL, where certificates do.

    `keystore` holds the broker's key (PKCS #8) and certificates, `truststore` the authorities of its clients, as
    PEM. A certificate's user is its common name. With `superusers` nobody else may do what no ACL allows.
    """

    keystore: Path
    truststore: Path
    users: Mapping[str, str]
    superusers: tuple[str, ...] | None = None

    def properties(self) -> str:
        """The broker's settings for it."""
        plain = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        said = _SECURED.format(keystore=self.keystore, truststore=self.truststore, modules=_MODULES, plain=plain)
        if self.superusers is None:
            return said
        return said + _AUTHORIZED.format(users=";".join(f"User:{name}" for name in ("ANONYMOUS", *self.superusers)))

    def credentials(self) -> list[str]:
        """The format tool's arguments that make the users known to SCRAM."""
        return [
            argument
            for name, password in self.users.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for argument in ("--add-scram", f'{mechanism}=[name="{name}",password="{password}"]')
        ]


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Broker:
    """One Kafka process; start and stop it as often as needed, its data and port stay."""

    def __init__(self, directory: Path, *, port: int | None = None, secured: Secured | None = None) -> None:
        """Prepare a broker in an empty directory. Raises `BrokerError` where Java or jars cannot be had."""
        java, self.java = find_java()
        jars, self.jars = fetch_jars(cache_directory())
        controller, free, sasl, mutual = _free_ports(4)
        ports = {"PLAINTEXT": port if port is not None else free}
        if secured is not None:
            ports |= {"SASL_SSL": sasl, "SSL": mutual}
        self.addresses = {protocol: f"127.0.0.1:{number}" for protocol, number in ports.items()}
        self.directory = directory
        self.log = directory / "broker.log"
        self._command = [str(java), *_JAVA_OPTIONS, "-cp", os.pathsep.join(map(str, jars))]
        self._guard: subprocess.Popen[bytes] | None = None
        self.pid = 0
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "log4j2.properties").write_text(_LOGGING.format(log=self.log))
        listeners = ",".join(f"{protocol}://{address}" for protocol, address in self.addresses.items())
        properties = _PROPERTIES.format(listeners=listeners, controller=controller, data=directory / "data")
        (directory / "server.properties").write_text(properties + (secured.properties() if secured else ""))
        if not (directory / "data" / "meta.properties").exists():
            self._format(secured.credentials() if secured else [])

    @property
    def bootstrap(self) -> str:
        """Where clients connect without TLS."""
        return self.addresses["PLAINTEXT"]

    def _format(self, credentials: list[str]) -> None:
        properties = str(self.directory / "server.properties")
        done = subprocess.run(  # noqa: S603 - the arguments are ours
            [*self._command, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", properties, *credentials],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BrokerError(f"Kafka cannot format {self.directory / 'data'}: {(done.stdout + done.stderr)[-800:]}")

    def start(self) -> None:
        """Start and wait until it serves. Raises `BrokerError` where it does not."""
        started_before = self._times_started()
        logging = f"-Dlog4j2.configurationFile=file:{self.directory / 'log4j2.properties'}"
        command = [self._command[0], logging, *self._command[1:], "kafka.Kafka"]
        self._guard = subprocess.Popen(  # noqa: S603 - the arguments are ours
            ["/bin/sh", "-c", _GUARD, "sh", *command, str(self.directory / "server.properties")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a terminal's Ctrl-C is for the program, which then stops the broker in order
        )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())
        deadline = time.monotonic() + READY_TIMEOUT_S
        while self._times_started() == started_before:
            if not self.alive() or time.monotonic() > deadline:
                tail = self.log.read_text()[-1500:] if self.log.exists() else "no log"
                self.kill()
                raise BrokerError(f"Kafka did not start within {READY_TIMEOUT_S:.0f} s: {tail}")
            time.sleep(0.1)

    def _times_started(self) -> int:
        return self.log.read_text().count(_STARTED) if self.log.exists() else 0

    def alive(self) -> bool:
        """Whether the process exists."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return self._guard is not None

    def stop(self) -> None:
        """Stop in order; a broker that hangs is killed."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        assert guard.stdout is not None
        guard.stdin.close()
        try:
            guard.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGKILL)
            guard.wait()
        guard.stdout.close()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()
