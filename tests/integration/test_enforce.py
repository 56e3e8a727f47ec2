"""Enforcers follow decisions on a real Kafka, which goes away and comes back."""

import gc
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
import urllib3
from kafka import KafkaAdminClient, KafkaProducer

from detector.config import Settings
from detector.enforce.client import DecisionClient, now_ms
from detector.enforce.leases import CONTROL_KEY
from detector.records import Decision, decision_key, encode
from detector.runtime.kafka.broker import Broker
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.topics import create_topics
from tests.integration.gateways import free_port
from tests.integration.live import configuration, environment, wait_until
from tests.unit.leasing import HOUR, decision


def current(value: str = "a-1", **more: object) -> Decision:
    now = now_ms()
    return decision(value, **{"issued_at": now, "effective_at": now, "expires_at": now + HOUR, **more})


def publish(connection: Connection, *made: Decision, control: bytes | None = None) -> None:
    producer = KafkaProducer(bootstrap_servers=connection.bootstrap)
    for d in made:
        key = decision_key(tenant=d.tenant, scope=d.scope, value=d.value)
        producer.send(connection.topic("decisions"), key=key, value=encode(d))
    if control is not None:
        producer.send(connection.topic("decisions"), key=CONTROL_KEY, value=control)
    producer.flush()
    producer.close()


def contained(client: DecisionClient, account: str = "a-1") -> bool:
    lease = client.lookup({"account": account})
    return lease is not None and lease.action == "challenge"


@pytest.fixture
def collected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What kafka-python leaves to the garbage collection, and in its log: the sockets of connections that failed."""
    caplog.set_level(logging.CRITICAL + 1, logger="kafka")
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_keeps_each_lease_to_its_end_while_the_brokers_are_away(tmp_path: Path, kafka: str) -> None:
    assert kafka  # the jars are there
    with Broker(tmp_path / "broker") as broker:
        connection = Connection(bootstrap=broker.bootstrap)
        create_topics(connection, Settings())
        ends_ms = now_ms() + 5_000
        publish(connection, current(), current("a-2", expires_at=ends_ms), current("a-3", seq=1))
        client = DecisionClient(connection)
        assert client.start(timeout_s=60)
        try:
            assert [contained(client, a) for a in ("a-1", "a-2", "a-3", "a-4")] == [True, True, True, False]
            broker.kill()
            wait_until(lambda: not client.status().connected, what="that the client notices")
            assert client.ready.is_set()
            wait_until(lambda: not contained(client, "a-2"), what="the end of a lease")
            assert now_ms() >= ends_ms
            assert contained(client)
            broker.start()
            publish(connection, current(seq=2, state="revoked"), current("a-4"))
            wait_until(lambda: contained(client, "a-4"), what="a decision after the outage")
            assert not contained(client)
            assert contained(client, "a-3")
        finally:
            client.stop()


def test_a_client_that_slept_for_a_day_reads_anew_and_keeps_what_still_stands(
    installation: Callable[..., Connection],
) -> None:
    connection, slept_ms = installation(), [0]
    ends_ms = now_ms() + 7 * 24 * HOUR
    stays, gone = current(expires_at=ends_ms), current("a-2", expires_at=ends_ms)
    publish(connection, stays)
    client = DecisionClient(connection, clock_ms=lambda: now_ms() + slept_ms[0])
    assert client.start(timeout_s=60)
    try:
        # Held, and on the topic no more: revoked since, and its tombstone is compacted away too.
        client.table.apply(decision_key(tenant="default", scope="account", value="a-2"), encode(gone))
        assert [contained(client, a) for a in ("a-1", "a-2")] == [True, True]
        table = client.table
        slept_ms[0] = 13 * HOUR
        wait_until(lambda: client.table is not table, what="a table read anew")
        assert [contained(client, a) for a in ("a-1", "a-2")] == [True, False]
        publish(connection, current("a-3", expires_at=ends_ms))
        wait_until(lambda: contained(client, "a-3"), what="a decision after it")
        ahead_ms = client.status().clock_ahead_ms
        assert ahead_ms is not None
        assert ahead_ms >= 13 * HOUR
    finally:
        client.stop()


@pytest.mark.usefixtures("collected")
def test_a_client_whose_topic_is_gone_keeps_each_lease_to_its_end_and_follows_the_topic_that_comes_back(
    installation: Callable[..., Connection],
) -> None:
    connection = installation()
    ends_ms = now_ms() + 6_000
    publish(connection, current(seq=5), current("a-2", expires_at=ends_ms))
    client = DecisionClient(connection)
    assert client.start(timeout_s=60)
    admin = KafkaAdminClient(bootstrap_servers=connection.bootstrap)
    try:
        admin.delete_topics([connection.topic("decisions")])
        wait_until(lambda: "is missing" in client.status().error, what="that the client notices")
        assert "decisions" not in [name.removeprefix(connection.prefix) for name in admin.list_topics()]
        assert client.ready.is_set()
        assert contained(client)
        wait_until(lambda: not contained(client, "a-2"), what="the end of a lease")
        assert now_ms() >= ends_ms
        create_topics(connection, Settings())
        publish(connection, current(seq=6, state="revoked"), current("a-3"))
        wait_until(lambda: contained(client, "a-3"), what="a decision of the new topic")
        wait_until(lambda: not contained(client), what="the revoke")
    finally:
        client.stop()
        admin.close()


def test_the_kill_switch_is_seen_behind_a_transaction_that_hangs(installation: Callable[..., Connection]) -> None:
    connection = installation()
    publish(connection, current())
    client = DecisionClient(connection)
    assert client.start(timeout_s=60)
    stuck = KafkaProducer(
        bootstrap_servers=connection.bootstrap, transactional_id="stuck", transaction_timeout_ms=60_000
    )
    try:
        stuck.init_transactions()
        stuck.begin_transaction()
        for number in range(8):  # on every partition
            hidden = current(f"h-{number}")
            key = decision_key(tenant="default", scope="account", value=hidden.value)
            stuck.send(connection.topic("decisions"), key=key, value=encode(hidden))
        stuck.flush()
        publish(connection, control=b'{"enforcement":"off","since":0,"by":"kim","reason":"the judge is stuck"}')
        wait_until(lambda: not contained(client), what="the kill switch", timeout_s=10)
        assert client.status().connected
        assert len(client.table) == 1  # of what is not committed nothing else counts
        stuck.abort_transaction()
        publish(connection, control=b'{"enforcement":"on","since":1,"by":"kim","reason":"over"}')
        wait_until(lambda: contained(client), what="the kill switch")
    finally:
        client.stop()
        stuck.close()


def test_the_verb_keeps_a_file_in_step_and_obeys_the_kill_switch(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation()
    publish(connection, current(), current("shadow", mode="shadow", action="observe"))
    path = tmp_path / "leases.jsonl"

    def held() -> list[str]:
        lines = path.read_bytes().splitlines() if path.exists() else [b"{}"]
        return [orjson.loads(line)["value"] for line in lines[1:]]

    config = configuration(connection, tmp_path)
    at = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "detector", "enforce", "file", str(path), "--config", str(config), "--http", at]

    def page(name: str) -> str:
        with suppress(urllib3.exceptions.HTTPError):  # it may not listen yet
            return urllib3.request("GET", f"http://{at}/{name}", retries=False, timeout=10).data.decode()
        return ""

    def samples(name: str) -> float:
        return float(re.search(rf"^stillwatch_{name} (\S+)$", page("metrics"), re.MULTILINE)[1])  # type: ignore[index]

    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: held() == ["a-1"], what="the file")
        wait_until(lambda: page("readyz") == "ok\n", what="readiness")
        assert samples("decision_apply_lag_seconds_count") == 0  # what the topic held before is nobody's lag
        publish(connection, current("a-2"))
        wait_until(lambda: held() == ["a-1", "a-2"], what="the next decision")
        wait_until(lambda: samples("decision_apply_lag_seconds_count") == 1, what="its lag")
        assert samples("enforcer_copy_held") == 2
        assert page("healthz") == "ok\n"
        publish(connection, control=b'{"enforcement":"off","since":0,"by":"kim","reason":"drill"}')
        wait_until(lambda: held() == [], what="the kill switch")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=15)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
    assert "in step" in said
