"""Alerts go from a real Kafka to receivers that fail in every documented way: none lost, none twice, in order."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from detector.records import Alert, encode
from detector.runtime.kafka.connection import Connection
from detector.runtime.sinks import running
from detector.runtime.sinks.settings import SinkSettings, sinks_from
from tests.integration.live import configuration, read_topic, stillwatch, wait_until
from tests.unit.alerting import alert, resolved
from tests.unit.receiving import Reply, pagerduty, receiving, taking

QUICK = "back_off_ms = 20\nback_off_ms_max = 100\ntimeout_ms = 1000\n"


def publish(connection: Connection, *alerts: Alert) -> None:
    """As the judge does it: in a transaction."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=connection.bootstrap, transactional_id=f"{connection.group}-test")
        async with producer:
            for made in alerts:
                async with producer.transaction():
                    await producer.send(connection.topic("alerts"), encode(made), key=made.dedup_key.encode())

    asyncio.run(send())


def deliver(connection: Connection, tables: str, **more: bool) -> dict[str, tuple[int, int]]:
    """Deliver what the topic has, and end."""
    chosen: Sequence[SinkSettings] = sinks_from(tables)
    return asyncio.run(running.run(chosen, connection, from_beginning=True, once=True, **more))


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STILLWATCH_PAGERDUTY_KEY", "k" * 32)
    return "k" * 32


@pytest.mark.usefixtures("key")
def test_every_revision_arrives_once_and_in_order_whatever_the_receivers_do(
    installation: Callable[..., Connection],
) -> None:
    connection = installation()
    said = [alert(number=n, revision=r) for r in range(3) for n in (1, 2)] + [resolved(number=1, revision=3)]
    publish(connection, *said)
    with receiving(pagerduty) as pager, receiving(taking) as hook:
        limited = Reply(429, headers=(("Retry-After", "0"),))
        pager.script = [limited, Reply(500), Reply(503), Reply(202, cut=True), Reply(500)]
        hook.script = [Reply(200, hang_s=1.5), Reply(502), limited]
        tables = f"""
[[sinks]]
kind = "pagerduty"
url = "{pager.url}/v2/enqueue"
{QUICK}
[[sinks]]
kind = "webhook"
url = "{hook.url}/in"
{QUICK}
"""
        assert deliver(connection, tables) == {"pagerduty": (7, 0), "webhook": (7, 0)}
        # An answer that came too late, or never, makes us say it again, under the key that says so.
        keys = [r.headers["idempotency-key"] for r in hook.requests]
        assert (keys[0], len(keys)) == (keys[1], len(said) + 1)
        assert list(dict.fromkeys(keys)) == [f"{a.alert_id}:{a.revision}" for a in said]
        events = [(r.body["dedup_key"], r.body["event_action"]) for r in pager.requests]
        assert events.pop(0) == events[0]
        assert events == [(a.dedup_key, "resolve" if a.status == "resolved" else "trigger") for a in said]
        tries = pager.tries, hook.tries
        assert deliver(connection, tables) == {"pagerduty": (0, 0), "webhook": (0, 0)}
        assert (pager.tries, hook.tries) == tries


@pytest.mark.usefixtures("key")
def test_what_a_receiver_will_never_take_is_parked_and_holds_up_nothing(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation()
    publish(connection, alert(number=1), alert(number=2), alert(number=3))
    with receiving(taking) as hook:
        hook.script = [Reply(200), Reply(422)]
        tables = f'[[sinks]]\nkind = "webhook"\nurl = "{hook.url}"\n{QUICK}'
        assert deliver(connection, tables) == {"webhook": (2, 1)}
        assert [r.body["alert_id"] for r in hook.requests] == [alert(number=n).alert_id for n in (1, 3)]
    (letter,) = read_topic(connection, "dead-letter")
    headers = dict(letter.headers)
    assert headers["stillwatch.error.code"] == b"sink_refused"
    assert headers["stillwatch.error.sink"] == b"webhook"
    assert headers["__streams.errors.topic"] == connection.topic("alerts").encode()
    assert letter.value == b""
    assert "sink_refused" in stillwatch("dlq", "list", "--config", str(configuration(connection, tmp_path)))


@contextmanager
def following(connection: Connection, tables: str) -> Iterator[None]:
    """Sinks that run while the block does."""
    chosen = sinks_from(tables)
    loop = asyncio.new_event_loop()
    task = loop.create_task(running.run(chosen, connection, from_beginning=True, signals=False))
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def test_a_receiver_that_is_down_holds_up_no_other_and_gets_everything_when_it_is_back(
    installation: Callable[..., Connection],
) -> None:
    connection = installation()
    with receiving(taking) as gone:
        port = int(gone.url.rpartition(":")[2])
    with receiving(taking) as well:
        tables = f"""
[[sinks]]
kind = "webhook"
name = "down"
url = "http://127.0.0.1:{port}"
{QUICK}
[[sinks]]
kind = "webhook"
name = "well"
url = "{well.url}"
cloudevents = true
{QUICK}
"""
        with following(connection, tables):
            publish(connection, *(alert(number=n) for n in range(4)))
            wait_until(lambda: len(well.requests) == 4, what="the sink that is well", every_s=0.05)
            with receiving(taking, port=port) as back:
                wait_until(lambda: len(back.requests) == 4, what="the sink that was down", every_s=0.05)
                assert [r.body["alert_id"] for r in back.requests] == [alert(number=n).alert_id for n in range(4)]
        assert [r.body["id"] for r in well.requests] == [f"{alert(number=n).alert_id}:0" for n in range(4)]
