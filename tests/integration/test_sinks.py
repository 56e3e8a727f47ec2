"""Alerts go from a real Kafka to receivers that fail in every documented way: none lost, none twice, in order."""

import asyncio
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from detector.records import Alert, encode
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.http import HttpSettings
from detector.runtime.sinks import running
from detector.runtime.sinks.memory import Memory, Told
from detector.runtime.sinks.settings import SinkSettings, sinks_from
from detector.sinks.lines import line_of
from tests.integration.live import configuration, environment, printed, read_topic, stillwatch, wait_until
from tests.unit.alerting import alert, resolved
from tests.unit.receiving import Reply, pagerduty, receiving, taking

QUICK = "back_off_ms = 20\nback_off_ms_max = 100\ntimeout_ms = 2000\n"


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
        hook.script = [Reply(200, hang_s=2.5), Reply(502), limited]
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


@pytest.mark.usefixtures("key")
def test_what_was_parked_is_told_once_more_and_only_while_it_is_news(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation()
    publish(connection, alert(number=1), alert(number=2), alert(number=3), alert(number=3, revision=1))
    config = configuration(connection, tmp_path)
    with receiving(taking) as hook:
        tables = f'[[sinks]]\nkind = "webhook"\nurl = "{hook.url}"\n{QUICK}'
        config.write_text(f"{config.read_text()}\n{tables}")
        place = ("--config", str(config))
        hook.script = [Reply(422), Reply(413), Reply(400)]
        assert deliver(connection, tables) == {"webhook": (1, 3)}
        told = [r.body["alert_id"] for r in hook.requests]
        assert told == [alert(number=3).alert_id]  # its second revision
        listed = orjson.loads(printed("sinks", "parked", *place))
        assert [(r["alert_id"], r["state"], r["answer"]) for r in listed] == [
            (alert(number=1).alert_id, "parked", "HTTP 422"),
            (alert(number=2).alert_id, "parked", "HTTP 413"),
        ]
        every = orjson.loads(printed("sinks", *place, "parked", "--all"))
        assert [r["state"] for r in every] == ["parked", "parked", "told"]
        # The receiver refuses again, is away, and is well.
        hook.script = [Reply(422)]
        refused = orjson.loads(printed("sinks", "retry", listed[0]["letter"], *place, code=1))
        assert [(r["state"], r["answer"]) for r in refused] == [("refused", "HTTP 422")]
        hook.script = [Reply(503)]
        away = orjson.loads(printed("sinks", "retry", *place, code=4))
        assert [r["state"] for r in away] == ["away"]
        # A newer revision, which the sinks will tell by themselves, makes the letter about the older one needless.
        publish(connection, alert(number=2, revision=1))
        done = orjson.loads(printed("sinks", "retry", *place))
        assert [(r["alert_id"], r["state"]) for r in done] == [(alert(number=1).alert_id, "taken")]
        assert orjson.loads(printed("sinks", "retry", *place)) == []
        assert deliver(connection, tables) == {"webhook": (1, 0)}
        keys = [r.headers["idempotency-key"] for r in hook.requests]
        assert keys == [f"{alert(number=n).alert_id}:{r}" for n, r in ((3, 1), (1, 0), (2, 1))]
    assert "no letter 9:9" in stillwatch("sinks", "retry", "9:9", *place, code=2)


def test_lines_go_to_a_file_and_to_a_topic_once(installation: Callable[..., Connection], tmp_path: Path) -> None:
    connection = installation()
    said = [alert(), alert(number=2), alert(revision=1)]
    publish(connection, *said)
    path = tmp_path / "alerts.cef"
    tables = f"""
[[sinks]]
kind = "file"
format = "cef"
path = "{path}"
[[sinks]]
kind = "topic"
topic = "labels"
"""
    assert deliver(connection, tables) == {"file": (3, 0), "topic": (3, 0)}
    assert path.read_bytes().splitlines() == [line_of(a, form="cef") for a in said]
    read = read_topic(connection, "labels")
    assert [(r.key.decode(), r.value) for r in read] == [(a.dedup_key, line_of(a, form="ocsf")) for a in said]
    # As after a crash between the record and the memory: the last of it comes again.
    held = Memory(Path(connection.state_directory), sink="topic")
    held.put(alert().alert_id, Told(0, {}))
    held.close()
    publish(connection, alert(revision=1), alert(revision=2))
    assert deliver(connection, tables) == {"file": (2, 0), "topic": (2, 0)}
    assert len(read_topic(connection, "labels")) == 4
    assert len(path.read_bytes().splitlines()) == 4


@pytest.mark.usefixtures("key")
def test_the_verb_begins_a_new_sink_at_the_end_and_goes_on_where_it_was(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation()
    publish(connection, alert(number=1))
    with receiving(pagerduty) as pager:
        config = configuration(connection, tmp_path)
        table = f'\n[[sinks]]\nkind = "pagerduty"\nname = "oncall"\nurl = "{pager.url}/v2/enqueue"\n{QUICK}'
        config.write_text(config.read_text() + table)
        verb = ("sinks", "--config", str(config), "--once")
        assert "oncall: 0 alerts taken" in stillwatch(*verb)
        publish(connection, alert(number=2), resolved(number=2))
        assert "oncall: 2 alerts taken" in stillwatch(*verb)
        assert [r.body["event_action"] for r in pager.requests] == ["trigger", "resolve"]
        assert {r.body["dedup_key"] for r in pager.requests} == {alert(number=2).dedup_key}
        assert "no sink nobody" in stillwatch(*verb, "--sink", "nobody", code=2)
        # A record that is no alert is somebody else's; it holds up nothing.
        put(connection, b"{}")
        publish(connection, alert(number=3))
        assert "oncall: 1 alerts taken, 1 refused" in stillwatch(*verb, code=1)


def test_a_killed_process_loses_nothing_and_says_at_most_its_last_again(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation()
    said = [alert(number=n) for n in range(25)]
    with receiving(taking) as hook:
        config = configuration(connection, tmp_path)
        config.write_text(config.read_text() + f'\n[[sinks]]\nkind = "webhook"\nurl = "{hook.url}"\n{QUICK}')
        verb = ("sinks", "--config", str(config), "--from-beginning")
        process = subprocess.Popen([sys.executable, "-m", "detector", *verb, "--http", "off"], env=environment())
        try:
            publish(connection, *said)
            wait_until(lambda: len(hook.requests) >= 5, what="the first alerts", every_s=0.01)
        finally:
            process.kill()
            process.wait()
        stillwatch(*verb, "--once")
    keys = [r.headers["idempotency-key"] for r in hook.requests]
    assert list(dict.fromkeys(keys)) == [f"{a.alert_id}:0" for a in said]
    assert len(keys) <= len(said) + 1


def put(connection: Connection, value: bytes) -> None:
    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
            await producer.send_and_wait(connection.topic("alerts"), value)

    asyncio.run(send())


def page(bind: str, name: str) -> tuple[int, str]:
    """What the process answers; 0 where it does not listen yet."""
    try:
        with urllib.request.urlopen(f"http://{bind}/{name}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except OSError:
        return 0, ""


def numbers(text: str, name: str, sink: str) -> list[float]:
    """The samples of one of the sinks' metrics."""
    found = re.findall(rf'^stillwatch_sink_{name}\{{.*sink="{sink}".*\}} ([\d.e+]+)$', text, re.MULTILINE)
    return [float(number) for number in found]


@contextmanager
def following(connection: Connection, tables: str, *, bind: str) -> Iterator[None]:
    """Sinks that run while the block does."""
    chosen, http = sinks_from(tables), HttpSettings(bind=bind)
    loop = asyncio.new_event_loop()
    task = loop.create_task(running.run(chosen, connection, from_beginning=True, signals=False, http=http))
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
    with receiving(taking) as gone, receiving(taking) as other:
        port, bind = int(gone.url.rpartition(":")[2]), other.url.removeprefix("http://")
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
        with following(connection, tables, bind=bind):
            publish(connection, *(alert(number=n) for n in range(4)))
            wait_until(lambda: len(well.requests) == 4, what="the sink that is well", every_s=0.05)
            wait_until(lambda: page(bind, "healthz")[0] == 503, what="the complaint", every_s=0.05)
            assert page(bind, "healthz")[1] == "sink down does not take alerts: ClientConnectorError\n"
            assert page(bind, "readyz") == (200, "ok\n")
            metrics = wait_until(lambda: numbers(page(bind, "metrics")[1], "lag_records", "down"), what="the lag")
            assert sum(metrics) >= 4
            assert numbers(page(bind, "metrics")[1], "failing", "down") == [1.0]
            assert numbers(page(bind, "metrics")[1], "retries_total", "down")[0] >= 1
            assert numbers(page(bind, "metrics")[1], "alerts_total", "well") == [4.0, 0.0]
            with receiving(taking, port=port) as back:
                wait_until(lambda: len(back.requests) == 4, what="the sink that was down", every_s=0.05)
                assert [r.body["alert_id"] for r in back.requests] == [alert(number=n).alert_id for n in range(4)]
                wait_until(lambda: page(bind, "healthz") == (200, "ok\n"), what="health", every_s=0.05)
                down = orjson.loads(page(bind, "status")[1])["sinks"][0]
                assert (down["sink"], down["taken"], down["failures_in_a_row"]) == ("down", 4, 0)
        assert [r.body["id"] for r in well.requests] == [f"{alert(number=n).alert_id}:0" for n in range(4)]
