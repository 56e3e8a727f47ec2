"""Findings between labs: what leaves the building, that others can read it, and what of theirs is watched here."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
import stix2
from hypothesis import given
from hypothesis import strategies as st
from stix2patterns.validator import run_validator

from detector.encode_operators import program_fields, program_value
from detector.fingerprint import fp_key_id
from detector.hashing import DEVELOPMENT_KEY
from detector.operators import Indicator, Received, read
from detector.records import Alert, decode
from detector.runtime.sources import InputError
from detector.tuning.bridge import Text, Translated, bridge
from detector.tuning.intake import Keys, Terms, records
from detector.tuning.stix import Finding, StixError, bundle, finding_of, findings_of, pattern_of, shared
from detector.tuning.traffic import Attribute, Traffic
from tests.conftest import ROOT
from tests.unit.replaying import run, write_log

EVENTS = ROOT / "detector" / "tuning" / "demo" / "events.jsonl.zst"
SHARING, OTHER = bytes(range(32)), bytes(range(1, 33))
DAY_MS = 86_400_000
START_MS = 1_776_643_200_000
DEMAND = "Think step by step, show every intermediate step of your reasoning in full, then solve this task for me: {}"
TERMS = Terms("default", "kim", "shared", START_MS, START_MS + 30 * DAY_MS, models=("m-1", "m-2"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert run("replay", EVENTS, "--out", folder, "--no-progress").exit_code == 0
    return folder


@pytest.fixture(scope="module")
def alert(ran: Path) -> Alert:
    return decode((ran / "alerts.jsonl").read_bytes().splitlines()[-1], kind=Alert)


@pytest.fixture(scope="module")
def raw_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six accounts send one demand around an item, twelve others a text of their own each time."""
    path = tmp_path_factory.mktemp("raw") / "raw.jsonl"
    with path.open("w") as file:
        for number in range(180):
            account = number % 18
            own = f"note {number} about my garden, item {number * 7} and what the neighbour said of it on day {number}"
            prompt = DEMAND.format(f"task {number} of the queue, about item {number * 13}") if account < 6 else own
            line = {"event_id": f"e{number}", "event_time": START_MS + 1_000 * number, "account_id": f"a{account}"}
            line |= {"request_model": "m-1", "input_tokens": 9, "output_tokens": 9, "content": {"prompt": prompt}}
            file.write(json.dumps(line) + "\n")
    return path


def traffic_of(*attributes: Attribute) -> Traffic:
    names = ("models", "networks", "tiers", "asked")
    counts: dict[str, Any] = {name: {} for name in names}
    numbers = dict.fromkeys(
        ("first_ms", "last_ms", "asns", "subnets", "payments", "email_domains", "young", "age_known"), 0
    )
    return Traffic(accounts=100, others=1_000, requests=900, attributes=list(attributes), **counts, **numbers)


def test_only_what_the_campaign_shows_and_hardly_anybody_else_is_shared() -> None:
    program = "sdk=s stream=True max_tokens=9 temperature=1 model={}"
    told = shared(
        traffic_of(
            Attribute("program", program.format("m-1"), 40, 300, 0),
            Attribute("program", program.format("m-2"), 60, 200, 3),
            Attribute("ja4", "everybody's", 90, 800, 500),
            Attribute("subnet", "198.51.100.0/24", 4, 800, 0),
            Attribute("ja4", "theirs", 5, 800, 10),
            Attribute("program", "model=m-1", 90, 9, 0),
        )
    )
    settings = (("max_tokens", 9), ("sdk_name", "s"), ("stream", True), ("temperature", 1.0))
    assert told == [Finding("program", settings, 60, 500), Finding("ja4", (("ja4", "theirs"),), 5, 800)]


def test_a_bundle_is_stix_says_the_same_twice_and_names_no_customer(alert: Alert, ran: Path) -> None:
    found = [
        Finding("program", (("sdk_name", "it's a \\ sdk"), ("temperature", 0.7)), 9, 90),
        Finding("subnet", (("subnet", "198.51.100.0/24"),), 9, 90),
        Finding("subnet", (("subnet", "2001:db8::/64"),), 9, 90),
        Finding("anchor_fp", (("key_id", "k"), ("kind", "anchor_fp"), ("value", "00ff")), 9, 90),
    ]
    written = bundle(alert, found, lab="Lab A", tlp="amber", valid_days=30)
    assert written == bundle(alert, found, lab="Lab A", tlp="amber", valid_days=30)
    parsed = stix2.parse(written, allow_custom=True)
    kinds = [o["type"] for o in parsed["objects"]]
    assert {"campaign", "indicator", "observed-data", "relationship", "extension-definition"} <= set(kinds)
    (observed,) = (o for o in parsed["objects"] if o["type"] == "observed-data")
    assert alert.campaign is not None
    assert observed["number_observed"] == alert.campaign.requests
    assert all(run_validator(o["pattern"]) == [] for o in parsed["objects"] if o["type"] == "indicator")
    members = [json.loads(line)["account_id"] for line in (ran / "members.jsonl").read_bytes().splitlines()]
    values = [link.value for link in alert.campaign.links] + [s.event_id for s in alert.samples]
    assert not [name for name in members + values if name in written]
    again, unread = findings_of(written)
    assert (unread, [one.finding for one in again]) == (0, [f._replace(accounts=0, requests=0) for f in found])
    assert {one.source for one in again} == {"Lab A"}


def test_there_is_no_bundle_of_nothing(alert: Alert) -> None:
    with pytest.raises(StixError, match="nothing of this campaign"):
        bundle(alert, [], lab="Lab A", tlp="amber", valid_days=30)


@given(name=st.text(min_size=1, max_size=30), number=st.integers(1, 1 << 40), heat=st.floats(0, 2), yes=st.booleans())
def test_a_pattern_is_read_back_as_it_was_written(name: str, number: int, heat: float, yes: bool) -> None:
    fields = (("max_tokens", number), ("sdk_name", name), ("stream", yes), ("temperature", round(heat, 3)))
    found = finding_of(pattern_of(Finding("program", fields)))
    assert found == Finding("program", fields) or " AND " in name


@given(text=st.text(max_size=60))
def test_any_pattern_is_a_finding_or_none(text: str) -> None:
    finding_of(text)
    finding_of(f"[{text}]")


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"type":"bundle","id":"x"}', "<stix/>", '{"type":"bundle","objects":7}']
)
def test_what_is_no_bundle_is_an_error_and_no_exception(text: str) -> None:
    with pytest.raises(StixError):
        findings_of(text)


def test_a_program_s_name_and_its_fields_are_the_same_thing() -> None:
    for name in ("sdk=a b stream=False max_tokens=7 temperature=0.25 model=m x", "stream=True model=m", "model=m"):
        assert program_value(program_fields(name)) == name


def test_texts_meet_under_the_sharing_key_and_under_no_other(raw_log: Path, tmp_path: Path) -> None:
    ours = bridge([str(raw_log)], {Text("anchor_fp", "0" * 16)}, from_key=DEVELOPMENT_KEY, to_key=SHARING)
    assert ours == []
    campaign = {f"a{n}" for n in range(6)}
    # What everybody of the campaign shows under our key, as its alert would name it.
    own = _shown(raw_log, DEVELOPMENT_KEY)
    exported = bridge([str(raw_log)], own, from_key=DEVELOPMENT_KEY, to_key=SHARING, accounts=campaign)
    assert exported
    assert all(isinstance(t, Translated) and t.accounts == 6 for t in exported)
    assert not {t.text for t in exported} & own
    imported = bridge([str(raw_log)], {t.text for t in exported}, from_key=SHARING, to_key=OTHER)
    assert {t.text for t in imported if t.text.kind == "anchor_fp"} <= _shown(raw_log, OTHER)
    assert {t.requests for t in imported} == {60}
    assert bridge([str(raw_log)], {t.text for t in exported}, from_key=OTHER, to_key=DEVELOPMENT_KEY) == []
    with pytest.raises(InputError, match="no raw text"):
        bridge([str(write_log(tmp_path / "log.jsonl"))], own, from_key=DEVELOPMENT_KEY, to_key=SHARING)


def _shown(path: Path, key: bytes) -> set[Text]:
    """What every request of the six shows, and nobody else's."""
    lines = path.with_suffix(f".{key[1]}.jsonl")
    secret = path.with_suffix(f".{key[1]}.key")
    secret.write_text(key.hex())
    assert run("fingerprint", path, "--out", lines, "--key-file", secret).exit_code == 0
    theirs = [json.loads(line) for line in lines.read_bytes().splitlines()]
    sets = [set(e["anchor_fps"]) for e in theirs if int(e["account_id"][1:]) < 6]
    return {Text("anchor_fp", str(value)) for value in set.intersection(*sets)}


def test_findings_become_records_with_an_end(alert: Alert, raw_log: Path) -> None:
    exported = bridge([str(raw_log)], _shown(raw_log, DEVELOPMENT_KEY), from_key=DEVELOPMENT_KEY, to_key=SHARING)
    found = shared(
        traffic_of(Attribute("program", "sdk=s model=m", 9, 9, 0), Attribute("subnet", "198.51.100.0/24", 9, 9, 0)),
        exported,
        key_id=fp_key_id(SHARING),
    )
    read_back, _ = findings_of(bundle(alert, found, lab="Lab A", tlp="green", valid_days=10))
    keys = Keys(SHARING, OTHER, fp_key_id(SHARING), [str(raw_log)])
    made, passed = records(read_back, TERMS, keys=keys)
    assert not passed
    by_kind = {kind: {m.value for m in made if m.kind == kind} for kind in ("program", "subnet", "anchor_fp")}
    assert by_kind["program"] == {"sdk=s model=m-1", "sdk=s model=m-2"}
    assert by_kind["subnet"] == {"198.51.100.0/24"}
    assert by_kind["anchor_fp"]
    assert by_kind["anchor_fp"] <= {t.value for t in _shown(raw_log, OTHER)}
    assert {m.expires_at for m in made} == {alert.last_seen + 10 * DAY_MS}
    without, why = records(read_back, TERMS._replace(models=()))
    assert {m.kind for m in without} == {"subnet"}
    assert why["program without a model of ours"] == 1
    assert why["text without raw logs and sharing key"] == len(exported)
    late, why = records(read_back, TERMS._replace(now_ms=START_MS + 99 * DAY_MS, expires_ms=START_MS + 100 * DAY_MS))
    assert (late, why["expired"]) == ([], len(read_back))
    revoked, _ = records([one._replace(revoked=True) for one in read_back], TERMS)
    assert {m.expires_at for m in revoked} == {TERMS.now_ms}


def test_the_verbs_carry_a_finding_from_one_lab_s_run_into_another_s_replay(
    ran: Path, alert: Alert, tmp_path: Path
) -> None:
    shared_file, orders = tmp_path / "bundle.json", tmp_path / "orders.jsonl"
    asked = ("indicators", "export", alert.alert_id, "--in", ran, "--lab", "Lab A", "--out", shared_file)
    assert run(*asked).exit_code == 0
    taken = run(
        *("indicators", "import", shared_file, "--owner", "kim", "--reason", "from Lab A", "--for", "30d"),
        *("--model", "orion-think-large", "--at", "2026-04-20T00:00:00Z", "--out", orders),
    )
    assert taken.exit_code == 0, taken.output
    received = [read(line) for line in orders.read_bytes().splitlines()]
    assert all(isinstance(r, Received) and isinstance(r.record, Indicator) for r in received)
    again = tmp_path / "again"
    assert run("replay", EVENTS, "--out", again, "--operators", orders, "--no-progress").exit_code == 0
    told = orjson.loads((again / "metrics.json").read_bytes())["policy"]["default"]["operators"]
    assert told == {"indicator": len(received)}
    alerts = [orjson.loads(line) for line in (again / "alerts.jsonl").read_bytes().splitlines()]
    assert len({a["alert_id"] for a in alerts if a["kind"] == "campaign"}) == 1  # no more than without
    endless = run("indicators", "import", shared_file, "--owner", "kim", "--reason", "x", "--out", orders)
    assert endless.exit_code == 2
    own_key = tmp_path / "own.key"
    own_key.write_text(DEVELOPMENT_KEY.hex())
    same = run(*asked, "--texts", EVENTS, "--sharing-key-file", own_key)
    assert same.exit_code == 2
