"""The live page follows the topics of a real Kafka, which goes away and comes back."""

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from kafka import KafkaProducer

from detector.config import Settings
from detector.operators import Control
from detector.records import Alert, CampaignBlock, Entity, Producer, Window, decision_key, encode
from detector.runtime.kafka.broker import Broker
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.orders_out import CONTROL_KEY
from detector.runtime.kafka.publishing import progress_message
from detector.runtime.kafka.topics import create_topics
from tests.integration.live import configuration, end_with_parent, environment, wait_until
from tests.unit.leasing import HOUR, decision
from tests.unit.paging import judge


def alert(identity: str, now_ms: int) -> Alert:
    return Alert(
        alert_id=identity,
        revision=0,
        dedup_key=identity,
        status="open",
        kind="campaign",
        signature_ids=(),
        config_hash="0",
        version="0",
        title="<b>Coordinated</b>",
        summary="49 accounts",
        severity="high",
        risk_score=80,
        entity=Entity(scope="campaign", value=f"campaign-{identity}", tenant="default"),
        campaign=CampaignBlock(id=f"campaign-{identity}", accounts=49, requests=100),
        window=Window(start=0, end=now_ms),
        first_seen=0,
        last_seen=now_ms,
        detected_at=now_ms,
        producer=Producer(version="0"),
    )


def publish(connection: Connection, *records: tuple[str, bytes, bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=connection.bootstrap)
    for topic, key, value in records:
        producer.send(connection.topic(topic), key=key, value=value)
    producer.flush()
    producer.close()


def asked(address: str, path: str = "") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address + path, timeout=10) as answer:  # noqa: S310 - our own page
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_the_page_follows_the_topics_and_says_when_it_hears_nothing(tmp_path: Path, kafka: str) -> None:
    assert kafka  # the jars are there
    now_ms = time.time_ns() // 1_000_000
    lease = decision("acct-1", issued_at=now_ms, effective_at=now_ms, expires_at=now_ms + HOUR)
    key = decision_key(tenant=lease.tenant, scope=lease.scope, value=lease.value)
    with Broker(tmp_path / "broker") as broker:
        connection = Connection(bootstrap=broker.bootstrap, group="serve")
        create_topics(connection, Settings())
        progress = progress_message(judge(now_ms), partition=0)
        assert progress.value is not None
        publish(
            connection,
            ("alerts", b"a-1", encode(alert("a-1", now_ms))),
            ("alerts", b"foreign", b'{"class_uid": 2004}'),
            ("decisions", key, encode(lease)),
            ("progress", progress.key, progress.value),
        )
        said = (tmp_path / "said").open("w+")
        command = [sys.executable, "-m", "detector", "serve", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--config", str(configuration(connection, tmp_path))],
            env=environment(),
            stderr=said,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the tests start no threads that hold locks
        )
        try:
            (address,) = wait_until(
                lambda: re.findall(r"live page: (http://127\.0\.0\.1:\d+/)\n", Path(said.name).read_text()),
                what="the page",
            )
            wait_until(lambda: asked(address, "readyz")[0] == 200, what="that the topics are read")
            page = asked(address)[1]
            for words in (
                "campaign-a-1",
                "&lt;b&gt;Coordinated&lt;/b&gt;",
                "acct-1",
                "1 record of these topics did not read",
            ):
                assert words in page
            control = Control(enforcement="off", since=now_ms, by="kim", reason="drill")
            publish(connection, ("decisions", CONTROL_KEY, encode(control)))
            wait_until(lambda: "enforcement is off" in asked(address, "view")[1], what="the kill switch")
            broker.kill()
            wait_until(lambda: asked(address, "readyz")[0] == 503, what="that the page notices")
            page = asked(address, "view")[1]
            assert "No word from the brokers" in page
            assert "campaign-a-1" in page
            broker.start()
            publish(connection, ("alerts", b"a-2", encode(alert("a-2", now_ms))))
            wait_until(lambda: "campaign-a-2" in asked(address, "view")[1], what="an alert after the outage")
            wait_until(lambda: asked(address, "readyz")[0] == 200, what="that the page is well again")
            assert "campaign-a-1" in asked(address, "view")[1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=15) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            said.close()
