"""The published schemas say what the structs say, and what the program writes obeys them."""

import json
from typing import Any, get_args

import jsonschema_rs
import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import operators, records, schemas
from detector.decode.reasons import REASONS
from detector.records import decode, encode
from detector.vocabulary import RejectReason
from tests.conftest import ROOT

NOW_MS = 1_782_050_400_000
WORDS = st.text(max_size=12)
TIMES_MS = st.integers(0, 4_102_444_800_000)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(2**53), 2**53)


def validator(name: str) -> jsonschema_rs.Validator:
    """The validator of the published file, formats (date-time) checked."""
    published = json.loads((ROOT / "schemas" / f"{name}.json").read_text())
    return jsonschema_rs.validator_for(published, validate_formats=True)


ALERT = records.Alert(
    alert_id="al_1",
    revision=2,
    dedup_key="campaign:c-1",
    status="updated",
    status_reason="doubled",
    kind="campaign",
    signature_ids=("c1_shared_template",),
    config_hash="00ff",
    version="0.1.0",
    title="Coordinated harvest",
    summary="12 accounts, 300 requests",
    severity="high",
    risk_score=87,
    confidence=None,
    entity=records.Entity(scope="campaign", value="c-1", tenant="default", tier="free"),
    campaign=records.CampaignBlock(
        id="c-1",
        accounts=12,
        requests=300,
        members_sample=("a-1", "a-2"),
        links=(records.LinkSummary(kind="template_fp", value="t" * 32, accounts=12, requests=300),),
        shape="harvester",
        capabilities=("cot",),
    ),
    window=records.Window(start=NOW_MS - 60_000, end=NOW_MS),
    first_seen=NOW_MS - 60_000,
    last_seen=NOW_MS - 1,
    detected_at=NOW_MS + 5_000,
    evidence=(
        records.Evidence(
            signature="c1_shared_template",
            family="content",
            log_odds=4.5,
            counted=True,
            facts={
                "accounts": records.Fact(value=12, lower=10.5, upper=13.25, threshold=5, unit="accounts", baseline=1.5)
            },
        ),
    ),
    verdict=records.Verdict(log_odds=5.5, prior=-9.0, cap=6.0, threshold=4.0),
    samples=(records.Sample(event_id="e-1", event_time=NOW_MS, account_id="a-1"),),
    damage=records.Damage(requests=300, output_tokens=120_000, reasoning_tokens=3, cost_usd=1.25),
    coverage=records.Coverage(
        active=("c1_shared_template",),
        off=(records.SignatureOff(signature="p1_shared_payment", missing=("payment_fp",)),),
    ),
    recommended_action="challenge",
    decision_ids=("de_1",),
    superseded_by="al_0",
    runbook="detector/signatures/README.md",
    producer=records.Producer(version="0.1.0"),
)
DECISION = records.Decision(
    decision_id="de_1",
    seq=3,
    tenant="default",
    scope="account",
    value="a-1",
    action="challenge",
    params=records.DecisionParams(requests_per_minute=1, strip_logprobs=True, http_status=429, retry_after_s=60),
    issued_at=NOW_MS,
    effective_at=NOW_MS + 5_000,
    expires_at=NOW_MS + 14_400_000,
    reason_code="campaign_member",
    reason="unusual coordinated use",
    alert_ids=("al_1",),
    campaign_id="c-1",
    signature_ids=("c1_shared_template",),
    risk_score=87,
    approval=records.Approval(required=True, state="approved", proposed_action="block", by="kim", at=NOW_MS),
    config_hash="00ff",
    supersedes="de_0",
)
EXAMPLES: dict[str, msgspec.Struct] = {
    "alert.v1": ALERT,
    "decision.v1": DECISION,
    "member": records.Member(
        campaign_id="c-1", account_id="a-1", tenant="default", first_seen=NOW_MS, requests=3, joined_at=NOW_MS
    ),
    "reject": records.Reject(source="events.jsonl", line=3, byte=17, reason="not_json", tenant="default"),
    "allow": operators.AllowEntry(
        tenant="default", scope="org", value="o-1", owner="kim", reason="own evaluation", expires_at=NOW_MS
    ),
    "command": operators.Command(
        command="revoke", tenant="default", scope="account", value="a-1", by="kim", reason="appeal", at=NOW_MS
    ),
    "control": operators.Control(enforcement="observe_only", since=NOW_MS, by="kim", reason="incident"),
    "label": operators.Label(alert_id="al_1", verdict="false_positive", by="kim", note="evaluation", at=NOW_MS),
}


@pytest.mark.parametrize("name", schemas.NAMES)
def test_the_published_file_is_what_the_code_says(name: str) -> None:
    expected = schemas.schema_text(name)
    published = (ROOT / "schemas" / f"{name}.json").read_text()
    assert published == expected, f"schemas/{name}.json differs from the code: run `make schemas`, review the change"


@pytest.mark.parametrize("name", schemas.NAMES)
def test_a_published_schema_is_itself_valid(name: str) -> None:
    jsonschema_rs.meta.validate(json.loads((ROOT / "schemas" / f"{name}.json").read_text()))


def test_no_other_schema_is_published() -> None:
    published = {path.stem for path in (ROOT / "schemas").glob("*.json")}
    assert published - {"bench-event"} == set(schemas.NAMES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_full_record_obeys_its_schema_and_returns_unchanged(name: str) -> None:
    record = EXAMPLES[name]
    raw = encode(record)
    validator(name).validate(orjson.loads(raw))
    assert decode(raw, kind=type(record)) == record
    assert encode(decode(raw, kind=type(record))) == raw


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_least_record_obeys_its_schema(name: str) -> None:
    record = EXAMPLES[name]
    fields = msgspec.structs.fields(type(record))
    least = type(record)(**{f.name: getattr(record, f.name) for f in fields if f.required})
    validator(name).validate(orjson.loads(encode(least)))
    assert decode(encode(least), kind=type(record)) == least


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_required_field_is_required_by_schema_and_struct(name: str) -> None:
    whole = orjson.loads(encode(EXAMPLES[name]))
    fields = msgspec.structs.fields(type(EXAMPLES[name]))
    for field in fields:
        lacking = {key: value for key, value in whole.items() if key != field.name}
        assert validator(name).is_valid(lacking) != field.required, field.name
        if field.required:
            with pytest.raises(records.SchemaError, match=field.name):
                decode(orjson.dumps(lacking), kind=type(EXAMPLES[name]))


@pytest.mark.parametrize("name", EXAMPLES)
def test_keys_stand_in_the_structs_order(name: str) -> None:
    record = EXAMPLES[name]
    written = list(orjson.loads(encode(record)))
    assert written == [f for f in record.__struct_fields__ if f in written]


@given(st.builds(records.Fact, value=NUMBERS, unit=WORDS, lower=st.none() | NUMBERS, upper=st.none() | NUMBERS))
def test_any_finite_fact_is_written_rounded_and_read_back_to_the_same_bytes(fact: records.Fact) -> None:
    evidence = records.Evidence(signature="s", family="timing", log_odds=-0.0, counted=False, facts={"f": fact})
    raw = encode(evidence)
    assert b'"log_odds":0.0,' in raw
    assert encode(decode(raw, kind=records.Evidence)) == raw


@given(TIMES_MS)
def test_a_time_is_rfc_3339_with_three_decimals_and_returns(time_ms: int) -> None:
    text = records.format_time(time_ms)
    assert text.endswith("Z")
    assert len(text) == len("2026-06-21T14:00:00.007Z")
    assert records.parse_time(text) == time_ms


@given(st.permutations(["alpha", "beta", "gamma"]))
def test_the_order_in_which_facts_were_found_does_not_show(names: list[str]) -> None:
    facts = {name: records.Fact(value=1, unit="u") for name in names}
    evidence = records.Evidence(signature="s", family="timing", log_odds=0.0, counted=False, facts=facts)
    assert list(orjson.loads(encode(evidence))["facts"]) == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_a_bug_and_raises(value: float) -> None:
    with pytest.raises(ValueError, match="log_odds"):
        encode(records.Verdict(log_odds=value, prior=0.0, cap=0.0, threshold=0.0))


@pytest.mark.parametrize(
    "text",
    [
        "2026-06-21",
        "2026-06-21T14:00:00",
        "2026-13-21T14:00:00Z",
        "2026-02-30T14:00:00Z",
        "2026-06-21T24:00:00Z",
        "2026-06-21T14:00:00+25:00",
        "٢٠٢٦-06-21T14:00:00Z",
        "yesterday",
        "",
    ],
)
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(records.SchemaError):
        records.parse_time(text)


@pytest.mark.parametrize(
    ("raw", "kind", "said"),
    [
        (b"{", records.Window, "Window"),
        (b"[]", records.Window, "Expected `object`"),
        (b'{"start": "x", "end": 0}', records.Window, "RFC 3339"),
        (b'{"start": 0.5, "end": 0}', records.Window, "start"),
        (b'{"enforcement": "maybe", "since": 0, "by": "kim", "reason": ""}', operators.Control, "enforcement"),
    ],
)
def test_a_record_of_another_form_is_refused_with_what_and_where(raw: bytes, kind: type, said: str) -> None:
    with pytest.raises(records.SchemaError, match=said):
        decode(raw, kind=kind)


def test_confidence_is_written_as_null_and_other_absences_are_not_written() -> None:
    written = orjson.loads(encode(DECISION))
    assert written["confidence"] is None
    assert "supersedes" in written
    assert "tokens_per_minute" not in written["params"]


def test_a_decisions_key_is_a_json_array_without_spaces_or_escapes() -> None:
    assert records.decision_key(tenant="t", scope="org", value='ü"x').decode() == '["t","org","ü\\"x"]'


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"command": "add"}, ("scope", "value", "action", "expires_at")),
        ({"command": "add", "scope": "org", "value": "o", "action": "block", "expires_at": 1}, ()),
        ({"command": "revoke", "decision_id": "de_1"}, ()),
        ({"command": "revoke", "alert_id": "al_1"}, ("scope", "value")),
        ({"command": "approve", "alert_id": "al_1"}, ()),
        ({"command": "resolve"}, ("alert_id",)),
        ({"command": "kill_switch"}, ("enforcement",)),
    ],
)
def test_a_command_says_what_it_lacks(fields: dict[str, Any], missing: tuple[str, ...]) -> None:
    command = operators.Command(tenant="default", by="kim", reason="", at=0, **fields)
    assert missing == operators.missing_fields(command)


def test_the_reader_and_the_record_know_the_same_reject_reasons() -> None:
    assert set(REASONS) - {""} == set(get_args(RejectReason))


def test_the_benchmarks_event_obeys_the_input_schema() -> None:
    event = json.loads((ROOT / "schemas" / "bench-event.json").read_text())
    validator("access.v1").validate(event)
    validator("access.v1").validate({**event, "input_tokens": None})
    for name in ("event_id", "event_time", "account_id", "request_model", "input_tokens"):
        assert not validator("access.v1").is_valid({key: value for key, value in event.items() if key != name})
