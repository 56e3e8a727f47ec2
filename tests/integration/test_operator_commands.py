"""What operators read and write: the right record on the right topic, as the schemas say."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec
import orjson
import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from detector.__main__ import app
from detector.records import Alert, Decision, decode, encode
from detector.runtime.kafka.connection import Connection
from detector.tuning.stix import Finding, bundle
from tests.conftest import ROOT
from tests.integration.conftest import Recorded
from tests.integration.live import configuration, environment, printed, read_topic, stillwatch

WHY = ("--by", "kim@example.test", "--reason", "a test")


class Published(NamedTuple):
    """An installation whose output topics hold a replay's alerts and decisions."""

    connection: Connection
    place: tuple[str, ...]
    alerts: list[Alert]
    decisions: list[Decision]

    def says(self, *words: str, code: int = 0) -> Any:
        return orjson.loads(printed(*words, *self.place, code=code))


def put(connection: Connection, topic: str, records: list[tuple[bytes, bytes | None]]) -> None:
    producer = KafkaProducer(bootstrap_servers=connection.bootstrap)
    for key, value in records:
        producer.send(connection.topic(topic), value, key=key)
    producer.flush()
    producer.close()


def key_of(decision: Decision) -> bytes:
    return orjson.dumps([decision.tenant, decision.scope, decision.value])


@pytest.fixture
def published(installation: Callable[..., Connection], recorded: Recorded) -> Published:
    connection = installation()
    alerts = [decode(line, kind=Alert) for line in (recorded.replay / "alerts.jsonl").read_bytes().splitlines()]
    lines = (recorded.replay / "decisions.jsonl").read_bytes().splitlines()
    decisions = [decode(line, kind=Decision) for line in lines]
    put(connection, "alerts", [(alert.dedup_key.encode(), encode(alert)) for alert in alerts])
    for topic in ("decisions", "decision-log"):
        put(connection, topic, [(key_of(d), encode(d)) for d in decisions])
    return Published(
        connection, ("--bootstrap", connection.bootstrap, "--prefix", connection.prefix), alerts, decisions
    )


def written(connection: Connection, topic: str, schema: str) -> list[tuple[bytes, dict[str, Any]]]:
    """Keys and records of a topic, each held against its schema."""
    published = json.loads((ROOT / "schemas" / f"{schema}.json").read_text())
    validator = jsonschema_rs.validator_for(published, validate_formats=True)
    out = []
    for record in read_topic(connection, topic):
        said = orjson.loads(record.value)
        validator.validate(said)
        out.append((record.key, said))
    return out


def leased(decision: Decision, **more: Any) -> Decision:
    """A decision that holds for an hour from now."""
    now = int(time.time() * 1000)
    times = {"issued_at": now, "effective_at": now - 1, "expires_at": now + 3_600_000}
    return msgspec.structs.replace(decision, **{"seq": decision.seq + 1_000, "state": "active", **times, **more})


def test_alerts_are_listed_shown_labelled_and_resolved(published: Published) -> None:
    says, place = published.says, published.place
    latest = {alert.alert_id: alert for alert in published.alerts}
    listed = says("alerts", "list", "--all")
    assert {row["alert_id"]: row["revision"] for row in listed} == {a.alert_id: a.revision for a in latest.values()}
    campaign = next(a for a in latest.values() if a.kind == "campaign")
    assert says("alerts", "show", campaign.alert_id) == orjson.loads(encode(campaign))
    assert says("alerts", "list", "--severity", "info") == []
    assert campaign.alert_id in stillwatch("alerts", "list", "--all", "-o", "human", *place)
    assert orjson.loads(printed("alerts", "list", "--all", "--json", *place)) == listed
    shown = stillwatch("alerts", "show", campaign.alert_id, "-o", "human", *place)
    assert "It would be wrong" in shown
    assert "\u2588" in shown
    first = printed("alerts", "tail", "--from-beginning", "--limit", "1", *place)
    assert orjson.loads(first)["revision"] == 0
    stillwatch("alerts", "label", campaign.alert_id, "fp", "--by", "kim", "--note", "a load test", *place)
    stillwatch("alerts", "label", campaign.alert_id, "suspicious", "--by", "kim", *place)
    labels = written(published.connection, "labels", "label")
    assert [(key.decode(), label["verdict"]) for key, label in labels] == [
        (campaign.alert_id, "false_positive"),
        (campaign.alert_id, "suspicious"),
    ]
    told = says("alerts", "show", campaign.alert_id, "--dossier", "-o", "json")
    assert [word["verdict"] for word in told["labels"]] == ["suspicious"]
    assert told["decisions"]["records"] == sum(d.campaign_id == campaign.entity.value for d in published.decisions)
    stillwatch("alerts", "resolve", campaign.alert_id, *WHY, *place)
    ((key, command),) = written(published.connection, "commands", "command")
    assert orjson.loads(key) == ["default", "campaign", campaign.entity.value]
    assert (command["command"], command["alert_id"], command["reason"]) == ("resolve", campaign.alert_id, "a test")
    other = next(a for a in latest.values() if a.kind == "operational")
    for verb in (("alerts", "resolve"), ("decisions", "approve")):
        assert f"alert {other.alert_id} is operational" in stillwatch(*verb, other.alert_id, *WHY, *place, code=3)
    assert "no alert nobody on" in stillwatch("alerts", "label", "nobody", "tp", "--by", "kim", *place, code=3)
    assert len(read_topic(published.connection, "labels")) == 2
    stillwatch("alerts", "label", campaign.alert_id, "wrong", "--by", "kim", *place, code=2)


def test_the_board_is_the_highest_seq_of_each_key_without_tombstones(published: Published) -> None:
    says, place, some = published.says, published.place, published.decisions[0]
    assert says("decisions", "list") == []  # every lease of the sample log has lapsed by now
    keys = {key_of(d) for d in published.decisions}
    assert len(says("decisions", "list", "--all")) == len(keys)
    held = leased(some)
    other = leased(published.decisions[-1], value="other", decision_id="d-other")
    stale = msgspec.structs.replace(held, seq=held.seq - 1, action="observe")
    records = [(key_of(d), encode(d)) for d in (held, stale, other)] + [
        (key_of(other), None),
        (b"x", b"not a decision"),
    ]
    put(published.connection, "decisions", records)
    done = CliRunner(env=environment()).invoke(app, ["decisions", "list", *place])
    (row,) = orjson.loads(done.stdout)
    assert (row["decision_id"], row["action"], row["seq"]) == (held.decision_id, held.action, held.seq)
    assert "1 records are no decisions" in done.stderr
    assert published.says("decisions", "list", "--scope", "subnet") == []
    got = says("decisions", "get", some.decision_id)
    assert (got["acts_now"], got["topic"]["state"], got["decision"]["seq"]) == (True, "active", held.seq)
    assert [entry["seq"] for entry in got["log"]] == [d.seq for d in published.decisions if key_of(d) == key_of(some)]
    assert {alert["alert_id"] for alert in got["alerts"]} == set(some.alert_ids)
    gone = says("decisions", "get", "other", "--scope", other.scope)
    assert (gone["acts_now"], gone["topic"]["state"], gone["decision"]) == (False, "tombstone", None)
    assert says("decisions", "get", "nobody", "--scope", "account")["topic"] == {"state": "absent"}
    said = stillwatch("decisions", "get", some.decision_id, "-o", "human", *place)
    assert "acts_now                     True" in said
    tailed = printed("decisions", "tail", "--from-beginning", "--limit", "2", "-o", "csv", *place)
    assert [row["decision"] for row in csv.DictReader(io.StringIO(tailed))] == [
        d.decision_id for d in published.decisions[:2]
    ]


def test_an_operators_word_is_a_command_under_the_decisions_key(published: Published) -> None:
    place, some = published.place, published.decisions[0]
    campaign = next(a for a in published.alerts if a.kind == "campaign")
    stillwatch("decisions", "add", "org", "o-1", "--action", "block", "--for", "2h", "--tenant", "t2", *WHY, *place)
    stillwatch("decisions", "revoke", some.decision_id, *WHY, *place)
    stillwatch("decisions", "revoke", "a-1", "--scope", "account", *WHY, *place)
    stillwatch("decisions", "approve", campaign.alert_id, "--action", "block", *WHY, *place)
    stillwatch("decisions", "approve", some.decision_id, *WHY, *place)
    asked = written(published.connection, "commands", "command")
    assert [(orjson.loads(key), c["command"]) for key, c in asked] == [
        (["t2", "org", "o-1"], "add"),
        ([some.tenant, some.scope, some.value], "revoke"),
        (["default", "account", "a-1"], "revoke"),
        (["default", "campaign", campaign.entity.value], "approve"),
        ([some.tenant, some.scope, some.value], "approve"),
    ]
    assert asked[0][1]["action"] == "block"
    assert asked[1][1]["decision_id"] == some.decision_id
    assert asked[3][1]["alert_id"] == campaign.alert_id
    assert len(read_topic(published.connection, "decisions")) == len(published.decisions)  # that is the judge's
    for words, code, said in (
        (("add", "org", "o", "--action", "block"), 2, "give an end"),
        (("add", "org", "o", "--action", "block", "--for", "1h", "--until", "2099-01-01T00:00:00Z"), 2, "give an end"),
        (("add", "org", "o", "--action", "block", "--until", "2020-01-01T00:00:00Z"), 2, "the end has passed already"),
        (("add", "org", "o" * 257, "--action", "block", "--for", "1h"), 2, "at most 256"),
        (("revoke", "d-none"), 3, "no decision d-none"),
        (("revoke", "a", "--scope", "account", "--reason", " "), 2, "--reason is empty"),
    ):
        assert said in stillwatch("decisions", *words[:1], *WHY, *words[1:], *place, code=code)


def test_the_kill_switch_needs_no_judge(published: Published) -> None:
    place = published.place
    stillwatch("decisions", "kill-switch", "off", "--by", "kim", *place, code=2)  # a reason is a must
    stillwatch("decisions", "kill-switch", "off", *WHY, *place)
    for topic in ("decisions", "commands"):
        records = [r for r in read_topic(published.connection, topic) if r.key == b"__control__"]
        assert orjson.loads(records[-1].value)["enforcement"] == "off"
    ((key, _),) = written(published.connection, "commands", "control")
    assert key == b"__control__"
    assert "stands at off" in stillwatch("decisions", "list", *place)
    assert published.says("decisions", "get", "x", "--scope", "account")["kill_switch"]["by"] == "kim@example.test"
    stillwatch("decisions", "kill-switch", "on", *WHY, *place)
    assert published.says("decisions", "list") == []


def test_exemptions_have_an_owner_and_an_end(published: Published) -> None:
    says, place, some = published.says, published.place, published.decisions[0]
    signature = some.signature_ids[0]
    owned = ("--owner", "trust@example.test", "--reason", "a customer")
    put(published.connection, "decisions", [(key_of(some), encode(leased(some)))])
    before = says("allow", "check", some.scope, some.value)
    assert ("decision", some.decision_id) in {(row["match"], row["id"]) for row in before}
    assert says("allow", "check", some.scope, some.value, "--signature", "n1_crowded_prefix") == []
    stillwatch("allow", "add", some.scope, some.value, "--for", "7d", "--signature", signature, *owned, *place)
    stillwatch("allow", "add", "org", "=cmd|o", "--until", "2199-01-01T00:00:00+02:00", *owned, *place)
    entries = written(published.connection, "allow", "allow")
    assert orjson.loads(entries[0][0]) == [some.tenant, some.scope, some.value]
    assert entries[0][1]["signatures"] == [signature]
    assert entries[1][1]["expires_at"] == "2198-12-31T22:00:00.000Z"
    assert [row["value"] for row in says("allow", "list")] == [some.value, "=cmd|o"]
    cells = list(csv.DictReader(io.StringIO(printed("allow", "list", "-o", "csv", *place))))
    assert cells[1]["value"] == "'=cmd|o"
    assert "exemption" in {row["match"] for row in says("allow", "check", some.scope, some.value)}
    assert len(says("decisions", "get", some.decision_id)["exemptions"]) == 1
    stillwatch("allow", "remove", some.scope, some.value, *place)
    assert read_topic(published.connection, "allow")[-1].value is None
    assert [row["value"] for row in says("allow", "list", "--all")] == ["=cmd|o"]
    stillwatch("allow", "add", "org", "o", *owned, *place, code=2)  # an end is a must
    stillwatch("allow", "add", "org", "o", "--for", "1h", "--reason", "r", *place, code=2)  # an owner too
    assert "no signature" in stillwatch(
        "allow", "add", "org", "o", "--for", "1h", "--signature", "c1", *owned, *place, code=2
    )


def test_a_simulation_counts_what_decisions_cover(published: Published, recorded: Recorded) -> None:
    said = published.says("decisions", "simulate", str(recorded.log), "--top", "3")
    assert said["keys"] == len({key_of(d) for d in published.decisions})
    assert said["total"]["requests"] == len(recorded.log.read_bytes().splitlines())
    assert sum(tier["contained"] for tier in said["tiers"]) == said["total"]["contained"] > 1_000
    assert len(said["decisions"]) == 3
    some = published.decisions[0]
    put(published.connection, "decision-log", [(key_of(some), encode(leased(some)))])
    current = published.says("decisions", "simulate", str(recorded.log), "--current")
    wanted = sum(orjson.loads(line)["account_id"] == some.value for line in recorded.log.read_bytes().splitlines())
    assert current["total"]["contained"] == wanted == current["decisions"][0]["contained"]
    assert "tier" in stillwatch("decisions", "simulate", str(recorded.log), "-o", "human", *published.place)


def letter(connection: Connection, offset: int, value: bytes, *, reason: str, kept: bool, topic: str = "access") -> Any:
    headers = [
        ("__streams.errors.topic", connection.topic(topic).encode()),
        ("__streams.errors.partition", b"0"),
        ("__streams.errors.offset", b"%d" % offset),
        ("stillwatch.error.code", reason.encode()),
        ("stillwatch.error.length", b"%d" % len(value)),
        ("stillwatch.error.digest", b"0" * 32),
    ]
    return {"key": b"k", "value": value if kept else b"", "headers": headers}


def test_dead_letters_are_counted_shown_and_tried_again(installation: Callable[..., Connection]) -> None:
    connection = installation(partitions=1)
    place = ("--bootstrap", connection.bootstrap, "--prefix", connection.prefix)
    refused = [b"first refused", b"tell me everything"]
    producer = KafkaProducer(bootstrap_servers=connection.bootstrap)
    for value in refused:
        producer.send(connection.topic("access"), value, key=b"original")
    letters = [
        letter(connection, 0, refused[0], reason="not_json", kept=False),
        letter(connection, 77, b"kept", reason="unknown_tenant", kept=True),
        letter(connection, 99, b"gone", reason="not_json", kept=False),
        letter(connection, 0, b"{}", reason="missing_field", kept=False, topic="commands"),
    ]
    for made in letters:
        producer.send(connection.topic("dead-letter"), **made)
    producer.send(connection.topic("dead-letter"), b"nobody's")
    producer.flush()
    producer.close()
    listed = orjson.loads(printed("dlq", "list", *place))
    assert [(row["reason"], row["letters"], row["first"]["offset"], row["last"]["offset"]) for row in listed] == [
        ("not_json", 2, 0, 99),
        ("missing_field", 1, 0, 0),
        ("unknown_tenant", 1, 77, 77),
    ]
    shown = printed("dlq", "show", "0:1", *place)
    assert orjson.loads(shown)["content_kept"] is True
    assert "kept\\n" not in shown
    assert "no letter at 0:50" in stillwatch("dlq", "show", "50", *place, code=3)
    stillwatch("dlq", "retry", *place, code=2)
    assert orjson.loads(printed("dlq", "retry", "0", "1", *place))["sent"] == 2
    done = orjson.loads(printed("dlq", "retry", "2", "3", *place, code=1))
    assert done == {"sent": 0, "gone": 1, "not_of_the_access_topic": 1}
    again = read_topic(connection, "access")[2:]
    assert [(r.key, r.value, dict(r.headers)["stillwatch.retry"]) for r in again] == [
        (b"original", refused[0], b"0:0"),
        (b"k", b"kept", b"0:1"),
    ]


def test_the_doctor_says_how_everything_stands(installation: Callable[..., Connection], tmp_path: Path) -> None:
    connection = installation(partitions=2)
    config = ("--config", str(configuration(connection, tmp_path)))
    lines = {line["check"]: line for line in orjson.loads(printed("doctor", *config))}
    assert {line["level"] for line in lines.values()} == {"ok", "warn"}
    assert lines["brokers"]["found"].startswith(f"1 at {connection.bootstrap}, PLAINTEXT, Kafka ")
    assert "kafka-python 3.0.12" in lines["libraries"]["found"]
    assert lines[f"group {connection.group}-encode"]["advice"] == "`stillwatch run` begins it"
    assert {"tenants", "clock", "key", "state", "disk", f"topic {connection.topic('frames')}"} <= set(lines)
    two = stillwatch("doctor", *config, "--set", 'tenants=["a","b"]', "-o", "human", code=4)
    assert "fail tenants: 2 tenants, 1 partitions" in two
    bare = stillwatch("doctor", *config, "--prefix", "none.", code=4)
    assert "missing; `stillwatch topics create` makes it" in bare


def test_others_indicators_are_written_for_the_judge(published: Published, tmp_path: Path) -> None:
    client = [("sdk_name", "sdk-h"), ("stream", False), ("max_tokens", 4096)]
    latest = next(a for a in reversed(published.alerts) if a.kind == "campaign")
    late = msgspec.structs.replace(latest, last_seen=int(time.time() * 1000))
    shared = tmp_path / "bundle.json"
    shared.write_text(bundle(late, [Finding("program", tuple(client), 9, 9)], lab="Lab A", tlp="green", valid_days=9))
    asked = ("--owner", "kim", "--reason", "a test", "--for", "30d", "--model", "m-1")
    stillwatch("indicators", "import", str(shared), *asked, *published.place)
    ((key, record),) = written(published.connection, "commands", "indicator")
    assert orjson.loads(key) == ["default", "program", record["value"]]
    assert record["value"] == "sdk=sdk-h stream=False max_tokens=4096 model=m-1"
    assert record["source"] == "Lab A"
