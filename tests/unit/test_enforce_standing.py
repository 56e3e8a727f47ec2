"""What an enforcer says of itself: probes, `/healthz`, and the metrics that the rules in `deploy/` ask for."""

from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from detector.enforce.client import DecisionClient, now_ms
from detector.enforce.copies import FileCopy
from detector.enforce.push import Copy, CopyError, Pusher
from detector.enforce.standing import told_of
from detector.enforce.transitions import Key, Transition
from detector.records import Decision, decision_key, encode
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.http import Told
from tests.unit.leasing import HOUR, decision
from tests.unit.waiting import until


class Down:
    """A copy that takes nothing."""

    def reconcile(self, wanted: set[Key]) -> None:
        del wanted
        raise CopyError("it is away")

    def take(self, transitions: list[Transition], enforcement: str) -> None:
        del transitions, enforcement
        raise AssertionError("never in step")


def samples(told: Told) -> dict[tuple[str, ...], float]:
    """Every sample by its name, without our prefix, and its labels' values."""
    families = text_string_to_metric_families(generate_latest(told.registry).decode())
    return {(s.name.removeprefix("stillwatch_"), *s.labels.values()): s.value for f in families for s in f.samples}


def tell(client: DecisionClient, made: Decision, *, sent_ms: int | None) -> None:
    key = decision_key(tenant=made.tenant, scope=made.scope, value=made.value)
    assert client.table.apply(key, encode(made))
    if client.changed is not None:
        client.changed(key, sent_ms)


def following(copy: Copy) -> tuple[DecisionClient, Pusher]:
    client = DecisionClient(Connection())
    return client, Pusher(client, copy)


def test_a_copy_is_ready_once_in_step_and_counts_how_late_it_learnt_what_came_since(tmp_path: Path) -> None:
    client, pusher = following(FileCopy(tmp_path / "leases.jsonl"))
    told, now = told_of(client, pusher), now_ms()
    assert told.waits() == ["decisions are not loaded yet"]
    tell(client, decision(expires_at=now + HOUR), sent_ms=None)  # what the topic held
    client.ready.set()
    assert told.waits() == ["the copy was never in step yet"]
    pusher.start()
    try:
        until(lambda: not told.waits())
        assert samples(told)["decision_apply_lag_seconds_count",] == 0
        later = now_ms() + 300  # acts only then, so that it is not late before
        tell(client, decision("a-2", effective_at=later, expires_at=now + HOUR), sent_ms=now - 20_000)
        tell(client, decision("a-3", action="observe", expires_at=now + HOUR), sent_ms=now - 20_000)  # nothing to do
        tell(client, decision(seq=2, expires_at=now + HOUR), sent_ms=now_ms() - 20_000)
        until(lambda: samples(told)["decision_apply_lag_seconds_count",] == 2)
    finally:
        pusher.stop()
    said = samples(told)
    assert 20 <= said["decision_apply_lag_seconds_sum",] < 40  # of the two only one was late
    assert said["decision_apply_lag_seconds_bucket", "10.0"] == 1
    assert (said["ready",], said["enforcer_copy_in_step",], said["enforcer_copy_held",]) == (1, 1, 2)
    assert said["enforcer_decisions_active", "challenge", "account"] == 2
    assert said["enforcer_enforcement", "on"] == 1
    assert not [name for name in generate_latest(told.registry).decode().split() if "a-1" in name]


def test_a_copy_that_never_took_anything_is_named_and_not_ready() -> None:
    client, pusher = following(Down())
    client.ready.set()
    pusher.start()
    try:
        told = told_of(client, pusher)
        until(lambda: pusher.failures > 0)
        assert told.waits() == ["the copy was never in step yet"]
        assert "the copy does not take decisions: it is away" in told.wrong()
        assert any("the source is away" in line for line in told.wrong())
        assert told.status()["copy"]["in_step"] is False
        assert samples(told)["enforcer_copy_failures_total",] >= 1
    finally:
        pusher.stop()
