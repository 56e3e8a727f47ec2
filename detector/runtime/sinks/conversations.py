"""Alertmanager and Slack: receivers that must be told again, or asked what they know.

Purpose: `take` for the two receivers that keep a state of their own.
Invariants: Alertmanager is sent every open alert again and again, as it expects of its clients, so a
restart of either side mends itself. Slack has no key by which it knows a message again: where an
answer was lost it is asked whether the message is there before it is sent once more.
Limits: Slack is asked for `HISTORY_MESSAGES` messages; where the token may not read the channel, a lost
answer leads to a second message, because twice is better than never.
Source: Prometheus' notifier; Slack's chat.postMessage, conversations.history, conversations.replies.
"""

import time
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson

from detector.records import Alert
from detector.runtime.sinks import settings
from detector.runtime.sinks.memory import Memory, Told
from detector.runtime.sinks.posting import TAKEN, Answer, Outcome, post
from detector.runtime.sinks.receivers import JSON
from detector.runtime.sinks.settings import secret_of
from detector.sinks import alertmanager, slack

NOTHING: Final = Told(-1, {})
HISTORY_MESSAGES: Final = 200
LOOK_BACK_S: Final = 60
# Slack refuses this message, whoever sends it wherever; any other error is a setting that somebody can mend.
SLACK_REFUSED: Final = frozenset(
    {"msg_too_long", "no_text", "invalid_blocks", "invalid_metadata_format", "metadata_too_large"}
)


class AlertmanagerSink:
    """`POST /api/v2/alerts`."""

    def __init__(self, given: settings.Alertmanager, session: aiohttp.ClientSession) -> None:
        """Raises `ConfigError` where the token does not read."""
        self.given, self.session = given, session
        token = secret_of(given.token_file, settings.ALERTMANAGER_VARIABLE, place=f"sink {given.name}", needed=False)
        self._headers = {"Content-Type": JSON} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._reminded_s = time.monotonic()

    async def _post(self, alerts: list[dict[str, Any]]) -> Outcome:
        url, limit_ms = f"{self.given.url.rstrip('/')}/api/v2/alerts", self.given.timeout_ms
        answer = await post(self.session, url, body=orjson.dumps(alerts), headers=self._headers, timeout_ms=limit_ms)
        return answer.outcome

    async def take(self, alert: Alert, memory: Memory) -> Outcome:
        """Post the alert as it is now; where its severity changed, end the one that it was."""
        held = (memory.get(alert.alert_id) or NOTHING).note
        if alert.status == "suppressed" and not held:
            memory.put(alert.alert_id, Told(alert.revision, {}))
            return TAKEN
        labels = alertmanager.labels_of(alert, first=held.get("labels"))
        made = alertmanager.alert_of(alert, labels=labels, runbooks=self.given.runbooks)
        changed = bool(held) and held["labels"] != labels and "endsAt" not in held["alert"]
        now_ms = time.time_ns() // 1_000_000
        before = [alertmanager.ended(held["alert"], at_ms=now_ms)] if changed else []
        outcome = await self._post([*before, made])
        if outcome.kind == "taken":
            memory.put(alert.alert_id, Told(alert.revision, {"labels": labels, "alert": made}))
        return outcome

    async def remind(self, memory: Memory) -> Outcome:
        """Send what is open again, when it is time."""
        if time.monotonic() - self._reminded_s < self.given.resend_ms / 1_000:
            return TAKEN
        held = (told.note.get("alert", {"endsAt": ""}) for told in memory.all().values())
        still = [alert for alert in held if "endsAt" not in alert]
        outcome = await self._post(still) if still else TAKEN
        if outcome.kind != "later":
            self._reminded_s = time.monotonic()
        return outcome


class SlackSink:
    """`chat.postMessage`, a thread for each alert."""

    def __init__(self, given: settings.Slack, session: aiohttp.ClientSession) -> None:
        """Raises `ConfigError` where there is no token."""
        self.given, self.session = given, session
        token = secret_of(given.token_file, settings.SLACK_VARIABLE, place=f"sink {given.name}", needed=True)
        self._authorization = {"Authorization": f"Bearer {token}"}

    async def _call(self, method: str, *, body: bytes, kind: str) -> tuple[Outcome, dict[str, Any]]:
        """Call a method; Slack says no with 200 as well."""
        answer = await post(
            self.session,
            f"{self.given.url.rstrip('/')}/{method}",
            body=body,
            headers={**self._authorization, "Content-Type": kind},
            timeout_ms=self.given.timeout_ms,
        )
        return _read(answer)

    async def take(self, alert: Alert, memory: Memory) -> Outcome:
        """Post a message, or a reply in the thread of the alert's first one."""
        told = memory.get(alert.alert_id) or NOTHING
        thread = told.note.get("ts")
        if thread is None and (alert.status == "suppressed" or (alert.status == "resolved" and alert.revision)):
            memory.put(alert.alert_id, Told(alert.revision, {}))
            return TAKEN
        if told.note.get("posting") == alert.revision:
            ts = await self._find(alert, thread=thread, since_s=told.note["since_s"])
            if ts is not None:
                memory.put(alert.alert_id, Told(alert.revision, {"ts": thread or ts}))
                return TAKEN
        intent = {"posting": alert.revision, "since_s": told.note.get("since_s", int(time.time()))}
        memory.put(alert.alert_id, Told(told.revision, {"ts": thread, **intent}))
        message = slack.message_of(alert, channel=self.given.channel, thread=thread, runbooks=self.given.runbooks)
        outcome, said = await self._call("chat.postMessage", body=orjson.dumps(message), kind=f"{JSON}; charset=utf-8")
        if outcome.kind == "taken":
            memory.put(alert.alert_id, Told(alert.revision, {"ts": thread or said["ts"]}))
        elif said:  # it answered, and did not post
            gone = said.get("error") == "thread_not_found"
            memory.put(alert.alert_id, Told(told.revision, {} if gone else {"ts": thread}))
        return outcome

    async def _find(self, alert: Alert, *, thread: str | None, since_s: int) -> str | None:
        """The `ts` of the message of this revision, if the channel, or the thread, has it."""
        asked: dict[str, Any] = {"channel": self.given.channel, "oldest": since_s - LOOK_BACK_S}
        asked |= {"limit": HISTORY_MESSAGES, "include_all_metadata": "true"}
        asked |= {"ts": thread} if thread is not None else {}
        method = "conversations.history" if thread is None else "conversations.replies"
        form = "application/x-www-form-urlencoded"
        _, said = await self._call(method, body=urlencode(asked).encode(), kind=form)
        wanted = {"alert_id": alert.alert_id, "revision": alert.revision}
        for message in said.get("messages", ()):
            metadata = message.get("metadata", {})
            if metadata.get("event_type") == slack.EVENT_TYPE and metadata.get("event_payload") == wanted:
                return str(message["ts"])
        return None

    async def remind(self, memory: Memory) -> Outcome:
        """Nothing is due."""
        del memory
        return TAKEN


def _read(answer: Answer) -> tuple[Outcome, dict[str, Any]]:
    """What Slack's answer means, and what it said; empty where it said nothing that we know."""
    try:
        said: Any = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        # A yes of which nothing is known is no yes: the message has to be looked for.
        lost = Outcome("later", "no answer of Slack's")
        return (lost if answer.outcome.kind == "taken" else answer.outcome), {}
    if answer.outcome.kind != "taken" or said.get("ok") is True:
        return answer.outcome, said
    error = str(said.get("error", ""))
    word = error if error.isidentifier() and len(error) <= 64 else "an error without a name"
    return Outcome("refused" if error in SLACK_REFUSED else "later", f"Slack says {word}"), said
