"""The receivers over HTTP: each takes one revision of an alert, or says why not.

Purpose: the delivery interface, `take`, and its implementations for PagerDuty and webhooks.
Invariants: to take the same revision twice is harmless: each request carries a key by which
its receiver knows it again. `take` never raises for what a receiver does.
Limits: one request at a time for each sink, so that order is kept.
Source: the receivers' documentation, named in the conversions of `detector.sinks`.
"""

from typing import Final, Protocol

import aiohttp
import orjson

from detector.records import Alert, encode
from detector.runtime.sinks import settings
from detector.runtime.sinks.memory import Memory, Told
from detector.runtime.sinks.posting import TAKEN, Outcome, post
from detector.runtime.sinks.settings import secret_of
from detector.sinks import cloudevents, pagerduty

USER_AGENT: Final = "stillwatch"
JSON: Final = "application/json"


class Sink(Protocol):
    """Where alerts go. `take` gets revisions of one alert in order; an earlier one is in the memory."""

    async def take(self, alert: Alert, memory: Memory) -> Outcome:
        """Bring one revision there; on taken the memory has it."""

    async def remind(self, memory: Memory) -> Outcome:
        """Do what is due between alerts."""


def session_of() -> aiohttp.ClientSession:
    """The HTTP client of one sink; it takes proxies from the environment, cookies from nobody."""
    return aiohttp.ClientSession(
        headers={"User-Agent": USER_AGENT}, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
    )


class PagerDutySink:
    """Events API v2."""

    def __init__(self, given: settings.PagerDuty, session: aiohttp.ClientSession) -> None:
        """Raises `ConfigError` where there is no integration key."""
        self.given, self.session = given, session
        place = f"sink {given.name}"
        self._key = secret_of(given.key_file, settings.PAGERDUTY_VARIABLE, place=place, needed=True)

    async def take(self, alert: Alert, memory: Memory) -> Outcome:
        """Trigger or resolve, where the alert is one for a pager."""
        triggered = (memory.get(alert.alert_id) or Told(-1, {})).note.get("triggered", False)
        event = pagerduty.event_of(alert, routing_key=self._key, triggered=triggered, runbooks=self.given.runbooks)
        if event is not None:
            headers = {"Content-Type": JSON}
            answer = await post(
                self.session,
                self.given.url,
                body=orjson.dumps(event),
                headers=headers,
                timeout_ms=self.given.timeout_ms,
            )
            if answer.outcome.kind != "taken":
                return answer.outcome
            triggered = event["event_action"] == "trigger"
        memory.put(alert.alert_id, Told(alert.revision, {"triggered": triggered}))
        return TAKEN

    async def remind(self, memory: Memory) -> Outcome:
        """Nothing is due."""
        del memory
        return TAKEN


class WebhookSink:
    """The alert's own JSON, or a CloudEvent around it."""

    def __init__(self, given: settings.Webhook, session: aiohttp.ClientSession) -> None:
        """Raises `ConfigError` where the token does not read."""
        self.given, self.session = given, session
        token = secret_of(given.token_file, settings.WEBHOOK_VARIABLE, place=f"sink {given.name}", needed=False)
        self._headers = {"Content-Type": cloudevents.CONTENT_TYPE if given.cloudevents else JSON}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    async def take(self, alert: Alert, memory: Memory) -> Outcome:
        """Post every revision; `Idempotency-Key` names it."""
        body = orjson.dumps(cloudevents.event_of(alert)) if self.given.cloudevents else encode(alert)
        headers = {**self._headers, "Idempotency-Key": f"{alert.alert_id}:{alert.revision}"}
        answer = await post(self.session, self.given.url, body=body, headers=headers, timeout_ms=self.given.timeout_ms)
        if answer.outcome.kind == "taken":
            memory.put(alert.alert_id, Told(alert.revision, {}))
        return answer.outcome

    async def remind(self, memory: Memory) -> Outcome:
        """Nothing is due."""
        del memory
        return TAKEN
