"""CloudEvents: an alert inside the envelope of CloudEvents 1.0, structured mode.

Purpose: for receivers that route by the envelope and do not know our record.
Invariants: `source` and `id` together name one revision, so a repeated event is known; the data is
the alert's own record.
Limits: an alert has no time of its own revision, so `time` is that of the newest thing it speaks of.
Source: CloudEvents 1.0.2, JSON event format; RFC 3986 for `source`.
"""

from typing import Any, Final
from urllib.parse import quote

import orjson

from detector import story
from detector.records import Alert, encode

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
TYPE: Final = "stillwatch.alert.v1"


def event_of(alert: Alert) -> dict[str, Any]:
    """The event of one revision."""
    return {
        "specversion": "1.0",
        "type": TYPE,
        "source": f"/stillwatch/{quote(alert.entity.tenant, safe='')}",
        "id": f"{alert.alert_id}:{alert.revision}",
        "time": story.ended_at(alert),
        "subject": alert.dedup_key,
        "datacontenttype": "application/json",
        "data": orjson.Fragment(encode(alert)),
    }
