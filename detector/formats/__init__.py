"""formats: other systems' logs to access.v1.

Purpose: one table a format (`layout.py`), one registry, one way through it: a block of JSON
lines becomes lines of access.v1 that the ordinary decoder reads, so that there is one truth
about what an event must satisfy.
Invariants: nothing raises, whatever the bytes; a line gives events, rejects, or is passed over
because it holds no model call, and is counted each time. Rejects and events carry the
number of the line that they came from. Credentials never leave a record.
Limits: a line is at most 1 MiB, that of a format which batches `BATCH_BYTES_MAX`; nesting is at
most 1,024 levels. Parquet holds access.v1 only.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from detector.decode import Reject
from detector.events import RECORD_BYTES_MAX, SCHEMA
from detector.formats import (
    azure,
    bedrock,
    cloudflare,
    envoy,
    helicone,
    kong,
    litellm,
    ocsf,
    openrouter,
    otel,
    portkey,
    sglang,
    vertex,
)
from detector.formats.layout import NOTES, Format, Refused, event_of

AUTO: Final = "auto"
CANONICAL: Final = "canonical"
BATCH_BYTES_MAX: Final = 1 << 23
LOOK_LINES: Final = 50
KEYS_SHOWN: Final = 6

# In the order in which `auto` asks them: what is told by a mark of its own comes first.
FORMATS: Final[dict[str, Format]] = {
    form.name: form
    for form in (
        openrouter.FORMAT,
        otel.FORMAT,
        ocsf.FORMAT,
        bedrock.FORMAT,
        azure.FORMAT,
        sglang.FORMAT,
        vertex.FORMAT,
        kong.FORMAT,
        envoy.FORMAT,
        litellm.FORMAT,
        helicone.FORMAT,
        portkey.FORMAT,
        cloudflare.FORMAT,
    )
}
_OURS_MIN: Final = 2
_NOTES: Final = NOTES.encode()
_REQUIRED: Final = ("event_id", "event_time", "account_id", "request_model")


class Converted(NamedTuple):
    """A block of foreign lines as access.v1 JSON lines.

    `lines` (int64) has, for each line of `data`, the line of the block that it came from; `rejects` have such
    lines as positions; `passed` counts lines that hold no model call.
    """

    data: bytes
    lines: npt.NDArray[np.int64]
    rejects: list[Reject]
    passed: int


def _parsed(line: bytes, *, size_max: int) -> tuple[Any, str]:
    """A line's JSON value, and the reason where it has none."""
    if len(line) > size_max:
        return None, "too_large"
    try:
        return orjson.loads(line), ""
    except orjson.JSONDecodeError as wrong:
        said = str(wrong)
        if "depth limit" in said or "recursion" in said:
            return None, "too_deep"
        return None, "bad_encoding" if "UTF-8" in said or "surrogate" in said else "not_json"


def convert(data: bytes, *, form: Format) -> Converted:
    """Convert a block of lines; blank lines are passed over without being counted.

    >>> line = b'{"event":"request.finished","rid":"r1","timestamp":1781467894567,"stillwatch":{"account_id":"a"}}'
    >>> convert(line, form=FORMATS["sglang"]).data.count(b'"account_id":"a"')
    1
    >>> convert(b'{"event_id":"e"}', form=FORMATS["sglang"]).rejects[0].reason
    'unknown_schema'
    """
    events: list[bytes] = []
    lines: list[int] = []
    rejects: list[Reject] = []
    passed = 0
    size_max = BATCH_BYTES_MAX if form.batched else RECORD_BYTES_MAX
    for number, line in enumerate(data.split(b"\n")):
        if not line.strip():
            continue
        value, reason = _parsed(line, size_max=size_max)
        if not reason and not form.looks(value):
            reason = "unknown_schema" if type(value) in (dict, list) else "not_object"
        if reason:
            rejects.append(Reject(reason, number))
            continue
        found, noted = False, _NOTES in line
        for record in form.calls(value):
            found = True
            event = event_of(record, form=form, noted=noted) if type(record) is dict else Refused("not_object", None)
            if isinstance(event, Refused):
                rejects.append(Reject(event.reason, number, field=event.field))
            else:
                events.append(orjson.dumps(event))
                lines.append(number)
        passed += not found
    return Converted(b"\n".join(events), np.array(lines, np.int64), rejects, passed)


def format_of(value: Any) -> str | None:
    """The name of the format that a JSON value looks like; None where it looks like none.

    >>> format_of({"event_id": "e", "account_id": "a"}), format_of({"resourceSpans": []}), format_of({"a": 1})
    ('canonical', 'otel', None)
    """
    if type(value) is dict and (
        value.get("schema_version") is not None or sum(name in value for name in _REQUIRED) >= _OURS_MIN
    ):
        return CANONICAL
    for form in FORMATS.values():
        if form.looks(value):
            return form.name
    return None


class Look(NamedTuple):
    """What the first lines of an input are: how many of each format, and keys of the objects that are in none."""

    formats: Counter[str]
    keys: tuple[str, ...]


def look(lines: Sequence[bytes]) -> Look:
    """Look at the first lines of an input.

    >>> look([b'{"rid": "r", "event": "request.finished"}', b"damaged", b'{"a": 1}'])
    Look(formats=Counter({'sglang': 1}), keys=('a',))
    """
    formats: Counter[str] = Counter()
    partly = 0
    keys: dict[str, None] = {}
    for line in lines:
        value, reason = _parsed(line, size_max=BATCH_BYTES_MAX)
        name = None if reason else format_of(value)
        if name is not None:
            formats[name] += 1
        elif type(value) is dict:
            partly += any(key in SCHEMA.names for key in value)
            keys |= dict.fromkeys(key[:40] for key in value)
    # An object with some of our fields is one of ours that lacks others, if nothing else is there.
    if partly and not formats:
        formats[CANONICAL] = partly
    return Look(formats, tuple(keys)[:KEYS_SHOWN])


def batches(head: bytes) -> bool:
    """Whether an input that begins so may hold batches of calls in one line, which may be long."""
    start = head.lstrip()[:4096]
    return start[:1] == b"[" or any(mark in start for mark in (b'"resourceSpans"', b'"resourceLogs"', b'"records"'))


__all__ = [
    "AUTO",
    "BATCH_BYTES_MAX",
    "CANONICAL",
    "FORMATS",
    "LOOK_LINES",
    "Converted",
    "Format",
    "Look",
    "batches",
    "convert",
    "format_of",
    "look",
]
