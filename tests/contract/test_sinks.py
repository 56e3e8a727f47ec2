"""What leaves for others obeys what they have published, whatever strings an attacker chose."""

import json
from typing import Any

import jsonschema_rs
import orjson
import pytest

from detector.records import Alert, CampaignBlock, Entity, LinkSummary, encode
from detector.sinks import alertmanager, cloudevents, ecs, ocsf, pagerduty
from tests.conftest import ROOT
from tests.hostile_strings import HOSTILE
from tests.unit.alerting import alert, operational, resolved

PUBLISHED = ROOT / "tests" / "contract" / "published"
RUNBOOKS = "https://wiki.example/stillwatch/"
KEY = "k" * 32


def published(name: str) -> Any:
    return json.loads((PUBLISHED / f"{name}.json").read_text())


def check(schema: Any, value: Any) -> None:
    read = orjson.loads(orjson.dumps(value))
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(read)


def hostile(text: str) -> Alert:
    """An alert in which every string that a stranger may choose is this one."""
    made = alert()
    assert made.campaign is not None
    return alert(
        title=f"Campaign {text}",
        summary=f"so many accounts {text}",
        status_reason=text,
        entity=Entity(scope="account", value=text, tenant=text or "default"),
        campaign=CampaignBlock(
            id=made.campaign.id,
            accounts=1,
            requests=2,
            members_sample=(text, "acct_1"),
            links=(LinkSummary(kind="system_prompt_fp", value=text, accounts=1, requests=2),),
        ),
        innocent_twins={"c1_shared_template": text},
    )


ALERTS = {
    "open": alert(),
    "shadow": alert(mode="shadow", decision_ids=()),
    "updated": alert(revision=3, severity="critical", confidence=0.93),
    "resolved": resolved(),
    "superseded": resolved(status_reason="merged", superseded_by="a-0"),
    "suppressed": alert(status="suppressed", status_reason="alert storm"),
    "operational": operational(),
    "blocked": alert(recommended_action="block"),
    "bare": alert(signature_ids=("gone_signature",), evidence=(), verdict=None, runbook=None, samples=()),
    **{f"hostile_{name}": hostile(text) for name, text in HOSTILE.items()},
}
every_alert = pytest.mark.parametrize("made", ALERTS.values(), ids=ALERTS)
OCSF, ECS = published("ocsf-1.8.0-2004"), published("ecs-9")


@every_alert
@pytest.mark.parametrize("runbooks", ["", RUNBOOKS])
def test_ocsf(made: Alert, runbooks: str) -> None:
    finding = ocsf.finding_of(made, runbooks=runbooks)
    check(OCSF, finding)
    assert finding["type_uid"] == finding["class_uid"] * 100 + finding["activity_id"]
    assert (finding["metadata"]["version"], finding["metadata"]["uid"]) == (
        "1.8.0",
        f"{made.alert_id}:{made.revision}",
    )


def leaves(tree: Any, path: str = "") -> Any:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield path + name, value


@every_alert
def test_ecs(made: Alert) -> None:
    document = orjson.loads(orjson.dumps(ecs.document_of(made, runbooks=RUNBOOKS)))
    document.pop("stillwatch")
    types = {"long": int, "float": float, "date": str, "keyword": (str, list), "match_only_text": str}
    for name, value in leaves(document):
        assert isinstance(value, types[ECS["fields"][name]]), name
        words = value if isinstance(value, list) else [value]
        assert set(words) <= set(ECS["allowed"].get(name, words)), name
    event = document["event"]
    assert set(event["type"]) <= set(ECS["expected_event_types"][event["category"][0]])


@every_alert
def test_pagerduty(made: Alert) -> None:
    for triggered in (False, True):
        event = pagerduty.event_of(made, routing_key=KEY, triggered=triggered, runbooks=RUNBOOKS)
        if event is not None:
            check(published("pagerduty-v2"), event)
            assert len(orjson.dumps(event)) < 512_000


@every_alert
def test_alertmanager(made: Alert) -> None:
    labels = alertmanager.labels_of(made, first=None)
    posted = alertmanager.alert_of(made, labels=labels, runbooks=RUNBOOKS)
    check(published("alertmanager-v2"), [posted, alertmanager.ended(posted, at_ms=0)])
    for one in (posted, alertmanager.ended(posted, at_ms=0)):
        assert "endsAt" not in one or one["startsAt"] <= one["endsAt"]
    assert set(labels) <= {"alertname", "severity", "scope", "tenant", "campaign_id"}


@every_alert
def test_cloudevents(made: Alert) -> None:
    event = cloudevents.event_of(made)
    check(published("cloudevents-1.0"), event)
    assert orjson.loads(orjson.dumps(event))["data"] == orjson.loads(encode(made))
