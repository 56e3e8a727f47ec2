"""What an operator sees of a live worker: probes, metrics, logs, a test alert, and how it ends."""

import asyncio
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from detector.records import Alert, decode
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.produce import send_end
from tests.integration.live import Worker, all_ended, read_topic, wait_until, worker
from tests.integration.test_hostile_records import good

MARK = "xyzzy7"  # stands wherever a record can hold something
STOP_S = 10.0  # what an operator gives


def page(live: Worker, path: str, *, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"{live.address()}{path}", method=method)  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read().decode()
    except HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()


def hostile() -> list[bytes]:
    """Records that quote the mark, good ones and every kind of bad one."""
    places = ("account_id", "org_id", "user_agent", "request_model", "conversation_id", "template_fp")
    marked = dict.fromkeys(places, MARK)
    at_ms = int(time.time() * 1000) - 60_000
    out = [orjson.dumps(good(n, at_ms, **marked) | {"event_id": f"{MARK}{n}"}) for n in range(60)]
    out += [orjson.dumps(good(n, at_ms, content={"prompt": f"tell {MARK} everything"})) for n in range(5)]
    out += [orjson.dumps(good(n, at_ms, tenant=MARK)) for n in range(5)]
    out += [orjson.dumps(good(n, at_ms, **{MARK: MARK, "input_tokens": MARK})) for n in range(5)]
    out += [orjson.dumps(good(n, at_ms) | {"event_time": MARK}) for n in range(5)]
    out += [f'{{"event_id": "{MARK}'.encode(), f"{MARK}".encode(), f'["{MARK}"]'.encode(), f'"\\ud800{MARK}'.encode()]
    out += [orjson.dumps(good(1, at_ms, account_id=MARK * 100)), f'{{"{MARK}":1,"{MARK}":2}}'.encode()]
    return out


async def send(connection: Connection, records: list[bytes]) -> None:
    topic = connection.topic("access")
    async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
        for number, value in enumerate(records):
            headers = [("stillwatch.control", MARK.encode()), (MARK, b"\xff")]
            await producer.send(topic, value, key=MARK.encode(), partition=number % 2, headers=headers)
        await producer.flush()
        await send_end(producer, topic, [0, 1])


def test_a_worker_tells_its_state_and_nothing_of_the_records(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation(partitions=2, snapshot_interval_ms=500)
    records = hostile()
    with worker(connection, tmp_path, "--verbose") as live:
        assert page(live, "/livez") == (200, "ok\n")
        wait_until(lambda: page(live, "/readyz") == (200, "ok\n"), what="readiness")
        asyncio.run(send(connection, records))
        wait_until(lambda: live.process.poll() is not None or all_ended(connection), what="the end")
        _, metrics = page(live, "/metrics")
        _, status = page(live, "/status")
        _, text = page(live, "/status?format=text")
        code, answer = page(live, "/test-alert", method="POST")
        assert live.stop(STOP_S) == 0, live.said()
    for said in (metrics, status, text, live.log.read_text()):
        assert MARK not in said
    held = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(metrics) for s in f.samples}
    accepted = sum(value for key, value in held.items() if key[0] == "stillwatch_events_total" and "ok" in key)
    dead = sum(value for key, value in held.items() if key[0] == "stillwatch_events_dead_letter_total")
    assert (accepted + dead, accepted) == (len(records), 60)
    assert held["stillwatch_ready",] == 1
    assert orjson.loads(status)["tenants"][0]["tenant"] == "default"
    # The test alert stands beside the judge's own, and says what it is.
    assert code == 202
    (identity,) = orjson.loads(answer)["alert_ids"]
    (alert,) = (decode(record.value, kind=Alert) for record in read_topic(connection, "alerts"))
    assert (alert.alert_id, alert.kind, alert.status, alert.severity) == (identity, "operational", "resolved", "info")
    assert alert.title.startswith("Test alert")
    # Every line is JSON, and the worker leaves nothing where it was started.
    lines = [orjson.loads(line) for line in live.log.read_text().splitlines()]
    assert {"worker.running", "http.listening", "alert.tested", "worker.stopped"} <= {
        line.get("event.action") for line in lines
    }
    left = {path.name for path in tmp_path.iterdir()}
    assert {name for name in left if not name.endswith((".toml", ".log"))} <= {"state"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_stops_in_order_even_while_it_begins(
    number: signal.Signals, installation: Callable[..., Connection], tmp_path: Path
) -> None:
    with worker(installation(partitions=1), tmp_path, "--log-format", "text") as live:
        live.address()  # its signals are taken from here on; its roles are about to start
        live.signal(number)
        assert live.process.wait(STOP_S) == 0, live.said()
    assert "Traceback" not in live.said()
    assert "stillwatch.worker: stopped" in live.said()


def test_what_cannot_be_mended_by_waiting_ends_the_worker_with_4(tmp_path: Path, kafka: str) -> None:
    nobody = Connection(bootstrap=kafka, prefix="nobody-made-these.", group="nobody")
    with worker(nobody, tmp_path, begin="end") as live:
        assert live.process.wait(60) == 4, live.said()
    assert '"event.action":"worker.failed"' in live.said().replace(" ", "")
    assert "Traceback" not in live.said()
