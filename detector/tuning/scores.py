"""What the decisions of a run did to each request of its log.

Purpose: turn a decision log into step functions of time, one per (tenant, scope, value),
and look every event up in them.
Invariants: a request falls under a decision when one of its own attributes equals the
decision's scope and value while `effective_at <= t < expires_at`. Of one key the record
with the highest `seq` whose `effective_at` has come governs, also when it is a revocation
or has itself run out; of several keys the strictest counts. Shadow decisions count as if
enforced. A decision for named models touches requests for those models only.
Limits: times below 2**43 ms (year 2248) and at most 2**20 keys per scope.
Source: the decision's rules are the record contract's, `decision.v1`.
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.records import ACTIONS, Decision

Levels = npt.NDArray[np.int8]
I64 = npt.NDArray[np.int64]

# 0 is "under no decision"; then the ladder, mildest first.
LEVELS = {action: level for level, action in enumerate(ACTIONS, start=1)}
SLOWS = LEVELS["throttle"]
CONTAINS = LEVELS["challenge"]

STRING_COLUMNS = {
    "account": "account_id",
    "api_key": "api_key_id",
    "org": "org_id",
    "end_user": "end_user_id",
    "payment_fp": "payment_fp",
    "device_fp": "device_fp",
    "system_prompt_fp": "system_prompt_fp",
    "template_fp": "template_fp",
    "ja4": "ja4",
}
SCOPE_COLUMNS = {**STRING_COLUMNS, "subnet": "client_ip", "anchor_fp": "anchor_fps"}

_TIME_BITS = 43
_SEPARATOR = "\x1f"


class Timeline(NamedTuple):
    """One scope's decisions: steps sorted by (key, time); a step holds until its key's next one."""

    keys: pa.StringArray  # distinct tenant + separator + value
    steps: I64  # key index << 43 | time in ms
    levels: Levels  # one per step
    models: npt.NDArray[np.int32]  # one per step: index into `model_sets`
    model_sets: tuple[tuple[str, ...], ...]  # entry 0 is every model


def _steps_of(records: list[Decision]) -> list[tuple[int, int, tuple[str, ...]]]:
    """The step function of one key: (time_ms, level, models), in time order."""
    steps: list[tuple[int, int, tuple[str, ...]]] = []
    ordered = sorted(records, key=lambda r: (r.effective_at, r.seq))
    governing = -1
    changes: list[Decision] = []
    for record in ordered:
        if record.seq > governing:
            governing = record.seq
            changes.append(record)
    for at, record in enumerate(changes):
        until = changes[at + 1].effective_at if at + 1 < len(changes) else 1 << (_TIME_BITS - 1)
        start = record.effective_at
        active = record.state == "active" and start < record.expires_at
        steps.append((start, LEVELS[record.action] if active else 0, tuple(sorted(record.models))))
        if active and record.expires_at < until:
            steps.append((record.expires_at, 0, ("*",)))
    return steps


def timelines(decisions: Iterable[Decision]) -> dict[str, Timeline]:
    """Build one `Timeline` per scope that occurs. Order of the input does not matter.

    Raises `ValueError` for a scope that no event attribute carries.
    """
    by_scope: dict[str, dict[str, list[Decision]]] = {}
    for decision in decisions:
        if decision.scope not in SCOPE_COLUMNS:
            raise ValueError(f"decision {decision.decision_id}: no event attribute carries scope {decision.scope!r}")
        keys = by_scope.setdefault(decision.scope, {})
        keys.setdefault(decision.tenant + _SEPARATOR + decision.value, []).append(decision)
    return {scope: _timeline(by_scope[scope]) for scope in sorted(by_scope)}


def _timeline(by_key: dict[str, list[Decision]]) -> Timeline:
    keys = sorted(by_key)
    everything = ("*",)
    sets: dict[tuple[str, ...], int] = {everything: 0}
    steps, levels, models = [], [], []
    for index, key in enumerate(keys):
        for time_ms, level, names in _steps_of(by_key[key]):
            chosen = everything if "*" in names else names
            steps.append((index << _TIME_BITS) | time_ms)
            levels.append(level)
            models.append(sets.setdefault(chosen, len(sets)))
    return Timeline(
        keys=pa.array(keys, pa.string()),
        steps=np.asarray(steps, np.int64),
        levels=np.asarray(levels, np.int8),
        models=np.asarray(models, np.int32),
        model_sets=tuple(sets),
    )


def _lookup(timeline: Timeline, *, keys: pa.Array, time_ms: I64, model: pa.Array) -> Levels:
    """Level of each row: `keys` are tenant + separator + value, null where the attribute is absent."""
    found = pc.index_in(keys, value_set=timeline.keys)
    rows = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    out = np.zeros(len(keys), np.int8)
    if rows.size == 0:
        return out
    key = found.take(pa.array(rows)).to_numpy(zero_copy_only=False).astype(np.int64)
    at = np.searchsorted(timeline.steps, (key << _TIME_BITS) | time_ms[rows], side="right") - 1
    same_key = (at >= 0) & ((timeline.steps[at] >> _TIME_BITS) == key)
    level = np.where(same_key, timeline.levels[at], 0).astype(np.int8)
    limited = np.where(same_key, timeline.models[at], 0)
    for index in np.unique(limited[limited > 0]):
        names = pa.array(timeline.model_sets[index], pa.string())
        asked = pc.is_in(model.take(pa.array(rows)), value_set=names).to_numpy(zero_copy_only=False)
        level[(limited == index) & ~asked] = 0
    out[rows] = level
    return out


def _keyed(tenant: pa.Array, values: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(tenant, values, _SEPARATOR)


def _network(address: str, *, version: int, bits: int) -> str | None:
    """The network of `bits` bits that holds the address or prefix; None when it does not lie in one."""
    try:
        network = ipaddress.ip_network(address, strict=False)
    except ValueError:
        return None
    if network.version != version or network.prefixlen < bits:
        return None
    return str(network.supernet(new_prefix=bits))


def _subnet_levels(timeline: Timeline, *, batch: pa.RecordBatch, tenant: pa.Array, time_ms: I64) -> Levels:
    shapes = set()
    for key in timeline.keys.to_pylist():
        network = ipaddress.ip_network(key.split(_SEPARATOR, 1)[1], strict=False)
        shapes.add((network.version, network.prefixlen))
    coded = batch.column("client_ip").dictionary_encode()
    distinct = coded.dictionary.to_pylist()
    out = np.zeros(batch.num_rows, np.int8)
    for version, bits in sorted(shapes):
        networks = pa.array([_network(a, version=version, bits=bits) for a in distinct], pa.string())
        keys = _keyed(tenant, networks.take(coded.indices))
        level = _lookup(timeline, keys=keys, time_ms=time_ms, model=batch.column("request_model"))
        np.maximum(out, level, out=out)
    return out


def _anchor_levels(timeline: Timeline, *, batch: pa.RecordBatch, tenant: pa.Array, time_ms: I64) -> Levels:
    column = batch.column("anchor_fps")
    parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    wanted = {int(key.split(_SEPARATOR, 1)[1], 16) for key in timeline.keys.to_pylist()}
    flat = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    hits = np.flatnonzero(np.isin(flat, np.fromiter(wanted, np.uint64, len(wanted))))
    out = np.zeros(batch.num_rows, np.int8)
    if hits.size == 0:
        return out
    rows = parents[hits]
    values = pa.array([f"{value:016x}" for value in flat[hits].tolist()], pa.string())
    taken = pa.array(rows)
    level = _lookup(
        timeline,
        keys=_keyed(tenant.take(taken), values),
        time_ms=time_ms[rows],
        model=batch.column("request_model").take(taken),
    )
    np.maximum.at(out, rows, level)
    return out


def levels_of(batch: pa.RecordBatch, *, by_scope: dict[str, Timeline]) -> Levels:
    """The strictest level that each request of the batch falls under: int8, 0 none ... 4 block (`LEVELS`).

    `batch` needs `event_time`, `request_model`, `tenant` and the columns of the scopes in use.
    """
    time_ms = batch.column("event_time").cast(pa.int64()).to_numpy(zero_copy_only=False)
    tenant = batch.column("tenant").fill_null("default")
    out = np.zeros(batch.num_rows, np.int8)
    for scope in sorted(by_scope):
        timeline = by_scope[scope]
        if scope == "subnet":
            level = _subnet_levels(timeline, batch=batch, tenant=tenant, time_ms=time_ms)
        elif scope == "anchor_fp":
            level = _anchor_levels(timeline, batch=batch, tenant=tenant, time_ms=time_ms)
        else:
            keys = _keyed(tenant, batch.column(STRING_COLUMNS[scope]))
            level = _lookup(timeline, keys=keys, time_ms=time_ms, model=batch.column("request_model"))
        np.maximum(out, level, out=out)
    return out


def targets(decisions: Iterable[Decision]) -> set[tuple[str, str | None]]:
    """The accounts that an account decision challenged or blocked at any time: (account, campaign id)."""
    out = set()
    for decision in decisions:
        strict = LEVELS[decision.action] >= CONTAINS and decision.state == "active"
        if decision.scope == "account" and strict and decision.effective_at < decision.expires_at:
            out.add((decision.value, decision.campaign_id))
    return out
