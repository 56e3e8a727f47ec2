"""Simulate: what decisions would do to the requests of a log.

Purpose: before decisions are enforced, or a policy is loosened: how many requests each of
them covers, and whose (by tier).
Invariants: the contract's rule of when a request falls under a decision, as scoring has it;
shadow decisions count as if enforced. The answer does not depend on how inputs are cut.
Limits: what the API would have done with slowed requests is not modelled.
Source: `detector.tuning.scores`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.records import Decision, decision_key
from detector.runtime.feed import with_fingerprints
from detector.runtime.sources import decode_block, open_input
from detector.tuning.scores import CONTAINS, SCOPE_COLUMNS, SLOWS, STRING_COLUMNS, levels_of, timelines

BEGINNING_MS, END_MS = 0, (1 << 42) - 1
UNKNOWN_TIER: Final = "unknown"


class Reach(NamedTuple):
    """How many requests something touched, and of those how many it refused or slowed."""

    requests: int
    contained: int
    slowed: int


class Simulation(NamedTuple):
    """Requests of the log: all of them; by the caller's tier; by decision key, each key for itself."""

    total: Reach
    tiers: dict[str, Reach]
    keys: dict[bytes, Reach]


def always(decisions: Iterable[Decision]) -> list[Decision]:
    """The same decisions without their times, to hold them against a log of any time."""
    return [msgspec.structs.replace(d, effective_at=BEGINNING_MS, expires_at=END_MS) for d in decisions]


def _events(inputs: Sequence[str], *, key: bytes) -> Iterator[pa.RecordBatch]:
    for name in inputs:
        for block in open_input(name):
            decoded = decode_block(block)
            batch = decoded.batch
            yield with_fingerprints(batch, decoded.content, key=key) if decoded.content is not None else batch


def _reach(count: Counter[str]) -> Reach:
    return Reach(count["requests"], count["contained"], count["slowed"])


def _add(count: Counter[str], levels: np.ndarray[tuple[int], np.dtype[np.int8]], *, requests: int) -> None:
    contained = int((levels >= CONTAINS).sum())
    count.update(requests=requests, contained=contained, slowed=int((levels >= SLOWS).sum()) - contained)


def simulate(decisions: Sequence[Decision], inputs: Sequence[str], *, key: bytes) -> Simulation:
    """Hold decisions against the events of `inputs`. Raises `InputError` where one cannot be read."""
    by_key: dict[bytes, list[Decision]] = {}
    for decision in decisions:
        named = decision_key(tenant=decision.tenant, scope=decision.scope, value=decision.value)
        by_key.setdefault(named, []).append(decision)
    whole = timelines(decisions)
    # Subnets and anchors are few: off by default. A key of a plain column is counted by its rows.
    alone = {k: timelines(ds) for k, ds in by_key.items() if ds[0].scope not in STRING_COLUMNS}
    total: Counter[str] = Counter()
    tiers: dict[str, Counter[str]] = {}
    keys: dict[bytes, Counter[str]] = {named: Counter() for named in sorted(by_key)}
    for batch in _events(inputs, key=key):
        levels = levels_of(batch, by_scope=whole)
        _add(total, levels, requests=len(batch))
        tier = batch.column("account_tier").fill_null(UNKNOWN_TIER)
        for name in tier.unique().to_pylist():
            rows = pc.equal(tier, name).to_numpy(zero_copy_only=False)
            _add(tiers.setdefault(name, Counter()), levels[rows], requests=int(rows.sum()))
        for scope in sorted(set(whole) & set(STRING_COLUMNS)):
            _count_keys(keys, batch, levels_of(batch, by_scope={scope: whole[scope]}), scope=scope)
        for named, timeline in alone.items():
            under = levels_of(batch, by_scope=timeline)
            _add(keys[named], under, requests=int((under > 0).sum()))
    return Simulation(
        _reach(total),
        {name: _reach(count) for name, count in sorted(tiers.items())},
        {named: _reach(count) for named, count in keys.items()},
    )


def _count_keys(
    keys: dict[bytes, Counter[str]],
    batch: pa.RecordBatch,
    levels: np.ndarray[tuple[int], np.dtype[np.int8]],
    *,
    scope: str,
) -> None:
    """Count the rows under each key of one scope whose attribute is a plain column."""
    under = np.flatnonzero(levels)
    rows = pa.array(under)
    tenants = batch.column("tenant").fill_null("default").take(rows).to_pylist()
    values = batch.column(SCOPE_COLUMNS[scope]).take(rows).to_pylist()
    for tenant, value, level in zip(tenants, values, levels[under].tolist(), strict=True):
        named = decision_key(tenant=tenant, scope=scope, value=value)
        keys[named].update(requests=1, contained=int(level >= CONTAINS), slowed=int(SLOWS <= level < CONTAINS))
