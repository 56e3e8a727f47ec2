"""Lookup: one account or one event in the inputs of a run, read again.

Purpose: what a run keeps no record of: an account that no campaign holds, an event's own
attributes.
Invariants: attributes carry the names that alerts give them, by the same encoding.
Limits: the inputs are read whole, at the speed of one decoder; standard input is gone. For
raw logs, and for anchors and runs, the run's key is needed.
Source: `encode`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.encode import DEFAULT_TENANT, encode
from detector.fingerprint import Content
from detector.formats import AUTO
from detector.frames import IDS, LINKS_FIRST, Frame
from detector.link_columns import KIND_OF_COLUMN, KINDS
from detector.runtime.feed import with_fingerprints
from detector.runtime.sources import STANDARD_INPUT, decode_block, open_input

Link = tuple[str, str]  # kind and value, as alerts name them


class Found(NamedTuple):
    """One event: its fields, where it stands, its link attributes."""

    event: dict[str, Any]
    place: str
    links: tuple[Link, ...]


class Seen(NamedTuple):
    """What the inputs hold of one account."""

    tenants: tuple[str, ...]
    requests: int
    first_ms: int
    last_ms: int
    output_tokens: int
    models: tuple[str, ...]
    links: Counter[Link]  # its requests that carry each attribute


def _links_of(frame: Frame) -> list[tuple[Link, ...]]:
    """Each row's link attributes by name; an attribute without one goes by its digest."""
    digests = frame.ids[:, LINKS_FIRST:IDS]
    at = np.minimum(np.searchsorted(frame.name_digests, digests), max(frame.name_digests.size - 1, 0))
    named = frame.name_digests.size > 0
    rows = []
    for row in range(len(digests)):
        links = []
        for column, digest in enumerate(digests[row].tolist()):
            if digest:
                i = int(at[row, column])
                known = named and int(frame.name_digests[i]) == digest
                value = str(frame.names[i].as_py()) if known else f"{digest:016x}"
                links.append((KINDS[int(KIND_OF_COLUMN[column])], value))
        rows.append(tuple(dict.fromkeys(links)))
    return rows


def find(inputs: list[str], *, field: str, value: str, key: bytes, form: str = AUTO) -> Iterator[Found]:
    """Find the events whose `field` equals `value`, in order of the inputs. Raises `InputError`."""
    for name in inputs:
        if name == STANDARD_INPUT:
            continue
        for block in open_input(name, form=form):
            decoded = decode_block(block)
            keep = pc.fill_null(pc.equal(decoded.batch.column(field), value), False)
            rows = int(pc.sum(keep).as_py() or 0)
            if not rows:
                continue
            batch = decoded.batch.filter(keep)
            if decoded.content is not None:
                content = Content(*(column.filter(keep) for column in decoded.content))
                batch = with_fingerprints(batch, content, key=key)
            # One tenant, so that all rows come back in one frame.
            tenant = batch.schema.get_field_index("tenant")
            alone = batch.set_column(
                tenant, "tenant", pa.array([DEFAULT_TENANT] * rows, batch.schema.field(tenant).type)
            )
            (frame,) = encode(alone, positions=np.arange(rows), source=name, first=0, stop=rows, key=key)
            positions = decoded.positions[keep.to_numpy(zero_copy_only=False)].tolist()
            for event, position, links in zip(batch.to_pylist(), positions, _links_of(frame), strict=True):
                yield Found(event, f"{name}:{position}", links)


def account(inputs: list[str], account_id: str, *, key: bytes, until_ms: int | None, form: str = AUTO) -> Seen | None:
    """Gather what the inputs hold of an account up to a time; None where they do not know it."""
    links: Counter[Link] = Counter()
    times: list[int] = []
    tenants, models, output_tokens = set(), set(), 0
    for found in find(inputs, field="account_id", value=account_id, key=key, form=form):
        event = found.event
        if until_ms is not None and event["event_time"] > until_ms:
            continue
        times.append(event["event_time"])
        tenants.add(event["tenant"] or DEFAULT_TENANT)
        models.add(event["request_model"])
        output_tokens += event["output_tokens"] or 0
        links.update(found.links)
    if not times:
        return None
    return Seen(
        tenants=tuple(sorted(tenants)),
        requests=len(times),
        first_ms=min(times),
        last_ms=max(times),
        output_tokens=output_tokens,
        models=tuple(sorted(models)),
        links=links,
    )
