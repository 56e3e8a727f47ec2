"""Azure OpenAI: RequestResponse records, after Microsoft's reference of monitoring data and published samples."""

from typing import Any

import orjson
import pytest
from hypothesis import given

from tests.unit.formats.reading import WHEN_MS, bent, changed, holds, read, row, without

TICKS = 621_355_968_000_000_000 + WHEN_MS * 10_000
RESOURCE = "/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A"
FULL: dict[str, Any] = {
    "Tenant": "eastus",
    "callerIpAddress": "203.0.113.***",
    "category": "RequestResponse",
    "correlationId": "d427a391-2bc7",
    "durationMs": 1500,
    "event": "ShoeboxCallResult",
    "location": "eastus",
    "operationName": "ChatCompletions_Create",
    "properties": {
        "apiName": "Azure OpenAI API version 2024-02-15-preview",
        "requestTime": TICKS - 15_000_000,
        "requestLength": 128,
        "responseTime": TICKS,
        "responseLength": 1411,
        "objectId": "oid-1",
        "streamType": "Non-Streaming",
        "modelDeploymentName": "pilot",
        "modelName": "gpt-4o",
        "modelVersion": "0301",
    },
    "resourceId": RESOURCE,
    "resultSignature": "200",
    "time": "2026-06-14T20:10:00.4350000Z",
}


def test_a_full_record_fills_every_field_it_has() -> None:
    assert row(FULL, form="azure") == {
        "event_id": "d427a391-2bc7",
        "event_time": WHEN_MS,
        "account_id": "oid-1",
        "org_id": RESOURCE,
        "provider": "azure",
        "request_model": "pilot",
        "response_model": "gpt-4o",
        "operation": "chat",
        "input_bytes": 128,
        "output_bytes": 1411,
        "stream": False,
        "status_code": 200,
        "latency_ms": 1500,
        "client_ip": "203.0.113.0/24",
    }


def test_properties_may_be_json_text() -> None:
    as_text = FULL | {"properties": orjson.dumps(FULL["properties"]).decode()}
    assert row(as_text, form="azure") == row(FULL, form="azure")


def test_a_negative_duration_is_no_duration() -> None:
    assert "latency_ms" not in row(FULL | {"durationMs": -1021}, form="azure")


def test_an_event_hub_has_batches() -> None:
    found = read({"records": [FULL, FULL | {"correlationId": "2"}, "x"]}, form="azure")
    assert (len(found.rows), found.rejects) == (2, [("not_object", None)])


def test_without_ticks_the_records_own_time_counts() -> None:
    found = row(without(FULL, "properties", "responseTime"), form="azure")
    assert found["event_time"] == 1_781_467_800_435


def test_a_caller_with_a_key_has_no_account() -> None:
    keyed = changed(FULL, ("properties", "objectId"), "")
    assert read(keyed, form="azure").rejects == [("missing_field", "account_id")]


@pytest.mark.parametrize(
    "other",
    [
        FULL | {"category": "Audit"},
        FULL | {"operationName": "Create_Thread", "properties": '{"requestLength":2,"objectId":""}'},
    ],
)
def test_what_calls_no_model_is_passed_over(other: dict[str, Any]) -> None:
    assert read(other, form="azure").passed == 1


@given(bent(FULL))
def test_nothing_in_a_record_raises(record: object) -> None:
    holds(record, form="azure")
    holds({"records": [record]}, form="azure")
