"""A limiter inside a gateway: leases, paces, what a request's event says, without brokers."""

from types import SimpleNamespace
from typing import Any

import pytest

from detector import shim
from detector.enforce.client import DecisionClient, UnavailableError
from detector.enforce.gateway import Gateway, Pace
from detector.enforce.litellm_events import asked_event, event_of, texts_asked, texts_of
from detector.enforce.recorder import QUEUE_MAX, Recorder, Texts
from detector.events import SCHEMA
from detector.records import Decision, DecisionParams
from detector.runtime.kafka.connection import Connection
from tests.unit.leasing import HOUR, decision, put

KEY = bytes(32)
NOTHING = Texts()


def gateway(*made: Decision, now_ms: int = HOUR, **more: Any) -> Gateway:
    client = DecisionClient(Connection(), clock_ms=lambda: now_ms, **more)
    put(client.table, *made)
    return Gateway(client, key=KEY)


def test_a_request_without_a_lease_passes_and_says_so() -> None:
    answer = gateway().ask({"account_id": "a-1", "request_model": "m"}, NOTHING)
    assert (answer.status, answer.disposition, answer.decision_id, answer.headers) == (0, "allowed", None, {})


@pytest.mark.parametrize(
    ("action", "params", "status", "disposition"),
    [
        ("challenge", DecisionParams(), 403, "challenged"),
        ("block", DecisionParams(http_status=451), 451, "blocked"),
        ("observe", DecisionParams(), 0, "allowed"),
    ],
)
def test_a_lease_refuses_as_its_action_says(action: str, params: DecisionParams, status: int, disposition: str) -> None:
    answer = gateway(decision(action=action, params=params)).ask({"account_id": "a-1", "request_model": "m"}, NOTHING)
    assert (answer.status, answer.disposition) == (status, disposition)
    assert answer.decision_id == (None if action == "observe" else "d-a-1")


def test_a_throttle_lets_its_pace_pass_and_refuses_the_rest() -> None:
    slow = decision(action="throttle", params=DecisionParams(requests_per_minute=2, retry_after_s=9))
    made = gateway(slow)
    answers = [made.ask({"account_id": "a-1", "request_model": "m"}, NOTHING) for _ in range(3)]
    assert [answer.disposition for answer in answers] == ["allowed", "allowed", "throttled"]
    assert [answer.decision_id for answer in answers] == ["d-a-1"] * 3
    assert answers[2].headers == {"x-stillwatch-decision": "d-a-1", "retry-after": "9"}


def test_a_throttle_on_tokens_counts_what_was_spent() -> None:
    made = gateway(decision(action="throttle", params=DecisionParams(tokens_per_minute=100)))
    event = {"account_id": "a-1", "request_model": "m"}
    first = made.ask(event, NOTHING)
    made.spent(first, 100)
    assert (first.status, made.ask(event, NOTHING).status) == (0, 429)


def test_a_pace_begins_anew_each_minute() -> None:
    made = gateway(decision(action="throttle", params=DecisionParams(requests_per_minute=1)))
    lease = made.ask({"account_id": "a-1", "request_model": "m"}, NOTHING).lease
    assert lease is not None
    pace = Pace()
    assert [pace.admits(lease, at_ms=at) for at in (0, 59_999, 60_000, 60_001)] == [True, False, True, False]


def test_a_template_is_looked_up_by_its_fingerprint() -> None:
    prompt = "Explain step by step how a bill becomes a law"
    name = shim.fingerprint(system=None, prompt=prompt, output=None, key=KEY)["template_fp"]
    made = gateway(decision(name, scope="template_fp"))
    assert made.ask({"account_id": "a-1", "request_model": "m"}, Texts(None, prompt)).status == 403
    assert made.ask({"account_id": "a-1", "request_model": "m"}, Texts(None, "something else")).status == 0


def test_closed_while_nothing_is_loaded_is_an_error_and_no_refusal() -> None:
    with pytest.raises(UnavailableError):
        gateway(failure_mode="closed").ask({"account_id": "a-1", "request_model": "m"}, NOTHING)


def test_a_recorder_whose_queue_is_full_loses_events_and_waits_for_nobody() -> None:
    recorder = Recorder(Connection(), key=KEY)
    for number in range(QUEUE_MAX + 3):
        recorder.tell({"event_id": str(number)}, NOTHING)
    assert (recorder.dropped, recorder.sent) == (3, 0)
    with pytest.raises(ValueError, match="3 bytes"):
        Recorder(Connection(), key=b"abc")


AUTH = SimpleNamespace(
    token="h" * 64,
    api_key="sk-x",
    user_id=None,
    org_id=None,
    team_id="t-1",
    end_user_id=None,
    metadata={"stillwatch": {"payment_fp": "p-1", "event_id": "forged"}},
)
BODY = {
    "litellm_call_id": "c-1",
    "model": "m",
    "user": "u-1",
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "Why?"}]}],
    "metadata": {"requester_ip_address": "203.0.113.7"},
    "max_tokens": True,
    "temperature": "hot",
    "n": 2,
    "logprobs": 0,
    "tools": [1, 2],
    "response_format": {"type": "json_schema"},
}


def test_what_is_known_before_a_request_is_answered() -> None:
    event = asked_event(AUTH, BODY, tenant="t", operation="acompletion")
    assert event["event_id"] == "c-1"  # notes add what the proxy does not know, no more
    assert (event["account_id"], event["api_key_id"]) == ("h" * 64, "h" * 64)
    assert (event["org_id"], event["end_user_id"], event["client_ip"]) == ("t-1", "u-1", "203.0.113.7")
    assert (event["payment_fp"], event["n"], event["tool_count"]) == ("p-1", 2, 2)
    assert (event["logprobs_requested"], event["structured_output"]) == (True, True)
    assert not {"max_tokens", "temperature"} & event.keys()
    assert event.keys() <= set(SCHEMA.names)
    assert texts_asked(BODY) == Texts("S", "Why?", None)


PAYLOAD: dict[str, Any] = {
    "id": "r-1",
    "status": "success",
    "startTime": 1_700_000_000.0,
    "completionStartTime": 1_700_000_000.25,
    "endTime": 1_700_000_001.5,
    "stream": True,
    "model": "m-2026",
    "model_group": "m",
    "prompt_tokens": 7,
    "completion_tokens": 9,
    "messages": BODY["messages"],
    "response": {"choices": [{"message": {"content": "Because."}, "finish_reason": "stop"}]},
    "metadata": {"user_api_key_hash": "h", "user_api_key_user_id": "a-1", "usage_object": None},
    "model_parameters": {"top_p": 0.9},
}


def test_what_is_told_of_a_request_that_was_answered() -> None:
    event = event_of(PAYLOAD, tenant="t", known={"account_tier": "free", "account_id": "forged"})
    assert (event["account_id"], event["api_key_id"], event["account_tier"]) == ("a-1", "h", "free")
    assert (event["event_time"], event["latency_ms"], event["ttft_ms"]) == (1_700_000_001_500, 1_500, 250)
    assert (event["request_model"], event["response_model"], event["finish_reason"]) == ("m", "m-2026", "stop")
    assert (event["status_code"], event["turn_index"], event["top_p"]) == (200, 0, 0.9)
    assert event.keys() <= set(SCHEMA.names)
    assert texts_of(PAYLOAD) == Texts("S", "Why?", "Because.")


def test_what_is_told_of_a_request_that_failed() -> None:
    error = {"error_code": "429", "error_class": "RateLimitError"}
    event = event_of(
        {**PAYLOAD, "status": "failure", "error_information": error, "response": {}}, tenant="t", known=None
    )
    assert (event["status_code"], event["error_type"]) == (429, "RateLimitError")


@pytest.mark.parametrize(
    ("messages", "response", "texts"),
    [
        ("Why?", {"choices": [{"text": "So."}]}, Texts(None, "Why?", "So.")),
        (["a", "b"], "So.", Texts(None, "a\n\nb", "So.")),
        ({"messages": [{"role": "user", "content": "q"}]}, None, Texts(None, "q", None)),
        ([{"role": "user", "content": "q"}], {"content": [{"type": "text", "text": "A"}]}, Texts(None, "q", "A")),
        (
            "q",
            {"output": [{"content": [{"text": "x"}, {"refusal": 1}]}, {"content": [{"text": "y"}]}]},
            Texts(None, "q", "x\n\ny"),
        ),
        ("redacted-by-litellm", "redacted-by-litellm", Texts()),
        ([5, None], {"choices": [5]}, Texts()),
        (None, {"choices": 5, "output": "x"}, Texts()),
    ],
)
def test_text_is_found_in_any_shape(messages: object, response: object, texts: Texts) -> None:
    assert texts_of({"messages": messages, "response": response}) == texts
