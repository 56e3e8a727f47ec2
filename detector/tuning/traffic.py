"""Traffic of a campaign: what its members' events have in common, held against everybody else's.

Purpose: `traffic` walks a log and counts what no alert carries: models, networks, programs, tiers, what was asked
for. A dossier tells its pathway by it, and shared indicators are chosen by it.
Invariants: attributes carry the names and digests that the judge gives them, by the same encoding. Nothing of the
result names an account, or an attribute that fewer than `ACCOUNTS_MIN` members show.
Limits: the log is walked once, everybody's pairs of account and attribute are held. Countries are left out: nothing
here may tell a nationality.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.encode import DEFAULT_TENANT, encode
from detector.events import ELICITATION_KINDS, EventBatch
from detector.frames import ID
from detector.runtime.feed import with_fingerprints
from detector.runtime.sources import decode_block, open_input

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

ACCOUNTS_MIN = 3
ELICITED_MIN = 0.5
DAY_MS = 86_400_000
YOUNG_MS = 7 * DAY_MS
# What is told of accounts that are not customers' own: kind of link -> its column.
TOLD = {"program": ID.PROGRAM, "ja4": ID.JA4, "subnet": ID.SUBNET}
_SHARES = ("stream", "structured_output", "logprobs_requested")


class Attribute(NamedTuple):
    """A shared attribute, by how many members show it and by how many others."""

    kind: str
    value: str
    accounts: int
    requests: int
    other_accounts: int


class Traffic(NamedTuple):
    """What the members of a campaign did in a log."""

    accounts: int
    others: int
    requests: int
    first_ms: int
    last_ms: int
    models: dict[str, int]  # requests
    networks: dict[str, int]  # requests, by type of address
    tiers: dict[str, int]  # accounts
    asns: int
    subnets: int
    payments: int
    email_domains: int
    young: int  # accounts less than seven days old at their first request
    age_known: int
    asked: dict[str, int]  # requests that asked for something of the kind
    attributes: list[Attribute]  # most accounts first


def walk(inputs: Iterable[str], *, key: bytes) -> Iterable[EventBatch]:
    """The events of logs, raw text fingerprinted and dropped. Raises `InputError`."""
    for name in inputs:
        for block in open_input(name):
            decoded = decode_block(block)
            held = decoded.content
            yield decoded.batch if held is None else with_fingerprints(decoded.batch, held, key=key)


def traffic(events: Iterable[EventBatch], *, tenant: str, members: set[str], key: bytes) -> Traffic:
    """Count what `members` (accounts of `tenant`) did, and who else shows what they share."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("models", "networks", "tiers", "asked")}
    distinct: dict[str, set[Any]] = {name: set() for name in ("asns", "subnets", "payments", "domains")}
    seen: dict[str, tuple[int, bool | None]] = {}  # account -> first request, young
    pairs = _Pairs()
    names: dict[int, str] = {}
    others: set[str] = set()
    requests, last_ms = 0, 0
    for batch in events:
        here = batch.filter(pc.equal(batch.column("tenant").fill_null(DEFAULT_TENANT), tenant))
        if not len(here):
            continue
        mine = pc.is_in(here.column("account_id"), value_set=pa.array(sorted(members), pa.string()))
        pairs.add(here, mine.to_numpy(zero_copy_only=False), key, names)
        others |= set(here.column("account_id").filter(pc.invert(mine)).unique().to_pylist())
        some = here.filter(mine)
        if not len(some):
            continue
        requests += len(some)
        last_ms = max(last_ms, pc.max(some.column("event_time")).as_py())
        _count(some, counts, distinct, seen)
    return Traffic(
        accounts=len(seen),
        others=len(others),
        requests=requests,
        first_ms=min((first for first, _ in seen.values()), default=0),
        last_ms=last_ms,
        models=_sorted(counts["models"]),
        networks=_sorted(counts["networks"]),
        tiers=_sorted(counts["tiers"]),
        asns=len(distinct["asns"]),
        subnets=pairs.values(ID.SUBNET),
        payments=len(distinct["payments"]),
        email_domains=len(distinct["domains"]),
        young=sum(1 for _, young in seen.values() if young),
        age_known=sum(1 for _, young in seen.values() if young is not None),
        asked=_sorted(counts["asked"]),
        attributes=pairs.shared(names),
    )


def _sorted(counter: Counter[str]) -> dict[str, int]:
    """By number, ties by name."""
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _count(
    some: EventBatch,
    counts: dict[str, Counter[str]],
    distinct: dict[str, set[Any]],
    seen: dict[str, tuple[int, bool | None]],
) -> None:
    """Add the members' rows of one batch."""
    for name, field in (("models", "request_model"), ("networks", "ip_type")):
        said = pc.value_counts(some.column(field).drop_null()).to_pylist()
        counts[name].update({row["values"]: row["counts"] for row in said})
    for name, field in (("asns", "asn"), ("payments", "payment_fp"), ("domains", "signup_email_domain_fp")):
        distinct[name] |= set(some.column(field).drop_null().unique().to_pylist())
    asked = counts["asked"]
    for field in _SHARES:
        asked[field] += int(pc.sum(some.column(field)).as_py() or 0)
    asked["tools"] += int(pc.sum(pc.greater(some.column("tool_count"), 0)).as_py() or 0)
    scores = some.column("elicitation")
    for at, kind in enumerate(ELICITATION_KINDS):
        found = pc.sum(pc.greater_equal(scores.field(at).fill_null(0.0), ELICITED_MIN)).as_py()
        asked[kind] += int(found or 0)
    first = pa.table([some.column(n) for n in ("account_id", "account_tier", "event_time", "account_created_at")],
                     names=["account", "tier", "at", "created"])  # fmt: skip
    for row in first.group_by(["account", "tier", "created"]).aggregate([("at", "min")]).to_pylist():
        if row["account"] not in seen:
            counts["tiers"][row["tier"] or "unknown"] += 1
        young = None if row["created"] is None else row["at_min"] - row["created"] < YOUNG_MS
        held = seen.get(row["account"])
        seen[row["account"]] = (row["at_min"], young) if held is None or row["at_min"] < held[0] else held


class _Pairs:
    """Distinct (column, digest, account) with their requests, of members and of others."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, bool], tuple[U64, I64]] = {}

    def add(self, batch: EventBatch, mine: npt.NDArray[np.bool_], key: bytes, names: dict[int, str]) -> None:
        tenant = batch.schema.get_field_index("tenant")
        alone = batch.set_column(tenant, batch.schema.field(tenant), pa.array([DEFAULT_TENANT] * len(batch)))
        (frame,) = encode(alone, positions=np.arange(len(batch)), source="", first=0, stop=len(batch), key=key)
        wanted = np.unique(frame.ids[:, list(TOLD.values())])
        at = np.flatnonzero(np.isin(frame.name_digests, wanted))
        named = frame.names.take(pa.array(at)).to_pylist()
        names.update(zip(frame.name_digests[at].tolist(), named, strict=True))
        for column in TOLD.values():
            for members in (True, False):
                rows = (mine == members) & (frame.ids[:, column] != 0)
                fresh = np.stack([frame.ids[rows, column], frame.ids[rows, ID.ACCOUNT]], axis=1)
                held, counts = self._rows.get((column, members), (np.zeros((0, 2), np.uint64), np.zeros(0, np.int64)))
                whole, inverse = np.unique(np.concatenate([held, fresh]), axis=0, return_inverse=True)
                ones = np.concatenate([counts, np.ones(len(fresh), np.int64)])
                self._rows[column, members] = (whole, np.bincount(inverse.ravel(), ones).astype(np.int64))

    def values(self, column: int) -> int:
        """How many values of a column the members show."""
        rows = self._rows.get((column, True))
        return int(np.unique(rows[0][:, 0]).size) if rows is not None else 0

    def shared(self, names: dict[int, str]) -> list[Attribute]:
        """What enough members show."""
        out = []
        for kind, column in TOLD.items():
            if (column, True) not in self._rows:
                continue
            (mine, requests), (theirs, _) = self._rows[column, True], self._rows[column, False]
            values, first, accounts = np.unique(mine[:, 0], return_index=True, return_counts=True)
            sums = np.add.reduceat(requests, first) if values.size else requests
            for at in np.flatnonzero(accounts >= ACCOUNTS_MIN).tolist():
                others = int((theirs[:, 0] == values[at]).sum())
                name = names[int(values[at])]
                out.append(Attribute(kind, name, int(accounts[at]), int(sums[at]), others))
        return sorted(out, key=lambda a: (-a.accounts, a.kind, a.value))
