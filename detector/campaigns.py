"""Campaigns: pools that belong together, their members, and their life.

Purpose: suspicious pools with overlapping members become one campaign; whoever acts
like its core is enumerated as a member, at once.
Invariants: a campaign's id derives from content (its founding link and time). An
account becomes a member after `HITS_MIN` requests that carry a core link and agree
with the core's profile, if they are at least `HIT_SHARE_MIN` of what it does.
Limits: `MEMBERS_MAX` accounts are followed per campaign, `CORE_MAX` links make its
core; members leave with the campaign.
Source: two-stage membership with veto: containing whoever carries a suspicious link
cost 1,000 ppm of innocents in trials, the profile brought it to zero.
"""

from typing import Any

import msgspec
import numba
import numpy as np
import numpy.typing as npt

from detector import hashing
from detector.accounts import A, AccountTable
from detector.frames import ID, NUM, Flag
from detector.links import L, LinkTable, P
from detector.records import Evidence, Verdict

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

MEMBERS_MAX = 200_000
CORE_MAX = 64
HITS_MIN = 2
HIT_SHARE_MIN = 0.1
# Pools whose sampled members agree this much are the same accounts.
OVERLAP_MIN = 0.6
# An attribute that this share of the core has in common vetoes when contradicted.
VETO_SHARE = 0.9
PROGRAM_SHARE_MIN = 0.05
_I_ACCOUNT, _I_PROGRAM = int(ID.ACCOUNT), int(ID.PROGRAM)
_POOL, _P_CAMPAIGN = int(L.POOL), int(P.CAMPAIGN)


class Follower(msgspec.Struct):
    """An account seen with a campaign's core: `joined_ms` is -1 until it is a member."""

    hits: int
    first_ms: int
    last_ms: int
    joined_ms: int
    name: str


class Campaign(msgspec.Struct):
    """One campaign and everything that its alert says."""

    number: int
    id: str
    opened_ms: int
    first_ms: int
    core: dict[int, tuple[str, str]]  # link key -> (kind, value)
    programs: list[int]
    single_turn: bool
    no_tools: bool
    requests: int
    output_tokens: int
    reasoning_tokens: int
    cost_micro_usd: int
    last_ms: int
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    signature_ids: tuple[str, ...]
    contains: bool
    followers: dict[int, Follower] = {}
    members: int = 0
    revision: int = 0
    alerted_ms: int = 0
    alerted_requests: int = 0
    severity: str = ""
    closed: str = ""
    samples: list[tuple[str, int, str]] = []


def campaign_id(tenant: str, link_key: int, opened_ms: int) -> str:
    """Derive a stable id from the founding link and the time of opening."""
    return f"c-{hashing.content_digest(f'{tenant}/{link_key:016x}/{opened_ms}'.encode())}"


@numba.njit(cache=True)
def match(rows, stats, pools, out):  # type: ignore[no-untyped-def]
    """Write to `out` (int64) the campaign number that most of each row's links belong to, 0 for none; count hits."""
    hits = 0
    for i in range(rows.shape[0]):
        best = 0
        for j in range(rows.shape[1]):
            r = rows[i, j]
            if r >= 0 and stats[r, _POOL] > 0:
                number = pools[stats[r, _POOL] - 1, _P_CAMPAIGN]
                if number > 0 and (best == 0 or number < best):
                    best = number
        out[i] = best
        hits += best > 0
    return hits


@numba.njit(cache=True)
def shared_text(rows, columns, stats, out):  # type: ignore[no-untyped-def]
    """Say for each row whether one of the given link columns leads to a pool; returns how many do."""
    n = 0
    for i in range(rows.shape[0]):
        out[i] = False
        for j in range(columns.size):
            r = rows[i, columns[j]]
            if r >= 0 and stats[r, _POOL] > 0:
                out[i] = True
                n += 1
                break
    return n


def agrees(campaign: Campaign, ids: U64, numbers: I64) -> npt.NDArray[np.bool_]:
    """Say which rows fit the core's profile: its programs, its single turns, its lack of tools."""
    fits = np.ones(len(ids), np.bool_)
    if campaign.programs:
        fits &= np.isin(ids[:, _I_PROGRAM], np.array(campaign.programs, np.uint64))
    if campaign.single_turn:
        fits &= numbers[:, NUM.TURN] <= 0
    if campaign.no_tools:
        fits &= (numbers[:, NUM.FLAGS] & int(Flag.TOOLS)) == 0
    return fits


def follow(
    campaign: Campaign, ids: U64, numbers: I64, names: list[str], rows: I64, accounts: AccountTable, end_ms: int
) -> list[int]:
    """Count matched rows towards their accounts; returns the account keys that became members now."""
    joined = []
    campaign.requests += len(ids)
    campaign.last_ms = max(campaign.last_ms, int(numbers[:, NUM.TIME].max()))
    campaign.output_tokens += int(np.maximum(numbers[:, NUM.OUTPUT], 0).sum())
    campaign.reasoning_tokens += int(np.maximum(numbers[:, NUM.REASONING], 0).sum())
    campaign.cost_micro_usd += int(np.maximum(numbers[:, NUM.COST_MICRO_USD], 0).sum())
    for i in range(len(ids)):
        key, time, row = int(ids[i, _I_ACCOUNT]), int(numbers[i, NUM.TIME]), int(rows[i])
        follower = campaign.followers.get(key)
        if follower is None:
            if len(campaign.followers) >= MEMBERS_MAX:
                continue
            follower = campaign.followers[key] = Follower(0, time, time, -1, names[i])
        follower.hits += 1
        follower.last_ms = max(follower.last_ms, time)
        if follower.joined_ms < 0 and row >= 0 and may_join(follower, accounts, row):
            join(campaign, follower, accounts, row, end_ms)
            joined.append(key)
    return joined


def may_join(follower: Follower, accounts: AccountTable, row: int) -> bool:
    """Hold a follower against the rule of membership; a member of another campaign stays there."""
    requests = int(accounts.stats[row, A.REQUESTS])
    free = int(accounts.stats[row, A.CAMPAIGN]) == 0
    return free and follower.hits >= HITS_MIN and follower.hits >= HIT_SHARE_MIN * requests


def join(campaign: Campaign, follower: Follower, accounts: AccountTable, row: int, end_ms: int) -> None:
    """Make a follower a member as of a pane end."""
    follower.joined_ms = end_ms
    campaign.members += 1
    accounts.stats[row, A.CAMPAIGN] = campaign.number


def found(
    number: int,
    pool: int,
    links: LinkTable,
    accounts: AccountTable,
    *,
    tenant: str,
    end_ms: int,
    verdict: Verdict,
    evidence: tuple[Evidence, ...],
    contains: bool,
) -> Campaign:
    """Open a campaign on one pool; its sampled accounts that fit the rule are members at once."""
    p = links.pools[pool]
    key = int(links.index.keys[p[P.LINK]])
    size = int(links.large.columns.sizes[pool])
    hashes = links.large.columns.hashes[pool, :size]
    rows = accounts.index.find(hashes)
    known = rows >= 0
    programs, counts = np.unique(accounts.stats[rows[known], A.PROGRAM].view(np.uint64), return_counts=True)
    enough = (counts >= max(2, PROGRAM_SHARE_MIN * known.sum())) & (programs != 0)
    return Campaign(
        number=number,
        id=campaign_id(tenant, key, end_ms),
        opened_ms=end_ms,
        first_ms=int(links.stats[p[P.LINK], L.FIRST]),
        core={},
        programs=[int(x) for x in programs[enough]],
        single_turn=bool(p[P.TURN_KNOWN] > 0 and p[P.SINGLE] >= VETO_SHARE * p[P.TURN_KNOWN]),
        no_tools=bool(p[P.TOOLS_KNOWN] > 0 and p[P.TOOLS] <= (1 - VETO_SHARE) * p[P.TOOLS_KNOWN]),
        requests=int(p[P.REQUESTS]),
        output_tokens=int(p[P.OUTPUT]),
        reasoning_tokens=int(p[P.REASONING]),
        cost_micro_usd=int(p[P.COST_MICRO_USD]),
        last_ms=int(p[P.LAST]),
        verdict=verdict,
        evidence=evidence,
        signature_ids=tuple(e.signature for e in evidence if e.counted and e.log_odds > 0),
        contains=contains,
    )


def enlist(
    campaign: Campaign, pool: int, links: LinkTable, accounts: AccountTable, end_ms: int, kind: str
) -> list[int]:
    """Add a pool to a campaign's core and its sampled accounts to the followers; returns new members."""
    link = int(links.pools[pool, P.LINK])
    campaign.core[int(links.index.keys[link])] = (kind, links.index.name(link) or f"{int(links.index.keys[link]):016x}")
    links.pools[pool, P.CAMPAIGN] = campaign.number
    joined = []
    size = int(links.large.columns.sizes[pool])
    order = np.argsort(links.large.columns.hashes[pool, :size], kind="stable")
    for k in order.tolist():
        key = int(links.large.columns.hashes[pool, k])
        row = int(accounts.index.find(np.array([key], np.uint64))[0])
        if row < 0 or (
            campaign.programs and int(accounts.stats[row, A.PROGRAM].view(np.uint64)) not in campaign.programs
        ):
            continue
        first, last = int(links.large.firsts[pool, k]), int(links.large.lasts[pool, k])
        follower = campaign.followers.get(key)
        if follower is None:
            if len(campaign.followers) >= MEMBERS_MAX:
                continue
            follower = campaign.followers[key] = Follower(0, first, last, -1, accounts.index.name(row))
        follower.hits = max(follower.hits, int(links.large.columns.counts[pool, k]))
        follower.first_ms, follower.last_ms = min(follower.first_ms, first), max(follower.last_ms, last)
        if follower.joined_ms < 0 and may_join(follower, accounts, row):
            join(campaign, follower, accounts, row, end_ms)
            joined.append(key)
    return joined


def overlap(campaign: Campaign, pool: int, links: LinkTable) -> float:
    """Share of a pool's sampled accounts that the campaign follows."""
    size = int(links.large.columns.sizes[pool])
    hashes = links.large.columns.hashes[pool, :size].tolist()
    return sum(h in campaign.followers for h in hashes) / max(size, 1)


def describe(campaign: Campaign) -> dict[str, Any]:
    """A campaign as plain data, for the snapshot."""
    tree: dict[str, Any] = msgspec.to_builtins(campaign, str_keys=True)
    return tree
