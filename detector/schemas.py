"""JSON Schemas of the records, made from the structs and the table of fields.

Purpose: `schemas/` holds for other programs what the code says; a test keeps the
two equal. Each schema describes the wire form, in which times are text.
Invariants: equal structs give equal schemas; keys of objects are sorted where the files
are written, so a change of a struct is a readable change of its file.
Limits: what depends on two fields at once (which field a command needs) or on the time of
arrival is not in a schema; `detector.operators.missing_fields` and `detector.decode` know.
Source: JSON Schema 2020-12; the translation of types is msgspec's.
"""

import inspect
from typing import Any, NamedTuple

import msgspec
import orjson
import pyarrow as pa
from msgspec import Struct

from detector.events import (
    ELICITATION,
    ELICITATION_KINDS,
    EVENT_ID_BYTES_MAX,
    FIELDS,
    FINGERPRINTS,
    IDENTIFIER_BYTES_MAX,
    LIST_ITEMS_MAX,
    SCHEMA_VERSION,
    Field,
)
from detector.operators import AllowEntry, Command, Control, Indicator, Label
from detector.records import TIME_FIELDS, Alert, Decision, Member, Reject

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WRITTEN_TIME = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
READ_TIME = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}]}
EVENT_TIMES = ("event_time", "account_created_at")
# The contract requires these keys and lets their values be null.
NULLABLE_KEYS = ("input_tokens", "output_tokens")


class Published(NamedTuple):
    """One file of `schemas/`: its struct, and how its times look on the wire."""

    kind: type[Struct]
    time: dict[str, Any]


PUBLISHED: dict[str, Published] = {
    "alert.v1": Published(Alert, WRITTEN_TIME),
    "decision.v1": Published(Decision, WRITTEN_TIME),
    "member": Published(Member, WRITTEN_TIME),
    "reject": Published(Reject, WRITTEN_TIME),
    "allow": Published(AllowEntry, READ_TIME),
    "command": Published(Command, READ_TIME),
    "control": Published(Control, READ_TIME),
    "label": Published(Label, READ_TIME),
    "indicator": Published(Indicator, READ_TIME),
}


NAMES = (SCHEMA_VERSION, *PUBLISHED)


def _timed(schema: dict[str, Any], *, time: dict[str, Any]) -> dict[str, Any]:
    """Put the wire form of times into one struct's schema, and its docstring into one shape."""
    properties = {}
    for name, found in schema.get("properties", {}).items():
        if name not in TIME_FIELDS:
            properties[name] = found
        elif "default" in found:
            properties[name] = {"anyOf": [time, {"type": "null"}], "default": None}
        else:
            properties[name] = time
    return {**schema, "description": inspect.cleandoc(schema["description"]), "properties": properties}


def schema(name: str) -> dict[str, Any]:
    """Make the JSON Schema of one record of `PUBLISHED`. Raises `KeyError` for another name.

    >>> schema("label")["required"]
    ['alert_id', 'verdict', 'by', 'at']
    """
    published = PUBLISHED[name]
    [root], components = msgspec.json.schema_components([published.kind], ref_template="#/$defs/{name}")
    parts = {part: _timed(found, time=published.time) for part, found in components.items()}
    whole = parts.pop(root["$ref"].rpartition("/")[2])
    head = {"$schema": DIALECT, "$id": f"urn:stillwatch:schema:{name}"}
    return {**head, **whole, **({"$defs": parts} if parts else {})}


def _event_value(field: Field) -> dict[str, Any]:
    """Translate one field of the access event: its type and its bound on length."""
    if field.name in EVENT_TIMES:
        return READ_TIME
    if field.type == FINGERPRINTS:
        return {"type": "array", "items": {"type": "string"}, "maxItems": LIST_ITEMS_MAX}
    if field.type == ELICITATION:
        score = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
        return {"type": "object", "properties": dict.fromkeys(ELICITATION_KINDS, score)}
    if field.type == pa.string():
        return {"type": "string", "maxLength": EVENT_ID_BYTES_MAX if field.name == "event_id" else IDENTIFIER_BYTES_MAX}
    return {"type": {pa.int64(): "integer", pa.float64(): "number", pa.bool_(): "boolean"}[field.type]}


def access_schema() -> dict[str, Any]:
    """Make the JSON Schema of `access.v1`; lengths are in bytes there, so long text beyond ASCII is refused earlier.

    >>> access_schema()["required"][:2]
    ['event_id', 'event_time']
    """
    properties: dict[str, Any] = {"schema_version": {"enum": [SCHEMA_VERSION, None]}}
    for field in FIELDS:
        value = _event_value(field)
        properties[field.name] = value if field.required else {"anyOf": [value, {"type": "null"}]}
    return {
        "$schema": DIALECT,
        "$id": f"urn:stillwatch:schema:{SCHEMA_VERSION}",
        "title": "AccessEvent",
        "type": "object",
        "properties": properties,
        "required": [field.name for field in FIELDS if field.required or field.name in NULLABLE_KEYS],
    }


def schema_text(name: str) -> str:
    """Write one schema as `schemas/<name>.json` holds it."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(access_schema() if name == SCHEMA_VERSION else schema(name), option=options).decode()
