"""Foreign records through the reader, as replay reads them: rows, text, rejects; and records bent out of shape.

Every format's test has a full record, built from the vendor's documented names and shapes, and uses the same
two checks: what that record becomes, field by field, and that nothing whatever in its place raises.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import jsonschema_rs
import orjson
from hypothesis import strategies as st

from detector.decode import REASONS
from detector.formats import FORMATS, convert
from detector.runtime.sources import Block, decode_block
from tests.conftest import ROOT

VALID = jsonschema_rs.validator_for(orjson.loads((ROOT / "schemas" / "access.v1.json").read_bytes()))
SECRET = "sk-very-secret-0123456789"  # noqa: S105 - made up
WHEN = "2026-06-14T20:11:34.567Z"
WHEN_MS = 1_781_467_894_567

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(("x" * 600, "9" * 5000, "-", "{", '{"a": [1]}', "[[", "\U0001f600", WHEN, "1e999")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


class Read(NamedTuple):
    """What became of lines: rows without their empty fields, text, rejects as (reason, field), lines passed over."""

    rows: list[dict[str, Any]]
    text: list[dict[str, str]]
    rejects: list[tuple[str, str | None]]
    passed: int


def line(record: object) -> bytes:
    """A record as a line; numbers beyond 64 bits too."""
    return json.dumps(record).encode()


def read(*records: object, form: str) -> Read:
    """Read records (bytes: as they are) as lines of a format."""
    data = b"\n".join(record if isinstance(record, bytes) else line(record) for record in records)
    decoded = decode_block(Block("log", 1, data, None, form=form))
    rows = [{k: v for k, v in row.items() if v is not None} for row in decoded.batch.to_pylist()]
    text = []
    if decoded.content is not None:
        parts = (column.to_pylist() for column in decoded.content)
        text = [
            {k: v for k, v in zip(decoded.content._fields, row, strict=True) if v} for row in zip(*parts, strict=True)
        ]
    return Read(rows, text, [(r.reason, r.field) for r in decoded.rejects], decoded.passed)


def row(record: object, *, form: str) -> dict[str, Any]:
    """The one row of a record, without the tenant that the decoder adds."""
    found = read(record, form=form)
    assert found.rejects == []
    (only,) = found.rows
    assert only.pop("tenant") == "default"
    return only


def without(record: dict[str, Any], *path: str | int) -> dict[str, Any]:
    """A copy of a record without one part."""
    return changed(record, path, remove=True)


def changed(record: Any, path: tuple[str | int, ...], value: object = None, *, remove: bool = False) -> Any:
    """A copy of a record with another value at a path."""
    made = copy.deepcopy(record)
    place = made
    for key in path[:-1]:
        place = place[key]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return made


def places(record: object, *, under: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value in a record."""
    inside = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in inside:
        yield (*under, key)
        yield from places(value, under=(*under, key))


@st.composite
def bent(draw: st.DrawFn, record: Any) -> Any:
    """A record with up to three of its values replaced by anything, or gone."""
    for _ in range(draw(st.integers(1, 3))):
        known = list(places(record))
        if known:
            path = draw(st.sampled_from(known))
            record = changed(record, path, draw(JSON), remove=isinstance(path[-1], str) and draw(st.booleans()))
    return record


def holds(record: object, *, form: str) -> None:
    """Check that a record gives valid access.v1 or rejects with the contract's reasons, and nothing secret."""
    raw = line(record)
    made = convert(raw, form=FORMATS[form])
    assert SECRET.encode() not in made.data
    found = read(raw, form=form)
    assert found.rows or found.rejects or found.passed == 1
    assert {reason for reason, _ in found.rejects} <= set(REASONS[1:])
    accepted = {row["event_id"] for row in found.rows}
    for event in map(orjson.loads, made.data.splitlines()):
        if event.get("event_id") in accepted and len(found.rejects) == len(made.rejects):
            VALID.validate(event)
