"""Receivers with a state of their own, files, and what is made of each answer."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from detector.config import parse
from detector.records import Alert, ConfigError, encode
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.metrics import PREFIX, SINK_FAMILIES
from detector.runtime.sinks import settings
from detector.runtime.sinks.conversations import AlertmanagerSink, SlackSink
from detector.runtime.sinks.delivery import Delivery, wait_s
from detector.runtime.sinks.logs_out import LinesSink, mended
from detector.runtime.sinks.memory import Memory, Told
from detector.runtime.sinks.posting import Outcome, outcome_of, retry_after_s
from detector.runtime.sinks.receivers import PagerDutySink, Sink, session_of
from detector.runtime.sinks.settings import sinks_from
from detector.runtime.sinks.standing import told_of
from detector.sinks.lines import line_of
from tests.conftest import ROOT
from tests.unit.alerting import alert, operational, resolved
from tests.unit.receiving import Receiver, Reply, Request, pagerduty, receiving, taking

Made = TypeVar("Made", bound=Sink)
BOT = "xoxb-test"


def told(
    make: Callable[[Any], Made],
    directory: Path,
    *alerts: Alert,
    then: Callable[[Made, Memory], Awaitable[Any]] | None = None,
) -> list[Outcome]:
    """Tell one sink some alerts, in order; a refusal is not tried again."""

    async def tell() -> list[Outcome]:
        memory = Memory(directory, sink="test")
        async with session_of() as session:
            sink = make(session)
            said = [await sink.take(made, memory) for made in alerts]
            if then is not None:
                said.append(await then(sink, memory))
        memory.close()
        return said

    return asyncio.run(tell())


class Slack:
    """A channel."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Reply:
        method = request.path.rpartition("/")[2]
        if request.headers.get("authorization") != f"Bearer {BOT}":
            return Reply(200, b'{"ok":false,"error":"invalid_auth"}')
        if method == "chat.postMessage":
            ts = f"{1_700_000_000 + len(self.messages)}.000100"
            self.messages.append({**request.body, "ts": ts})
            return Reply(200, orjson.dumps({"ok": True, "channel": request.body["channel"], "ts": ts}))
        thread = request.body.get("ts")
        held = [m for m in self.messages if m.get("thread_ts") == thread or m["ts"] == thread]
        return Reply(200, orjson.dumps({"ok": True, "messages": held}))


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLWATCH_SLACK_TOKEN", BOT)


def slack_sink(receiver: Receiver, **more: Any) -> Callable[[Any], SlackSink]:
    return lambda session: SlackSink(
        settings.Slack(name="slack", channel="C1", url=f"{receiver.url}/api", timeout_ms=500, **more), session
    )


@pytest.mark.usefixtures("token")
def test_slack_has_one_message_for_an_alert_and_a_reply_for_each_update(tmp_path: Path) -> None:
    channel = Slack()
    with receiving(channel) as receiver:
        said = told(slack_sink(receiver), tmp_path, alert(), alert(number=2), alert(revision=1), resolved(revision=2))
    assert {outcome.kind for outcome in said} == {"taken"}
    first, second, update, end = channel.messages
    assert "thread_ts" not in first | second
    assert update["thread_ts"] == end["thread_ts"] == first["ts"]
    assert end["text"].startswith("*Resolved* (idle)")
    assert first["metadata"] == {
        "event_type": "stillwatch_alert",
        "event_payload": {"alert_id": alert().alert_id, "revision": 0},
    }


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("lost", [Reply(200, cut=True), Reply(200, hang_s=0.8)], ids=["cut", "slow"])
def test_slack_is_asked_before_a_message_whose_answer_was_lost_is_sent_again(tmp_path: Path, lost: Reply) -> None:
    channel = Slack()

    def answer(request: Request) -> Reply:
        said = channel(request)
        return lost._replace(body=said.body) if len(channel.messages) == 1 and receiver.tries == 1 else said

    with receiving(answer) as receiver:
        (first,) = told(slack_sink(receiver), tmp_path, alert())
        assert first.kind == "later"
        # As after a crash: another process, the same memory.
        (again, update) = told(slack_sink(receiver), tmp_path, alert(), alert(revision=1))
    assert (again.kind, update.kind) == ("taken", "taken")
    assert len(channel.messages) == 2
    assert channel.messages[1]["thread_ts"] == channel.messages[0]["ts"]


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    ("body", "status", "kind", "why"),
    [
        (b'{"ok":false,"error":"ratelimited"}', 429, "later", "HTTP 429"),
        (b'{"ok":false,"error":"channel_not_found"}', 200, "later", "Slack says channel_not_found"),
        (b'{"ok":false,"error":"msg_too_long"}', 200, "refused", "Slack says msg_too_long"),
        (b"<html>", 200, "later", "no answer of Slack's"),
        (b"[]", 503, "later", "HTTP 503"),
    ],
)
def test_what_slack_answers(tmp_path: Path, body: bytes, status: int, kind: str, why: str) -> None:
    with receiving(lambda _: Reply(status, body, (("Retry-After", "7"),))) as receiver:
        (said,) = told(slack_sink(receiver), tmp_path, alert())
    assert (said.kind, said.why) == (kind, why)
    assert said.wait_s == (7.0 if status != 200 else 0.0)


@pytest.mark.usefixtures("token")
def test_slack_is_not_told_what_was_held_back_or_is_over_before_it_heard_of_it(tmp_path: Path) -> None:
    channel = Slack()
    with receiving(channel) as receiver:
        told(slack_sink(receiver), tmp_path, alert(status="suppressed"), resolved(number=2, revision=4))
        told(slack_sink(receiver), tmp_path, operational(status="resolved", status_reason="test"))
    assert [m["text"].partition("\n")[0].count("Alert storm") for m in channel.messages] == [1]


def alertmanager_sink(receiver: Receiver) -> Callable[[Any], AlertmanagerSink]:
    given = settings.Alertmanager(name="am", url=receiver.url, resend_ms=1)
    return lambda session: AlertmanagerSink(given, session)


def test_alertmanager_is_told_again_what_is_open_and_once_what_is_over(tmp_path: Path) -> None:
    with receiving(taking) as receiver:
        told(alertmanager_sink(receiver), tmp_path, alert(), alert(number=2), alert(revision=1), resolved(revision=2))

        async def remind(sink: AlertmanagerSink, memory: Memory) -> Outcome:
            await asyncio.sleep(0.01)
            return await sink.remind(memory)

        told(alertmanager_sink(receiver), tmp_path, then=remind)
    assert {request.path for request in receiver.requests} == {"/api/v2/alerts"}
    *_, ended, again = (request.body for request in receiver.requests)
    assert [("endsAt" in one, one["labels"]["campaign_id"]) for one in ended] == [(True, alert().entity.value)]
    assert [one["labels"]["campaign_id"] for one in again] == [alert(number=2).entity.value]
    assert len({orjson.dumps(one["labels"]) for request in receiver.requests[:1] for one in request.body}) == 1


def test_alertmanagers_labels_stay_and_a_changed_severity_ends_the_old_alert(tmp_path: Path) -> None:
    worse = alert(revision=1, severity="critical", signature_ids=("c3_work_queue",))
    with receiving(taking) as receiver:
        told(alertmanager_sink(receiver), tmp_path, alert(), worse, resolved(revision=2, severity="critical"))
    first, change, end = (request.body for request in receiver.requests)
    before, after = change
    assert before["labels"] == first[0]["labels"]
    assert "endsAt" in before
    assert after["labels"] == {**first[0]["labels"], "severity": "critical"}
    assert "endsAt" not in after
    assert [one["labels"] for one in end] == [after["labels"]]
    assert "endsAt" in end[0]


def test_a_pager_is_not_woken_for_what_is_not_enforced_and_hears_of_no_end_without_a_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLWATCH_PAGERDUTY_KEY", "k" * 32)
    with receiving(pagerduty) as receiver:
        given = settings.PagerDuty(name="pd", url=f"{receiver.url}/v2/enqueue")
        quiet = [alert(mode="shadow"), resolved(mode="shadow")]
        loud = [alert(number=2), alert(number=2, revision=1, mode="shadow"), resolved(number=2, revision=2)]
        said = told(lambda session: PagerDutySink(given, session), tmp_path, *quiet, *loud)
    assert {outcome.kind for outcome in said} == {"taken"}
    assert [request.body["event_action"] for request in receiver.requests] == ["trigger", "resolve"]


def test_a_file_holds_each_line_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "alerts.ocsf.jsonl"
    given = settings.Lines(name="file", path=str(path))
    told(lambda _: LinesSink(given), tmp_path, alert(), alert(revision=1))
    whole = path.read_bytes()
    (tmp_path / "sinks.sqlite").unlink()  # a crash after the line, before the memory
    path.write_bytes(whole + b'{"class_uid":2004,"cut off')
    told(lambda _: LinesSink(given), tmp_path, alert(revision=1), alert(revision=2))
    lines = path.read_bytes().splitlines()
    assert lines == [line_of(alert(revision=r), form="ocsf") for r in range(3)]


@pytest.mark.parametrize("held", [b"", b"one", b"one\n", b"a\nb\n", b"a\n" + b"x" * 200_000 + b"\n", b"\n\n"])
def test_the_last_line_of_a_file_is_found(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(held)
    lines = held.split(b"\n")[:-1]
    assert mended(path) == (lines[-1] if lines else b"")
    assert path.read_bytes() == held[: held.rfind(b"\n") + 1]


def test_a_file_that_cannot_be_written_is_tried_again_later(tmp_path: Path) -> None:
    given = settings.Lines(name="file", path=str(tmp_path / "missing" / "alerts"))
    (said,) = told(lambda _: LinesSink(given), tmp_path, alert())
    assert said.kind == "later"
    assert "No such file" in said.why


def test_a_memory_is_each_sinks_own_and_lasts(tmp_path: Path) -> None:
    one, two = Memory(tmp_path, sink="one"), Memory(tmp_path, sink="two")
    one.put("a", Told(3, {"ts": "1.2"}))
    one.close()
    again = Memory(tmp_path, sink="one")
    assert (again.get("a"), two.get("a"), again.all()) == (Told(3, {"ts": "1.2"}), None, {"a": Told(3, {"ts": "1.2"})})
    again.close()
    two.close()


def test_what_a_status_means() -> None:
    kinds = {200: "taken", 202: "taken", 204: "taken", 301: "later", 400: "refused", 401: "later", 403: "later"}
    kinds |= {404: "later", 408: "later", 413: "refused", 422: "refused", 429: "later", 500: "later", 503: "later"}
    assert {status: outcome_of(status).kind for status in kinds} == kinds


@pytest.mark.parametrize("text", [None, "", "soon", "-1", "Thu, 99 Jan 1970 00:00:00 GMT", "1e9", "٣"])
def test_a_retry_after_that_does_not_read_asks_for_nothing(text: str | None) -> None:
    assert retry_after_s(text, now_s=0.0) == 0.0


def test_waits_double_are_spread_are_bounded_and_are_never_shorter_than_asked() -> None:
    given = settings.Webhook(url="http://x/", back_off_ms=100, back_off_ms_max=1_000)
    for failures, most_s in ((1, 0.1), (2, 0.2), (4, 0.8), (5, 1.0), (10_000, 1.0)):
        waits = [wait_s(given, failures=failures, asked_s=0.0) for _ in range(50)]
        assert most_s / 2 <= min(waits) < max(waits) <= most_s
    assert wait_s(given, failures=1, asked_s=60.0) == 60.0


BAD = {
    'kind = "pager"': "sinks",
    'kind = "webhook"\nurl = "http://x/"\nurll = 1': "urll",
    'kind = "webhook"\nurl = "ftp://x/"': r"sinks\[0\].url",
    'kind = "webhook"\nurl = "http://me:secret@x/"': r"without a password",
    'kind = "webhook"\nurl = "http://x/"\nname = "A B"': "lower-case",
    'kind = "webhook"\nurl = "http://x/"\ntimeout_ms = 0': "timeout_ms=0 must be positive",
    'kind = "pagerduty"\nrunbooks = "wiki"': "ends in /",
    'kind = "pagerduty"\n[[sinks]]\nkind = "pagerduty"': "is taken",
}


@pytest.mark.parametrize("table", BAD)
def test_a_bad_table_is_an_error_that_says_where(table: str) -> None:
    with pytest.raises(ConfigError, match=BAD[table]) as wrong:
        sinks_from(f"[[sinks]]\n{table}")
    assert "secret" not in str(wrong.value).replace("secrets come from files", "")


def test_the_judge_does_not_read_what_the_sinks_do() -> None:
    assert parse('mode = "enforce"\n[[sinks]]\nkind = "pagerduty"\n').mode == "enforce"


def test_a_sink_without_its_secret_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STILLWATCH_PAGERDUTY_KEY", raising=False)
    with pytest.raises(ConfigError, match="STILLWATCH_PAGERDUTY_KEY"):
        told(lambda session: PagerDutySink(settings.PagerDuty(name="pd"), session), tmp_path)


def test_the_documented_tables_are_read() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "deploy" / "README.md").read_text(), re.DOTALL)
    assert [sink.name for sink in sinks_from(block)] == [
        "pagerduty",
        "slack",
        "alertmanager",
        "webhook",
        "file",
        "topic",
    ]


class Consumer:
    """A group's member that has one record."""

    def __init__(self, value: bytes) -> None:
        self.place = TopicPartition("stillwatch.alerts", 0)
        self.record = SimpleNamespace(
            topic=self.place.topic, partition=0, offset=7, key=b"k", value=value, headers=[], timestamp=0
        )
        self.sought: list[int] = []
        self.committed: list[dict[TopicPartition, int]] = []

    async def getmany(self, **_: object) -> dict[TopicPartition, list[Any]]:
        return {self.place: [self.record]}

    def seek(self, place: TopicPartition, offset: int) -> None:
        assert place == self.place
        self.sought.append(offset)

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.committed.append(offsets)

    def assignment(self) -> set[TopicPartition]:
        return set()


class Refusing:
    """A sink that takes nothing."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    async def take(self, alert: Alert, memory: Memory) -> Outcome:
        del alert, memory
        return self.outcome

    async def remind(self, memory: Memory) -> Outcome:
        del memory
        return Outcome("taken")


def stepped(directory: Path, outcome: Outcome, consumer: Consumer) -> BaseException | None:
    async def step() -> BaseException | None:
        memory = Memory(directory, sink="test")
        given = settings.Webhook(name="hook", url="http://x/", back_off_ms=1)
        nobody = Connection(bootstrap="127.0.0.1:1")
        try:
            await Delivery(given, Refusing(outcome), memory, nobody)._step(consumer)
        except KafkaError as wrong:
            return wrong
        finally:
            memory.close()
        return None

    return asyncio.run(step())


def test_a_record_that_was_not_taken_stays_the_next_one(tmp_path: Path) -> None:
    consumer = Consumer(encode(alert()))
    assert stepped(tmp_path, Outcome("later", "HTTP 503"), consumer) is None
    assert (consumer.sought, consumer.committed) == ([7], [])


def test_a_record_whose_letter_cannot_be_written_stays_the_next_one(tmp_path: Path) -> None:
    consumer = Consumer(encode(alert()))
    assert stepped(tmp_path, Outcome("refused", "HTTP 400"), consumer) is not None
    assert (consumer.sought, consumer.committed) == ([7], [])


def test_a_revision_that_was_told_is_passed_over(tmp_path: Path) -> None:
    memory = Memory(tmp_path, sink="test")
    memory.put(alert().alert_id, Told(3, {}))
    memory.close()
    consumer = Consumer(encode(alert(revision=2)))
    assert stepped(tmp_path, Outcome("later"), consumer) is None
    assert (consumer.sought, consumer.committed) == ([], [{consumer.place: 8}])


def test_a_pager_that_was_triggered_by_another_disk_is_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLWATCH_PAGERDUTY_KEY", "k" * 32)
    with receiving(pagerduty) as receiver:
        given = settings.PagerDuty(name="pd", url=f"{receiver.url}/v2/enqueue")
        told(lambda session: PagerDutySink(given, session), tmp_path, resolved(revision=4))
    assert [request.body["event_action"] for request in receiver.requests] == ["resolve"]


def test_a_memory_that_cannot_be_opened_is_an_error_that_says_where(tmp_path: Path) -> None:
    (tmp_path / "sinks.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match=r"sinks\.sqlite"):
        Memory(tmp_path, sink="one")


def test_the_process_says_who_does_not_take_alerts_without_being_unready_for_it(tmp_path: Path) -> None:
    given = settings.Webhook(name="hook", url="http://x/")
    delivery = Delivery(given, Refusing(Outcome("later", "HTTP 503")), Memory(tmp_path, sink="hook"), Connection())
    told_ = told_of([delivery])
    assert told_.waits() == told_.wrong() == ["sink hook: partitions are not assigned"]
    delivery.failures, delivery.retried, delivery.why, delivery.parked = 2, 5, "HTTP 503", 1
    assert told_.waits() == ["sink hook: partitions are not assigned"]
    assert told_.wrong()[1:] == ["sink hook does not take alerts: HTTP 503"]
    (said,) = told_.status()["sinks"]
    assert (said["parked"], said["retried"], said["why"], said["lag"]) == (1, 5, "HTTP 503", None)
    families = {
        f.name.removeprefix(PREFIX): f for f in text_string_to_metric_families(generate_latest(told_.registry).decode())
    }
    assert set(families) == set(SINK_FAMILIES)
    for name, family in families.items():
        assert all(set(sample.labels) == set(SINK_FAMILIES[name].labels) for sample in family.samples)
    assert [s.value for s in families["sink_retries"].samples] == [5.0]
    delivery.memory.close()
