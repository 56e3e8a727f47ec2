"""A broker with TLS and passwords for the tests: certificates, users, and who may do what."""

import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from cryptography.hazmat.primitives import serialization
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from detector.runtime.kafka.broker import Broker, Secured
from detector.runtime.kafka.connection import Connection
from tests.conftest import ROOT

ADMIN, WORKER = "admin", "worker"  # a user with a password, a name in a certificate: both may do everything
PRINCIPALS = ("gateway", "encode", "judge", "limiter", "oncall", "sinks", "operator")
_ROW = re.compile(r"^\| (\w+) \| (topic|group|transactional-id) \| (\S+) \| ([A-Z_, ]+) \|$", re.MULTILINE)


class SecuredKafka(NamedTuple):
    """A running broker, and the folder with what its clients need."""

    broker: Broker
    folder: Path

    def password(self, user: str) -> str:
        return (self.folder / f"{user}.password").read_text()

    def by_password(self, user: str = ADMIN, **more: Any) -> Connection:
        said = {
            "bootstrap": self.broker.addresses["SASL_SSL"],
            "security_protocol": "SASL_SSL",
            "username": user,
            "password_file": str(self.folder / f"{user}.password"),
            "ca_file": str(self.folder / "ca.pem"),
        }
        return Connection(**{**said, **more})

    def by_certificate(self, **more: Any) -> Connection:
        said = {
            "bootstrap": self.broker.addresses["SSL"],
            "security_protocol": "SSL",
            "ca_file": str(self.folder / "ca.pem"),
            "certificate_file": str(self.folder / "worker.pem"),
            "key_file": str(self.folder / "worker.key"),
        }
        return Connection(**{**said, **more})


def make(folder: Path) -> SecuredKafka:
    """Make certificates and users, and the broker; it is not started."""
    ca, stranger = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    stranger.cert_pem.write_to_path(str(folder / "stranger.pem"))
    server, worker = ca.issue_cert("127.0.0.1"), ca.issue_cert("worker.test", common_name=WORKER)
    key = serialization.load_pem_private_key(server.private_key_pem.bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(
        key.private_bytes(*form) + b"".join(part.bytes() for part in server.cert_chain_pems)
    )
    worker.cert_chain_pems[0].write_to_path(str(folder / "worker.pem"))
    key = serialization.load_pem_private_key(worker.private_key_pem.bytes(), None)
    (folder / "worker.key").write_bytes(key.private_bytes(*form))
    locked = serialization.BestAvailableEncryption(b"key-secret")
    (folder / "locked.key").write_bytes(key.private_bytes(form[0], form[1], locked))
    users = {name: f"{name}-secret-0451" for name in (ADMIN, *PRINCIPALS)}
    for name, password in users.items():
        (folder / f"{name}.password").write_text(password)
    secured = Secured(folder / "server.pem", folder / "ca.pem", users, superusers=(ADMIN, WORKER))
    return SecuredKafka(Broker(folder / "kafka", secured=secured), folder)


def rows() -> list[tuple[str, str, str, list[str]]]:
    """The page's table: principal, resource, name, operations."""
    page = (ROOT / "deploy" / "kafka-acls.md").read_text()
    return [(who, kind, name, said.split(", ")) for who, kind, name, said in _ROW.findall(page)]


def allow_as_documented(kafka: SecuredKafka, *, prefix: str, group: str) -> None:
    """Give every principal what the page says, and nothing else."""
    kinds = {
        "topic": (ResourceType.TOPIC, prefix),
        "group": (ResourceType.GROUP, group),
        "transactional-id": (ResourceType.TRANSACTIONAL_ID, group),
    }
    acls = []
    for who, kind, name, operations in rows():
        resource, before = kinds[kind]
        form = ACLResourcePatternType.PREFIXED if name.endswith("*") else ACLResourcePatternType.LITERAL
        pattern = ResourcePattern(resource, before + name.rstrip("*"), form)
        acls += [
            ACL(f"User:{who}", "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)
            for operation in operations
        ]
    admin = KafkaAdminClient(bootstrap_servers=kafka.broker.bootstrap)
    try:
        done = admin.create_acls(acls)
        assert not done["failed"], done
        # Brokers answer before the rights are in effect.
        anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        every = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, anything)
        deadline = time.monotonic() + 10
        while not set(acls) <= set(admin.describe_acls(every)[0]):
            assert time.monotonic() < deadline, "the broker does not list the rights that it was given"
            time.sleep(0.05)
    finally:
        admin.close()
