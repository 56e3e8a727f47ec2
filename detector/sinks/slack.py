"""Slack: an alert as a message, its updates as replies in the message's thread.

Purpose: a channel in which one case is one message, however often it grows.
Invariants: nothing in a message links, mentions or styles what a stranger wrote; no buttons, since
a decision belongs to a named person at a terminal. Each message carries the revision in its
metadata, by which it is found again after a crash.
Limits: `TEXT_CHARS_MAX` characters; of the evidence what is counted.
Source: Slack's chat.postMessage, conversations.history and "Formatting text for app surfaces".
"""

from typing import Any, Final

from detector import story
from detector.records import Alert
from detector.sinks.escaping import mrkdwn, mrkdwn_code, shortened

TEXT_CHARS_MAX: Final = 3_500
BAR_WIDTH: Final = 12
EVENT_TYPE: Final = "stillwatch_alert"
SIGNS: Final = {"critical": ":red_circle:", "high": ":large_orange_circle:", "medium": ":large_yellow_circle:"}


def message_of(alert: Alert, *, channel: str, thread: str | None, runbooks: str = "") -> dict[str, Any]:
    """The body of chat.postMessage: a message, or in `thread` (its `ts`) a reply. `runbooks` is the runbooks' URL."""
    told = story.tell(alert, runbooks=runbooks)
    text = _whole(alert, told, linked=bool(runbooks)) if thread is None else _update(alert, told)
    made: dict[str, Any] = {
        "channel": channel,
        "text": text,
        "mrkdwn": True,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "metadata": {
            "event_type": EVENT_TYPE,
            "event_payload": {"alert_id": alert.alert_id, "revision": alert.revision},
        },
    }
    return made | ({"thread_ts": thread} if thread is not None else {})


def _whole(alert: Alert, told: story.Story, *, linked: bool) -> str:
    where = f"{mrkdwn(alert.entity.scope)} {mrkdwn_code(alert.entity.value)} of {mrkdwn_code(alert.entity.tenant)}"
    shadow = " (shadow: nothing is enforced)" if alert.mode == "shadow" else ""
    bars = "\n".join(
        f"{story.drawn(bar.log_odds, full=bar.full, width=BAR_WIDTH)} {bar.log_odds:+.1f} "
        + mrkdwn(f"{bar.title}: {bar.facts}")
        for bar in told.why
        if bar.counted
    )
    members = " ".join(mrkdwn_code(name) for name in alert.campaign.members_sample[:3]) if alert.campaign else ""
    page = f"<{told.read_on}|Runbook>" if linked else mrkdwn_code(told.read_on)
    sign = SIGNS.get(alert.severity, ":white_circle:")
    parts = (
        f"{sign} *{alert.severity.upper()}*{shadow} {mrkdwn(alert.title)}, {where}",
        mrkdwn(alert.summary),
        f"*Do:* {mrkdwn(told.todo)}",
        f"*Left the building:* {mrkdwn(told.lost)}" if told.lost else "",
        f"*Why:* {mrkdwn(told.verdict)}\n```{bars}```" if bars else "",
        "*Wrong*\n" + "\n".join(f"• {mrkdwn(reason)}" for reason in told.wrong) if told.wrong else "",
        f"Such as {members}" if members else "",
        f"{page} {mrkdwn_code(alert.alert_id)}" if told.read_on else mrkdwn_code(alert.alert_id),
    )
    return _cut("\n".join(part for part in parts if part))


def _update(alert: Alert, told: story.Story) -> str:
    word = {"resolved": "Resolved", "suppressed": "Held back"}.get(alert.status, "Update")
    reason = f" ({mrkdwn(alert.status_reason)})" if alert.status_reason else ""
    parts = (f"*{word}*{reason}, {alert.severity}: {mrkdwn(alert.summary)}", f"*Do:* {mrkdwn(told.todo)}")
    return _cut("\n".join(parts))


def _cut(text: str) -> str:
    """Shorten a message without leaving an entity, or a block of code, open."""
    if len(text) <= TEXT_CHARS_MAX:
        return text
    kept = shortened(text, chars_max=TEXT_CHARS_MAX)
    head, mark, tail = kept.rpartition("&")
    if mark and ";" not in tail:
        kept = head + "…"
    return kept + ("```" if kept.count("```") % 2 else "")
