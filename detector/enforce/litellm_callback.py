"""LiteLLM's proxy: a callback that enforces decisions and tells what became of each request.

Purpose: `callbacks: detector.enforce.litellm_callback.callback` under `litellm_settings` in the
proxy's config.yaml. Before a call the hook asks `Gateway`; after it, or after a refusal, an
`access.v1` event goes to the access topic, with fingerprints for text.
Invariants: an error of ours never refuses a request, unless `STILLWATCH_FAILURE_MODE=closed`
says so. A request makes one event: those refused here as such, the others when LiteLLM logs them.
Limits: the process needs this package (`--no-deps`), kafka-python, msgspec and orjson, nothing else of ours.
The text must reach callbacks: `turn_off_message_logging` leaves events without fingerprints.
Settings are environment variables: STILLWATCH_BOOTSTRAP or STILLWATCH_CONFIG (a file with the table
`[kafka]`), STILLWATCH_TOPIC_PREFIX, STILLWATCH_FINGERPRINT_KEY, STILLWATCH_TENANT, STILLWATCH_FAILURE_MODE.
What only the operator knows of a key stands in its metadata, as an object `stillwatch`: payment_fp ...
Source: LiteLLM's documentation of custom callbacks, call hooks and StandardLoggingPayload.
"""

import asyncio
import atexit
import os
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

from detector.enforce.client import DecisionClient, UnavailableError
from detector.enforce.gateway import PASS, Answer, Gateway
from detector.enforce.litellm_events import asked_event, event_of, texts_asked, texts_of
from detector.enforce.recorder import Recorder
from detector.records import ConfigError
from detector.runtime.kafka.connection import connection_from

ANSWERS_MAX: Final = 100_000


def _key() -> bytes:
    try:
        return bytes.fromhex(os.environ["STILLWATCH_FINGERPRINT_KEY"])
    except (KeyError, ValueError) as wrong:
        raise ConfigError("STILLWATCH_FINGERPRINT_KEY must hold the fingerprint key: 64 hex digits") from wrong


class Stillwatch(CustomLogger):  # type: ignore[misc]  # LiteLLM's types are not followed
    """One for each process of the proxy."""

    def __init__(self) -> None:
        """Begin to follow decisions and to produce events."""
        super().__init__()
        path, mode = os.environ.get("STILLWATCH_CONFIG"), os.environ.get("STILLWATCH_FAILURE_MODE", "last_state")
        if mode not in ("last_state", "open", "closed"):
            raise ConfigError(f"STILLWATCH_FAILURE_MODE={mode} must be last_state, open or closed")
        connection = connection_from(Path(path).read_text() if path else "")
        self.tenant = os.environ.get("STILLWATCH_TENANT", "default")
        self.client = DecisionClient(connection, failure_mode=mode)  # type: ignore[arg-type]  # checked above
        self.gateway = Gateway(self.client, key=_key(), tenant=self.tenant)
        self.recorder = Recorder(connection, key=_key())
        self.answers: OrderedDict[str, Answer] = OrderedDict()  # of requests that are under way
        self.client.start()
        self.recorder.start()
        atexit.register(self.recorder.stop)

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> Any:
        """Refuse the request, or let it pass with the limits of a throttle."""
        del cache
        event = asked_event(user_api_key_dict, data, tenant=self.tenant, operation=str(call_type))
        try:
            # A lookup takes microseconds, fingerprints may take milliseconds: not on the proxy's loop.
            answer = await asyncio.to_thread(self.gateway.ask, event, texts_asked(data))
        except UnavailableError as wrong:
            raise HTTPException(503, {"error": str(wrong)}) from wrong
        if answer.status:
            self._refuse(event, answer, data)
        call_id = str(data.get("litellm_call_id"))
        self.answers[call_id] = answer
        while len(self.answers) > ANSWERS_MAX:
            self.answers.popitem(last=False)
        params = answer.params
        if params.max_output_tokens is not None:
            data["max_tokens"] = min(data.get("max_tokens") or params.max_output_tokens, params.max_output_tokens)
        if params.strip_logprobs:
            data.pop("logprobs", None)
            data.pop("top_logprobs", None)
        return data

    def _refuse(self, event: dict[str, Any], answer: Answer, data: dict[str, Any]) -> None:
        assert answer.lease is not None
        record = answer.lease.record
        said = {"disposition": answer.disposition, "decision_id": record.decision_id, "status_code": answer.status}
        now_ms = time.time_ns() // 1_000_000
        self.recorder.tell(event | said | {"event_time": now_ms, "error_type": record.reason_code}, texts_asked(data))
        self.answers[str(event["event_id"])] = answer
        raise HTTPException(
            answer.status,
            {"error": record.reason, "type": record.reason_code, "decision_id": record.decision_id},
            headers=answer.headers,
        )

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A request was answered."""
        del response_obj, start_time, end_time
        self._logged(kwargs)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A request failed; one that was refused here has its event already."""
        del response_obj, start_time, end_time
        self._logged(kwargs)

    def _logged(self, kwargs: dict[str, Any]) -> None:
        payload = kwargs.get("standard_logging_object")
        if not payload:
            return
        answer = self.answers.pop(str(payload.get("litellm_call_id") or payload.get("id")), PASS)
        if answer.status:
            return
        event = event_of(payload, tenant=self.tenant, known=_notes(kwargs))
        self.gateway.spent(answer, event["input_tokens"] + event["output_tokens"])
        said = {"disposition": answer.disposition, "decision_id": answer.decision_id}
        self.recorder.tell(event | said, texts_of(payload))


def _notes(kwargs: dict[str, Any]) -> Any:
    """What the operator wrote into the key's metadata."""
    metadata = (kwargs.get("litellm_params") or {}).get("metadata") or {}
    return (metadata.get("user_api_key_metadata") or {}).get("stillwatch")


callback = Stillwatch()
