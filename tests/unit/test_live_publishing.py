"""What the judge publishes, without Kafka: where each output goes, and in which bytes."""

from typing import NamedTuple

import pytest

from detector.config import Settings
from detector.decision import Tombstone
from detector.operators import Control, Received, read_from_topic
from detector.records import Decision, encode
from detector.runtime.kafka.publishing import (
    ALERT_HEADER,
    POSITION_HEADER,
    Adopted,
    Progress,
    SnapshotPlace,
    SourcePlace,
    Stale,
    messages_of,
    progress_message,
    read_progress,
)
from detector.runtime.kafka.views import alert_of
from detector.sinks.lines import AlertFormat, line_of
from detector.vocabulary import Mode
from tests.unit.alerting import alert


def decision(mode: Mode) -> Decision:
    return Decision(
        decision_id="d",
        seq=1,
        tenant="t",
        scope="account",
        value="ä b",
        action="throttle",
        issued_at=0,
        effective_at=0,
        expires_at=1,
        reason_code="r",
        reason="r",
        mode=mode,
        config_hash="h",
    )


class Read(NamedTuple):
    """A record as a reader has it."""

    value: bytes | None
    headers: list[tuple[str, bytes]]


@pytest.mark.parametrize("form", ["native", "ocsf", "ecs", "cef"])
def test_an_alert_reads_back_whatever_the_topic_carries(form: AlertFormat) -> None:
    (made,) = messages_of(alert(), frame_partition=2, frame_offset=7, form=form)
    assert (made.topic, made.key) == ("alerts", alert().dedup_key.encode())
    assert made.value == line_of(alert(), form=form)
    assert (ALERT_HEADER in dict(made.headers)) is (form != "native")
    assert alert_of(Read(made.value, made.headers)) == alert()
    assert alert_of(Read(b"CEF:0|", [])) is None
    assert alert_of(Read(None, [])) is None


@pytest.mark.parametrize(("mode", "topics"), [("shadow", ["decision-log"]), ("enforce", ["decision-log", "decisions"])])
def test_a_shadow_decision_never_goes_to_the_enforcement_topic(mode: Mode, topics: list[str]) -> None:
    made = messages_of(decision(mode), frame_partition=2, frame_offset=7)
    assert [m.topic for m in made] == topics
    for message in made:
        assert message.key == '["t","account","ä b"]'.encode()
        assert message.value == encode(decision(mode))
        assert message.headers == [(POSITION_HEADER, b"2:7")]


def test_a_tombstone_takes_the_key_from_the_current_decisions_only() -> None:
    (made,) = messages_of(Tombstone(tenant="t", scope="account", value="ä b"), frame_partition=2, frame_offset=7)
    assert made[:3] == ("decisions", '["t","account","ä b"]'.encode(), None)


def test_the_kill_switch_is_written_by_one_judge_in_its_own_bytes() -> None:
    control = Control(enforcement="off", since=0, by="kim", reason="drill")
    (made,) = messages_of(control, frame_partition=0, frame_offset=7)
    assert made[:2] == ("decisions", b"__control__")
    assert read_from_topic(made.value or b"", kinds=("control",), ingest_ms=5) == Received("control", control, 5)
    assert messages_of(control, frame_partition=1, frame_offset=7) == []


def test_progress_reads_as_it_was_written() -> None:
    progress = Progress(
        tenant="t",
        origin=0,
        frame_offset=9,
        pane_end_ms=None,
        sources={"access/0": SourcePlace(position=5, time_ms=1, follows=True)},
        settings=Settings(pane_ms=5_000),
        adopted=(Adopted(frame_offset=8, settings=Settings(mode="enforce", tenants=("t",))),),
        snapshot=SnapshotPlace(generation=2, manifest_offset=8),
        stale=(Stale(generation=1, chunks=4),),
        config_hash="h",
        version="v",
    )
    message = progress_message(progress, partition=1)
    assert (message.topic, message.key) == ("progress", b"1")
    assert read_progress(message.value or b"") == progress
