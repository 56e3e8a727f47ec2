"""TLS and passwords for every client, the least rights that the page documents, and errors that name no secret."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from detector.__main__ import app
from detector.config import Settings
from detector.hashing import DEVELOPMENT_KEY, key_digest
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.topics import create_topics
from tests.integration import security
from tests.integration.conftest import Recorded
from tests.integration.live import (
    all_ended,
    configuration,
    environment,
    outputs,
    printed,
    read_topic,
    stillwatch,
    wait_until,
    worker,
)
from tests.integration.security import SecuredKafka

SECRET = "secret"  # noqa: S105 - stands in every password of these tests
WAYS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "certificate", "locked key")


def way(kafka: SecuredKafka, name: str, **more: Any) -> Connection:
    if name == "certificate":
        return kafka.by_certificate(**more)
    if name == "locked key":
        (kafka.folder / "key.password").write_text("key-secret\n")
        locked = {"key_file": str(kafka.folder / "locked.key"), "key_password_file": str(kafka.folder / "key.password")}
        return kafka.by_certificate(**locked, **more)
    return kafka.by_password(sasl_mechanism=name, **more)


@pytest.mark.parametrize("name", WAYS)
def test_every_client_gets_in(secured: SecuredKafka, tmp_path: Path, name: str) -> None:
    prefix = f"{WAYS.index(name)}."
    connection = way(secured, name, prefix=prefix, group=f"g{prefix}")
    config = ("--config", str(configuration(connection, tmp_path)))
    log = tmp_path / "log.jsonl"
    log.write_text('{"event_id": "e1"}\n')
    assert f"created {prefix}access" in stillwatch("topics", "create", *config)  # kafka-python's admin client
    assert printed("produce", str(log), *config) == f"1 records sent to {prefix}access\n"  # aiokafka
    assert "missing_field" not in stillwatch("dlq", "list", *config)  # kafka-python's consumer
    made = printed("allow", "add", "org", "a", "--owner", "kim", "--reason", "r", "--for", "1h", *config)
    assert msgspec.json.decode(made)["value"] == "a"  # and its producer


def test_a_worker_gets_in_by_its_certificate(secured: SecuredKafka, tmp_path: Path) -> None:
    connection = way(secured, "locked key", prefix="mutual.", group="mutual")
    create_topics(connection, Settings(), access_partitions=1)
    log = tmp_path / "log.jsonl"
    log.write_text('{"event_id": "e1"}\n')
    config = ("--config", str(configuration(connection, tmp_path)))
    stillwatch("produce", str(log), *config)
    with worker(connection, tmp_path, "--roles", "encode") as live:
        wait_until(lambda: "missing_field" in stillwatch("dlq", "list", *config), what="a letter", every_s=1.0)
        assert live.stop() == 0, live.said()


def test_a_run_with_the_documented_rights_finds_the_campaign(
    secured: SecuredKafka, recorded: Recorded, tmp_path: Path
) -> None:
    place: Any = {"prefix": "least.", "group": "least", "session_timeout_ms": 6_000, "snapshot_interval_ms": 2_000}
    owner = secured.by_password(**place)
    create_topics(owner, Settings(), access_partitions=4)
    security.allow_as_documented(secured, prefix="least.", group="least")

    def config(user: str) -> tuple[str, str]:
        (tmp_path / user).mkdir(exist_ok=True)
        return "--config", str(configuration(secured.by_password(user, **place), tmp_path / user))

    stillwatch("produce", str(recorded.log), "--end", *config("gateway"))
    (tmp_path / "e").mkdir()
    (tmp_path / "j").mkdir()
    encode, judge = (secured.by_password(user, **place) for user in ("encode", "judge"))
    with (
        worker(encode, tmp_path / "e", "--roles", "encode", "-v") as first,
        worker(judge, tmp_path / "j", "--roles", "judge", "-v") as second,
    ):
        running = (first, second)
        wait_until(lambda: any(w.process.poll() is not None for w in running) or all_ended(owner), what="the end")
        for live in running:
            assert live.stop() == 0, live.said()
            assert SECRET not in live.log.read_text()
    assert outputs(owner)[0] == (recorded.replay / "alerts.jsonl").read_bytes()
    lines = msgspec.json.decode(printed("doctor", *config(security.ADMIN)))
    found = {line["check"]: (line["level"], line["found"]) for line in lines}
    assert found["group least-encode"] == ("ok", "0 records behind")
    assert found["group least-judge"][0] == "ok"  # it acknowledges up to its last snapshot
    level, said = found["state of default"]
    assert level == "warn"  # the workers ran in the mode enforce, the configuration is that of shadow
    assert f"with key {key_digest(DEVELOPMENT_KEY)}, settings" in said
    (tmp_path / "other.key").write_text("ab" * 32)
    other = stillwatch("doctor", "--key-file", str(tmp_path / "other.key"), *config(security.ADMIN), code=4)
    assert "use the fingerprint key that it was made with" in other
    place["state_directory"] = str(tmp_path / "state")
    _, page = config("sinks")
    sink = f'[[sinks]]\nkind = "file"\nformat = "native"\npath = "{tmp_path / "sunk"}"\n'
    Path(page).write_text(Path(page).read_text() + sink)
    stillwatch("sinks", "--once", "--from-beginning", "--config", page)
    assert (tmp_path / "sunk").read_bytes() == outputs(owner)[0]
    alerts = msgspec.json.decode(printed("alerts", "list", "--all", *config("oncall")))
    alert = next(a for a in alerts if a["kind"] == "campaign")
    label = ("alerts", "label", alert["alert_id"], "tp", "--by", "kim")
    assert msgspec.json.decode(printed(*label, *config("oncall")))["verdict"] == "true_positive"
    key = ("account", alert["campaign"]["members_sample"][0])
    revoke = ("decisions", "revoke", key[1], "--scope", key[0], "--by", "kim", "--reason", "r")
    assert "Authorization" in stillwatch(*revoke, *config("oncall"), code=4)
    assert msgspec.json.decode(printed(*revoke, *config("operator")))["value"] == key[1]
    last = {r.key: r.value for r in read_topic(owner, "decisions")}
    listed = msgspec.json.decode(printed("decisions", "list", "--all", *config("limiter")))
    assert len(listed) == sum(value is not None for value in last.values()) > 0
    assert "Authorization" in stillwatch("allow", "add", *key, "--owner", "x", "--reason", "r", "--for", "1h",
                                         *config("limiter"), code=4)  # fmt: skip
    stillwatch("decisions", "kill-switch", "off", "--by", "kim", "--reason", "test", *config("operator"))
    assert "stands at off" in stillwatch("decisions", "list", *config("limiter"))


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


WRONG = {
    "password": ("it does not let 'admin' in; check kafka.username and the password", {"password_file": "oncall"}),
    "user": ("it does not let 'nobody' in", {"username": "nobody"}),
    "authority": ("its certificate is refused (unable to get local issuer certificate)", {"ca_file": "stranger.pem"}),
    "host": ("its certificate is refused (Hostname mismatch", {"bootstrap": "localhost"}),
    "plaintext": ("does it want another security_protocol than PLAINTEXT", {"security_protocol": "PLAINTEXT"}),
    "no certificate": (
        "or a client's certificate (certificate_file)",
        {"bootstrap": "SSL", "security_protocol": "SSL"},
    ),
    "no TLS there": ("does it want another security_protocol than SASL_SSL", {"bootstrap": "PLAINTEXT"}),
    "nobody there": ("Connection refused; check --bootstrap", {"bootstrap": "127.0.0.1:1"}),
    "unknown name": ("its name is unknown; check --bootstrap", {"bootstrap": "kafka.invalid:9093"}),
    "silent": ("no answer within 5 s", {"bootstrap": "silent"}),
}
VERBS: dict[str, tuple[str, ...]] = {
    "admin": ("topics", "check"),
    "worker": ("run",),
    "producer": ("produce", "-"),
    "reader": ("alerts", "list"),
    "doctor": ("doctor",),
}


def wrongly(kafka: SecuredKafka, changes: dict[str, str], quiet: str) -> Connection:
    more = dict(changes)
    if more.get("bootstrap") == "localhost":
        more["bootstrap"] = "localhost:" + kafka.broker.addresses["SASL_SSL"].rpartition(":")[2]
    more["bootstrap"] = {**kafka.broker.addresses, "silent": quiet}.get(
        more.get("bootstrap", "SASL_SSL"), more.get("bootstrap", "")
    )
    for name in ("password_file", "ca_file"):
        if name in more:
            more[name] = str(kafka.folder / more[name]) + (".password" if name == "password_file" else "")
    return kafka.by_password(**more)


@pytest.mark.parametrize("name", WRONG)
def test_what_keeps_a_client_out_is_said_and_no_secret_with_it(
    secured: SecuredKafka, tmp_path: Path, name: str
) -> None:
    sentence, changes = WRONG[name]
    with silent() as quiet:
        connection = wrongly(secured, changes, quiet)
        config = ("--config", str(configuration(connection, tmp_path)))
        for verb in VERBS.values() if name in ("password", "plaintext") else [VERBS["admin"]]:
            done = CliRunner(env=environment()).invoke(app, [*verb, *config], input="")
            assert done.exit_code == 4, done.output
            assert sentence in done.output
            assert "Traceback" not in done.output
            assert SECRET not in done.output
            assert done.output.count("\n") == 1


def test_an_address_that_does_not_read_is_a_usage_error() -> None:
    assert "name HOST:PORT" in stillwatch("topics", "check", "--bootstrap", "b:port", code=2)


def test_a_topic_input_takes_its_security_from_the_configuration(secured: SecuredKafka, tmp_path: Path) -> None:
    connection = secured.by_password(prefix="in.", bootstrap="127.0.0.1:1")
    create_topics(secured.by_password(prefix="in."), Settings(), access_partitions=1)
    config = ("--config", str(configuration(connection, tmp_path)))
    address = f"kafka://{secured.broker.addresses['SASL_SSL']}/in.access"
    assert "no record was accepted" in stillwatch("validate", address, *config, code=3)
    assert "no broker lets us in" in stillwatch("validate", address, code=4)
    said = stillwatch("validate", "kafka://kim:pass-secret@b:9092/in.access", *config, code=3)
    assert "without names or passwords in it" in said
    assert SECRET not in said
