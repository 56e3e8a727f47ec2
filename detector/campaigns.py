"""Campaigns: pools that belong together, their members, and their life.

Purpose: suspicious pools with overlapping members become one campaign; whoever acts
like its core is enumerated as a member, at once.
Invariants: a campaign's id derives from content (its founding link and time). An
account becomes a member after `HITS_MIN` requests that carry a core link and agree
with the core's profile, if they are at least `HIT_SHARE_MIN` of what it does; it is a
member of one campaign only. What an account did with a campaign stands in its row.
Whatever a member does renews its lease while the campaign is open; programs that members
take up are the campaign's.
Limits: `CORE_MAX` links are named and pinned as the core, further pools are matched
all the same; an account that lost its row is known by name and what it had done until
then, and counts anew when it comes back.
Source: two-stage membership with veto: containing whoever carries a suspicious link
cost 1,000 ppm of innocents in trials, the profile brought it to zero.
"""

import msgspec
import numba
import numpy as np
import numpy.typing as npt

from detector import hashing, profiles
from detector.accounts import A, AccountTable
from detector.frames import ID, NUM, Flag
from detector.link_columns import KINDS, PROGRAM_KINDS, L, P
from detector.links import LinkTable
from detector.panes import Pane
from detector.profiles import Profile
from detector.records import Evidence, Verdict
from detector.tails import Tails

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CORE_MAX = 64
HITS_MIN = 2
HIT_SHARE_MIN = 0.1
# Fewer members at once are not worth a case yet: the pool is judged again when it has grown.
FOUNDERS_MIN = 3
# An attribute that this share of the core has in common vetoes when contradicted.
VETO_SHARE = 0.9
PROGRAM_SHARE_MIN = 0.05
# A further program is the campaign's when so many members, and as large a share of them, send the core by it.
TAKEN_UP_MIN, TRIED_MAX = 3, 16
# Programs of which these hold fewer of the core tell nobody apart: then the core's text must fill an account.
PROGRAMS_COVER_MIN = 0.5
FILLED_SHARE_MIN = 0.3
_I_PROGRAM, _TIME, _TURN, _FLAGS, _TOOLS = (
    int(ID.PROGRAM),
    int(NUM.TIME),
    int(NUM.TURN),
    int(NUM.FLAGS),
    int(Flag.TOOLS),
)
_SUMMED = np.array([NUM.OUTPUT, NUM.REASONING, NUM.COST_MICRO_USD], np.int64)
_POOL, _P_CAMPAIGN = int(L.POOL), int(P.CAMPAIGN)
_REQUESTS, _CAMPAIGN, _HITS, _HIT_FIRST, _HIT_OF, _RENEW = (
    int(a) for a in (A.REQUESTS, A.CAMPAIGN, A.HITS, A.HIT_FIRST, A.HIT_OF, A.RENEW_MS)
)
NOT_DUE = 1 << 62
# Links of these kinds name a client program, which innocents use as well.
PROFILED, HANDOFF = frozenset(KINDS.index(kind) for kind in PROGRAM_KINDS), KINDS.index("signature_handoff")
# Where this accuses it is what members do that pools them, and a text is one that they met by chance.
BY_LIKENESS = "t4_one_source"


class Joined(msgspec.Struct):
    """A member by name; `requests` and `first_ms` are final once its account has lost its row."""

    name: str
    joined_ms: int
    first_ms: int
    requests: int


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
    profile: Profile | None  # of the core, where the links alone make nobody a member
    requests: int
    output_tokens: int
    reasoning_tokens: int
    cost_micro_usd: int
    last_ms: int
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    signature_ids: tuple[str, ...]
    contains: bool
    members: dict[int, Joined] = {}  # account key -> member
    tried: dict[int, list[int]] = {}  # program not in `programs` -> members that sent the core by it
    back: dict[int, int] = {}  # while it sleeps: account key -> when it last acted with the core
    hours: list[tuple[int, int]] = []  # requests and accounts that joined, hour by hour of event time
    noted: tuple[int, int, int] = (0, 0, 0)  # the hour under way; requests and members when it began
    remark: str = ""  # for the next revision
    revision: int = 0
    alerted_ms: int = 0
    alerted_requests: int = 0
    alerted_accounts: int = 0
    severity: str = ""
    hushed: bool = False  # its alert was held back by a storm, and nobody has heard of it
    closed: str = ""
    samples: list[tuple[str, int, str]] = []


def campaign_id(tenant: str, link_key: int, opened_ms: int) -> str:
    """Derive a stable id from the founding link and the time of opening."""
    return f"c-{hashing.content_digest(f'{tenant}/{link_key:016x}/{opened_ms}'.encode())}"


@numba.njit(cache=True)
def match(rows, stats, pools, accounts, account_stats, out):  # type: ignore[no-untyped-def]
    """Write to `out` (int64) the first campaign that one of each row's links belongs to; count rows that matter.

    A member's row without such a link gets its campaign's number below zero; any other gets 0.
    """
    hits = 0
    for i in range(rows.shape[0]):
        best = 0
        for j in range(rows.shape[1]):
            r = rows[i, j]
            if r >= 0 and stats[r, _POOL] > 0:
                number = pools[stats[r, _POOL] - 1, _P_CAMPAIGN]
                if number > 0 and (best == 0 or number < best):
                    best = number
        if best == 0 and accounts[i] >= 0:
            best = -account_stats[accounts[i], _CAMPAIGN]
        out[i] = best
        hits += best != 0
    return hits


@numba.njit(cache=True)
def shared_text(rows, columns, stats, numbers, accounts, account_stats, shared, opened):  # type: ignore[no-untyped-def]
    """Count events of which a text leads to a pool in their accounts' column `shared`, openings in `opened` too."""
    for i in range(rows.shape[0]):
        if accounts[i] < 0:
            continue
        for j in range(columns.size):
            r = rows[i, columns[j]]
            if r >= 0 and stats[r, _POOL] > 0:
                account_stats[accounts[i], shared] += 1
                account_stats[accounts[i], opened] += numbers[i, _TURN] == 0
                break


@numba.njit(cache=True)
def _follow(  # type: ignore[no-untyped-def]
    account_rows, ids, numbers, matched, number, programs, single, no_tools, at_once, now_ms, stats, sums,
    joined, due, strayed,
):  # fmt: skip
    n_joined, n_due, n_strayed = 0, 0, 0
    share_min = HIT_SHARE_MIN if programs.size > 0 or not at_once else FILLED_SHARE_MIN
    for i in range(matched.size):
        row = account_rows[i]
        if row >= 0 and abs(matched[i]) == number and stats[row, _CAMPAIGN] == number and stats[row, _RENEW] <= now_ms:
            # Whatever a member does keeps its lease alive: templates change, and cover traffic is the campaign's too.
            stats[row, _RENEW] = NOT_DUE
            due[n_due] = row
            n_due += 1
        if matched[i] != number:
            continue
        # The core's profile: what nearly all of it has in common vetoes when contradicted.
        fits = programs.size == 0
        for p in range(programs.size):
            fits |= ids[i, _I_PROGRAM] == programs[p]
        if not fits and row >= 0 and stats[row, _CAMPAIGN] == number:
            strayed[n_strayed] = i
            n_strayed += 1
        fits &= not (single and numbers[i, _TURN] > 0)
        fits &= not (no_tools and numbers[i, _FLAGS] & _TOOLS != 0)
        if not fits:
            continue
        sums[0] += 1
        sums[1] = max(sums[1], numbers[i, _TIME])
        for k in range(_SUMMED.size):
            sums[2 + k] += max(numbers[i, _SUMMED[k]], 0)
        if row < 0 or (stats[row, _CAMPAIGN] != 0 and stats[row, _CAMPAIGN] != number):
            continue
        s = stats[row]
        if s[_HIT_OF] == 0:
            s[_HITS] = 0
            s[_HIT_FIRST] = numbers[i, _TIME]
        s[_HIT_OF] = number
        s[_HITS] += 1
        if s[_CAMPAIGN] == 0 and at_once and s[_HITS] >= HITS_MIN and s[_HITS] >= share_min * s[_REQUESTS]:
            s[_CAMPAIGN] = number
            s[_RENEW] = NOT_DUE
            joined[n_joined] = row
            n_joined += 1
    return n_joined, n_due, n_strayed


def follow(
    campaign: Campaign, pane: Pane, matched: I64, rows: I64, accounts: AccountTable, *, now_ms: int
) -> tuple[I64, I64]:
    """Count a pane's events that carry the core and fit its profile towards their accounts.

    `matched` (int64) is what `match` wrote for each event, `rows` its account's row.
    Returns the account rows that became members now, and those of members whose lease is due.
    """
    joined, due, strayed = np.empty((3, rows.size), np.int64)
    sums = np.zeros(2 + _SUMMED.size, np.int64)
    sums[1] = campaign.last_ms
    n_joined, n_due, n_strayed = _follow(
        rows, pane.ids, pane.numbers, matched, campaign.number, np.array(campaign.programs, np.uint64),
        campaign.single_turn, campaign.no_tools, campaign.profile is None, now_ms, accounts.stats, sums, joined, due,
        strayed,
    )  # fmt: skip
    if n_strayed:
        at = strayed[:n_strayed]
        _take_up(campaign, accounts.index.keys[rows[at]], pane.ids[at, ID.PROGRAM])
    requests, campaign.last_ms, output, reasoning, cost = sums.tolist()
    campaign.requests += requests
    campaign.output_tokens += output
    campaign.reasoning_tokens += reasoning
    campaign.cost_micro_usd += cost
    enter(campaign, joined[:n_joined], accounts, now_ms=now_ms)
    return joined[:n_joined], due[:n_due]


def _take_up(campaign: Campaign, accounts: U64, programs: U64) -> None:
    """Learn a program once enough members send the core by it: accounts move to new models and clients."""
    for account, program in sorted(set(zip(accounts.tolist(), programs.tolist(), strict=True))):
        if program == 0:
            continue
        users = campaign.tried.setdefault(program, [])
        if account not in users:
            users.append(account)
        if len(users) >= max(TAKEN_UP_MIN, PROGRAM_SHARE_MIN * len(campaign.members)):
            campaign.programs.append(program)
            del campaign.tried[program]
    while len(campaign.tried) > TRIED_MAX:
        del campaign.tried[min(campaign.tried, key=lambda program: (len(campaign.tried[program]), program))]


def enter(campaign: Campaign, rows: I64, accounts: AccountTable, *, now_ms: int) -> None:
    """List accounts that became members as of a pane end."""
    for key, row in zip(accounts.index.keys[rows].tolist(), rows.tolist(), strict=True):
        first, hits = int(accounts.stats[row, A.HIT_FIRST]), int(accounts.stats[row, A.HITS])
        campaign.members[key] = Joined(accounts.index.name(row), now_ms, first, hits)


def standing(campaign: Campaign, accounts: AccountTable) -> list[Joined]:
    """List the members by name, their counts as of now."""
    keys = np.array(list(campaign.members), np.uint64)
    rows = accounts.index.find(keys)
    mine = (rows >= 0) & (accounts.stats[rows, A.CAMPAIGN] == campaign.number)
    hits, firsts = accounts.stats[rows, A.HITS].tolist(), accounts.stats[rows, A.HIT_FIRST].tolist()
    members = [
        msgspec.structs.replace(m, requests=hits[i], first_ms=firsts[i]) if held else m
        for i, (m, held) in enumerate(zip(campaign.members.values(), mine.tolist(), strict=True))
    ]
    return sorted(members, key=lambda m: m.name)


def by_likeness(kind: int, evidence: tuple[Evidence, ...]) -> bool:
    """Say whether it is what members do that pools them, and not what they share: a profile must decide then."""
    if kind == HANDOFF:
        return False
    return kind in PROFILED or any(e.signature == BY_LIKENESS and e.counted and e.log_odds > 0 for e in evidence)


def bind_by_text(campaign: Campaign, links: LinkTable) -> None:
    """Let a shared text decide from now on, which says more than a profile: what only resembles leaves the core."""
    links.pools[links.pools[:, P.CAMPAIGN] == campaign.number, P.CAMPAIGN] = 0
    campaign.core, campaign.profile = {}, None


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
    tails: Tails,
) -> Campaign:
    """Open a campaign on one pool: what most of its sampled accounts have in common is the profile."""
    p = links.pools[pool]
    key = int(links.index.keys[p[P.LINK]])
    rows = sampled(links, pool, accounts)[0]
    profile = None
    if by_likeness(int(p[P.KIND]), evidence):
        core = profiles.core_of(tails, accounts, rows, evidence)
        profile, rows = profiles.learn(tails, accounts, rows, core.astype(np.float64)), rows[core]
    programs, counts = np.unique(accounts.stats[rows, A.PROGRAM].view(np.uint64), return_counts=True)
    enough = (counts >= max(2, PROGRAM_SHARE_MIN * rows.size)) & (programs != 0)
    if counts[enough].sum() < PROGRAMS_COVER_MIN * rows.size:
        enough[:] = False  # settings copied from all kinds of customers: none of them is the core's
    return Campaign(
        number=number,
        id=campaign_id(tenant, key, end_ms),
        opened_ms=end_ms,
        first_ms=int(links.stats[p[P.LINK], L.FIRST]),
        core={},
        programs=[int(x) for x in programs[enough]],
        single_turn=bool(p[P.TURN_KNOWN] > 0 and p[P.SINGLE] >= VETO_SHARE * p[P.TURN_KNOWN]),
        no_tools=bool(p[P.TOOLS_KNOWN] > 0 and p[P.TOOLS] <= (1 - VETO_SHARE) * p[P.TOOLS_KNOWN]),
        profile=profile,
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


def sampled(links: LinkTable, pool: int, accounts: AccountTable) -> tuple[I64, I64]:
    """The account rows of a pool's sample, by key, and their places in the sample."""
    size = int(links.large.columns.sizes[pool])
    hashes = links.large.columns.hashes[pool, :size]
    places = np.argsort(hashes, kind="stable")
    rows = accounts.index.find(hashes[places])
    return rows[rows >= 0], places[rows >= 0]


def enlist(
    campaign: Campaign, pool: int, links: LinkTable, accounts: AccountTable, *, tails: Tails, end_ms: int, kind: str
) -> I64:
    """Add a pool to a campaign's core, count its sampled accounts; returns the rows that became members."""
    link = int(links.pools[pool, P.LINK])
    key = int(links.index.keys[link])
    if len(campaign.core) < CORE_MAX:
        campaign.core[key] = (kind, links.index.name(link) or f"{key:016x}")
    links.pools[pool, P.CAMPAIGN] = campaign.number
    rows, places = sampled(links, pool, accounts)
    stats = accounts.stats
    counts = links.large.columns.counts[pool, places].astype(np.int64)
    firsts = links.large.firsts[pool, places]
    fits = _eligible(campaign, rows, counts, accounts, tails) | (stats[rows, A.CAMPAIGN] == campaign.number)
    rows, counts, firsts = rows[fits], counts[fits], firsts[fits]
    known = stats[rows, A.HIT_OF] != 0
    stats[rows, A.HITS] = np.where(known, np.maximum(stats[rows, A.HITS], counts), counts)
    stats[rows, A.HIT_FIRST] = np.where(known, np.minimum(stats[rows, A.HIT_FIRST], firsts), firsts)
    stats[rows, A.HIT_OF] = campaign.number
    joined = rows[stats[rows, A.CAMPAIGN] == 0]
    stats[joined, A.CAMPAIGN] = campaign.number
    stats[joined, A.RENEW_MS] = NOT_DUE
    enter(campaign, joined, accounts, now_ms=end_ms)
    return joined


def founding_rows(campaign: Campaign, pool: int, links: LinkTable, accounts: AccountTable, *, tails: Tails) -> I64:
    """The rows of a pool's sampled accounts that would be members of a campaign founded on it."""
    rows, places = sampled(links, pool, accounts)
    counts = links.large.columns.counts[pool, places].astype(np.int64)
    return rows[_eligible(campaign, rows, counts, accounts, tails)]


def founders(campaign: Campaign, pool: int, links: LinkTable, accounts: AccountTable, *, tails: Tails) -> int:
    """How many of a pool's sampled accounts would be members of a campaign founded on it."""
    return int(founding_rows(campaign, pool, links, accounts, tails=tails).size)


def review(campaign: Campaign, rows: I64, accounts: AccountTable, tails: Tails, *, now_ms: int) -> I64:
    """Let those of the touched rows join a profiled campaign that carry its links and behave as its core."""
    stats, profile, members = accounts.stats, campaign.profile, len(campaign.members)
    rows = rows[(stats[rows, A.HIT_OF] == campaign.number) & (stats[rows, A.CAMPAIGN] == 0)]
    if profile is not None and members >= profiles.LEARN_AGAIN * max(profile.members, FOUNDERS_MIN):
        campaign.profile, rows = profiles.learn_again(profile, tails, accounts, campaign.number, members=members)
    joined = rows[_eligible(campaign, rows, stats[rows, A.HITS], accounts, tails)]
    stats[joined, A.CAMPAIGN] = campaign.number
    stats[joined, A.RENEW_MS] = NOT_DUE
    enter(campaign, joined, accounts, now_ms=now_ms)
    return joined


def _eligible(campaign: Campaign, rows: I64, hits: I64, accounts: AccountTable, tails: Tails) -> Bools:
    """Hold accounts against the rule of membership; a member of another campaign stays there."""
    stats = accounts.stats
    joins = (stats[rows, A.CAMPAIGN] == 0) & (hits >= HITS_MIN)
    if campaign.profile is None:
        joins &= hits >= (HIT_SHARE_MIN if campaign.programs else FILLED_SHARE_MIN) * stats[rows, A.REQUESTS]
    if campaign.programs:
        joins &= np.isin(stats[rows, A.PROGRAM].view(np.uint64), np.array(campaign.programs, np.uint64))
    if campaign.profile is not None:
        joins &= profiles.fits(campaign.profile, tails, accounts, rows)
    return joins
