"""What each receiver is told, and that a stranger's string is data everywhere."""

import re

import pytest

from detector import alerts, story
from detector.records import Entity, Verdict, Window, format_time
from detector.sinks import alertmanager, cef, ocsf, pagerduty, slack
from detector.sinks.escaping import cef_header, cef_value, mrkdwn, mrkdwn_code, printable
from detector.sinks.lines import line_of
from detector.vocabulary import AlertFormat
from tests.contract.test_sinks import hostile
from tests.hostile_strings import HOSTILE, unprintable
from tests.unit.alerting import alert, operational, resolved

every_string = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
KEY = "k" * 32
HOUR_MS, NOW_MS = 3_600_000, 1_782_050_400_000


def fields_of(line: str) -> tuple[list[str], dict[str, str]]:
    """Read a line of CEF as a collector does."""
    header = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    found = re.split(r"(?:^| )(\w+)=", header.pop())
    return header, dict(zip(found[1::2], found[2::2], strict=True))


@every_string
def test_a_line_of_cef_has_its_own_fields_and_no_others(text: str) -> None:
    line = cef.line_of(hostile(text))
    header, fields = fields_of(line)
    _, own = fields_of(cef.line_of(hostile("x")))
    assert len(header) == 7
    assert header[0] == "CEF:0"
    assert header[6] == "8"
    assert list(fields) == list(own)
    assert unprintable(line, allowed="") == set()
    unescaped = re.sub(r"\\(.)", r"\1", fields["suser"])
    assert unescaped == printable(text) or not text.strip()


@every_string
def test_what_is_escaped_for_cef_reads_back(text: str) -> None:
    assert re.sub(r"\\([\\|])", r"\1", cef_header(text)) == printable(text)
    assert re.sub(r"\\([\\=])", r"\1", cef_value(text)) == printable(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", cef_header(text).replace("\\\\", ""))
    assert not re.search(r"(?<!\\)=", cef_value(text).replace("\\\\", ""))


@every_string
def test_slack_links_and_mentions_nobody(text: str) -> None:
    for thread in (None, "1.2"):
        message = slack.message_of(hostile(text), channel="C1", thread=thread, runbooks="https://wiki.example/")
        said = message["text"]
        links = re.findall(r"<[^>]*>", said)
        assert links in ([], ["<https://wiki.example/c1_shared_template.md|Runbook>"])
        assert unprintable(said) == set()
        assert not re.search(r"&(?!amp;|lt;|gt;)", said)
        assert said.count("```") in (0, 2)
        assert len(said) <= slack.TEXT_CHARS_MAX + 3
        assert (message["parse"], message["link_names"], message["unfurl_links"]) == ("none", False, False)


@every_string
def test_code_for_slack_has_its_two_ticks_and_nothing_to_style(text: str) -> None:
    said = mrkdwn_code(text)
    assert said.count("`") == 2
    assert said.startswith("`")
    assert said.endswith("`")
    assert not set("<>") & set(mrkdwn(text))


@every_string
def test_a_pager_shows_plain_text(text: str) -> None:
    event = pagerduty.event_of(hostile(text), routing_key=KEY, triggered=False)
    assert event is not None

    def strings(value: object) -> list[str]:
        if isinstance(value, dict):
            return [s for item in value.values() for s in strings(item)]
        return [s for item in value for s in strings(item)] if isinstance(value, list) else [str(value)]

    assert {c for s in strings(event["payload"]) for c in unprintable(s, allowed="")} == set()


@every_string
@pytest.mark.parametrize("form", ["native", "ocsf", "ecs", "cef"])
def test_an_alert_is_one_line_in_every_format(text: str, form: AlertFormat) -> None:
    line = line_of(hostile(text), form=form)
    assert b"\n" not in line
    assert b"\r" not in line
    assert b"\x1b" not in line
    assert b"\x00" not in line
    line.decode()


@every_string
def test_machines_get_the_identifier_as_it_is(text: str) -> None:
    (first, *_) = ocsf.finding_of(hostile(text))["evidences"]
    assert first["user"]["uid"] == text


def test_only_what_is_high_and_enforced_pages_and_a_resolve_follows_every_trigger() -> None:
    def action(made: object, *, triggered: bool = False) -> object:
        event = pagerduty.event_of(made, routing_key=KEY, triggered=triggered)  # type: ignore[arg-type]
        return event and event["event_action"]

    assert action(alert()) == "trigger"
    assert action(alert(severity="critical")) == "trigger"
    assert action(operational()) == "trigger"
    for quiet in (alert(severity="medium"), alert(mode="shadow"), alert(status="suppressed")):
        assert action(quiet) is None
    assert action(resolved()) is None
    assert action(resolved(), triggered=True) == "resolve"
    assert action(resolved(mode="shadow", severity="low"), triggered=True) == "resolve"


@pytest.mark.parametrize(
    ("severity", "said"), [("critical", "critical"), ("high", "error"), ("medium", "warning"), ("low", "info")]
)
def test_severity_is_mapped(severity: str, said: str) -> None:
    assert pagerduty.SEVERITIES[severity] == said  # type: ignore[index]


def test_a_page_says_what_to_do_what_was_lost_why_and_what_it_takes_to_be_wrong() -> None:
    event = pagerduty.event_of(alert(), routing_key=KEY, triggered=False, runbooks="https://wiki.example/")
    assert event is not None
    payload, details = event["payload"], event["payload"]["custom_details"]
    assert event["dedup_key"] == alert().dedup_key
    assert event["links"] == [{"href": "https://wiki.example/c1_shared_template.md", "text": "Runbook"}]
    assert (payload["source"], payload["class"], payload["group"]) == (
        "default",
        "model_distillation",
        alert().entity.value,
    )
    assert list(details)[:2] == ["do", "left the building"]
    assert details["do"].startswith("challenge: refuse its accounts")
    assert details["left the building"] == (
        "48,310 exchanges with 9,000,000 output tokens, 400,000 of them reasoning, worth 135.50 USD"
    )
    assert details["why"][0] == (
        "████████████████████ +5.0 One text on many unrelated accounts: "
        "organisations 210 (at least 8, elsewhere 1.2); purity 0.93 (at least 0.3)"
    )
    twin = "if it is one of these: a coding harness, a bring-your-own-key application, a course [c1_shared_template]"
    assert twin in details["it would be wrong"]


def test_the_story_names_the_evidence_on_which_an_alert_rests() -> None:
    told = story.tell(alert())
    assert "if 'one text on many unrelated accounts' has another reason: -1.5 would be left" in told.wrong
    firm = story.tell(alert(verdict=Verdict(log_odds=9.0, prior=-8.0, cap=5.0, threshold=1.5)))
    assert "no single piece of evidence decides: without any one of them the alert would stand" in firm.wrong
    assert [bar.log_odds for bar in told.why if bar.counted] == [5.0, 3.0, 2.5, -0.5]


def test_an_operational_alert_ends_with_its_hour_on_every_receiver() -> None:
    said = operational(window=Window(start=NOW_MS - HOUR_MS, end=NOW_MS), detected_at=NOW_MS - HOUR_MS // 2)
    over = alerts.over(said)
    labels = alertmanager.labels_of(said, first=None)
    # By itself only later, in case nobody is left to say so.
    ends = [alertmanager.alert_of(one, labels=labels)["endsAt"] for one in (said, over)]
    assert ends == [format_time(NOW_MS + HOUR_MS // 2), format_time(NOW_MS)]
    event = pagerduty.event_of(over, routing_key=KEY, triggered=True)
    assert event is not None
    assert (event["event_action"], event["dedup_key"]) == ("resolve", said.dedup_key)
    assert ocsf.finding_of(over)["activity_name"] == "Close"
    assert "over" in story.tell(over).todo


def test_a_superseded_or_resolved_alert_asks_for_nothing() -> None:
    assert story.tell(resolved()).todo == "nothing: it is resolved (idle)"
    assert story.tell(resolved(superseded_by="a-0")).todo == "nothing here: it went into a-0"
    assert "nobody is accused" in story.tell(operational()).todo


def test_what_is_named_is_the_signature_of_the_runbook() -> None:
    event = pagerduty.event_of(alert(), routing_key=KEY, triggered=False)
    assert event is not None
    assert event["payload"]["component"] == "c1_shared_template"
    assert ocsf.finding_of(alert())["metadata"]["event_code"] == "c1_shared_template"
    assert alertmanager.labels_of(alert(), first=None)["alertname"] == "c1_shared_template"
    assert alertmanager.labels_of(operational(), first=None)["alertname"] == "Alert storm"
    cap = operational(entity=Entity(scope="campaign", value="c-1", tenant="default"))
    assert alertmanager.labels_of(cap, first=None)["campaign_id"] == "c-1"
    assert story.strongest_of(alert(evidence=(), signature_ids=("c3_work_queue",))) == "c3_work_queue"
    assert story.strongest_of(operational()) == "operational"


def test_the_first_revision_says_that_its_decisions_follow() -> None:
    assert story.tell(alert(decision_ids=())).todo.endswith("its decisions follow (enforced)")
    assert story.tell(alert(decision_ids=(), revision=1)).todo.endswith("nothing is decided")
