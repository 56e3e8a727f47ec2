"""Life: how campaigns become one, fall apart, fall asleep and come back.

Purpose: a campaign that has gone silent stays on the watch-list with its core, its profile and its
members: when they are back, or others act as they did, it goes on under the same id. Two that turn
out to be the same become one; one whose active members are two sets that share nothing becomes two.
Invariants: of two that are one the older stays; of the parts the one with most members keeps the
id; what the operator closed is not watched. A campaign never comes back on fewer accounts than
would have founded it.
Limits: `WATCHED_MAX` campaigns are watched, each for `WATCH_MS` after its last request.
Source: pools that were banned and replaced within hours, by others with the same fixed text.
"""

import math
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from detector import campaigns, profiles
from detector.accounts import A, AccountTable
from detector.campaigns import CORE_MAX, FOUNDERS_MIN, Campaign
from detector.config import DecisionSettings
from detector.drift import HOURS_KEPT, replaced
from detector.link_columns import P
from detector.links import LinkTable
from detector.signatures.contract import wilson_lower
from detector.tails import Tails

I64 = npt.NDArray[np.int64]

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
IDLE = "idle"
REPLACED = "its accounts were replaced, its rate stayed"
# A pool that is banned is replaced within hours or days; a month later a text proves little.
WATCH_MS = 30 * DAY_MS
WATCHED_MAX = 64
# As many as make a rate known (signatures ask for no fewer organisations).
PART_MIN = 8
# As of every trait of a core: nine of ten.
KIN_MIN = 0.9
# A pool of which this share, and no fewer accounts, act with a campaign already belongs to it:
# pools are accused one by one, so of several texts of one pipeline the first found the campaign.
OVERLAP_MIN = 0.2
OVERLAP_ACCOUNTS_MIN = 3
# Nobody else carries a campaign's own text (1.00 of its carriers); of those that members meet by chance, published
# items and system prompts, every tenth carrier at least is a stranger when they come up, and half are later.
OWN_MIN = 0.95


def sleeps(campaign: Campaign) -> bool:
    """Say whether a campaign has gone silent and is watched."""
    return campaign.closed == IDLE


def expired(watched: Iterable[Campaign], *, now_ms: int) -> list[int]:
    """The numbers of sleeping campaigns that need not be watched any more: the oldest of too many, and the old."""
    asleep = sorted((c for c in watched if sleeps(c)), key=lambda c: (-c.last_ms, c.number))
    return [c.number for place, c in enumerate(asleep) if place >= WATCHED_MAX or now_ms - c.last_ms > WATCH_MS]


def fall_asleep(campaign: Campaign, accounts: AccountTable) -> None:
    """Close a campaign as idle; the first request of a member from now on is noticed."""
    campaign.closed, campaign.back = IDLE, {}
    rows = accounts.index.find(np.array(list(campaign.members), np.uint64))
    accounts.stats[rows[rows >= 0], A.RENEW_MS] = 0


def come_back(campaign: Campaign, rows: I64, accounts: AccountTable, settings: DecisionSettings, *, now_ms: int) -> I64:
    """Note who acts with a sleeping campaign's core; returns their rows once they are enough to open it again."""
    for key in accounts.index.keys[rows].tolist():
        campaign.back[key] = now_ms
    campaign.back = {key: at_ms for key, at_ms in campaign.back.items() if now_ms - at_ms <= settings.campaign_idle_ms}
    if len(campaign.back) < FOUNDERS_MIN:
        accounts.stats[rows, A.RENEW_MS] = 0  # to be noticed again
        return rows[:0]
    found = accounts.index.find(np.array(list(campaign.back), np.uint64))
    return found[found >= 0]


def awake(campaign: Campaign) -> None:
    """Open a campaign again."""
    campaign.closed, campaign.back = "", {}


def note_hour(campaign: Campaign, *, now_ms: int) -> bool:
    """Keep a campaign's series by the hour; says whether its accounts were replaced in the one that ended."""
    hour, (began, requests, members) = now_ms // HOUR_MS, campaign.noted
    if campaign.closed or hour == began:
        return False
    campaign.noted = (hour, campaign.requests, len(campaign.members))
    if began == 0:
        return False
    campaign.hours.append((max(campaign.requests - requests, 0), max(len(campaign.members) - members, 0)))
    campaign.hours += [(0, 0)] * min(hour - began - 1, HOURS_KEPT)
    del campaign.hours[:-HOURS_KEPT]
    if not replaced(campaign.hours):
        return False
    campaign.remark = REPLACED
    return True


def homes_of(pool: int, links: LinkTable, accounts: AccountTable) -> list[int]:
    """Campaigns with which enough of a pool's sampled accounts act: the one with most of them first."""
    rows, _ = campaigns.sampled(links, pool, accounts)
    member, hit = accounts.stats[rows, A.CAMPAIGN], accounts.stats[rows, A.HIT_OF]
    numbers, counts = np.unique(np.where(member > 0, member, hit), return_counts=True)
    size = int(links.large.columns.sizes[pool])
    enough = (numbers > 0) & (counts >= OVERLAP_ACCOUNTS_MIN) & (counts >= OVERLAP_MIN * size)
    numbers, counts = numbers[enough], counts[enough]
    return [int(n) for n in numbers[np.argsort(-counts, kind="stable")]]


def kinship(pool: int, number: int, links: LinkTable, accounts: AccountTable) -> float:
    """Log-odds that an account of a pool is a member of a campaign, by the lower bound; at most even.

    Minus infinity where fewer than `KIN_MIN` of the accounts act with it: texts that members meet by chance, published
    prompts above all, are innocents' too.
    """
    rows, _ = campaigns.sampled(links, pool, accounts)
    acting = (accounts.stats[rows, A.CAMPAIGN] == number) | (accounts.stats[rows, A.HIT_OF] == number)
    size = float(links.large.columns.sizes[pool])
    if acting.sum() < KIN_MIN * size:
        return -math.inf
    members = float((accounts.stats[rows, A.CAMPAIGN] == number).sum())
    share = float(wilson_lower(np.array([members]), np.array([size]))[0])
    return min(math.log(max(share, 1e-9) / max(1.0 - share, 1e-9)), 0.0)


def takes_in(campaign: Campaign, pool: int, links: LinkTable, accounts: AccountTable, *, alike: bool) -> bool:
    """Say whether an accused pool is a campaign's to take in, so that who carries its link may be a member.

    Where a text makes members, likeness (`alike`) adds nothing to it, and a text must be its own: nearly all who carry
    it are members or use one client program. A campaign behind all kinds of programs has no such yardstick.
    """
    if campaign.profile is not None:
        return True
    held = int(links.pools[pool, P.CAMPAIGN]) == campaign.number
    if alike or held or not campaign.core or not campaign.programs:
        return not alike
    rows, _ = campaigns.sampled(links, pool, accounts)
    programs = accounts.stats[rows, A.PROGRAM].view(np.uint64)
    own = np.isin(programs, np.array(campaign.programs, np.uint64))
    own |= accounts.stats[rows, A.CAMPAIGN] == campaign.number
    users = np.unique(programs[programs != 0], return_counts=True)[1]
    return max(int(own.sum()), int(users.max(initial=0))) >= OWN_MIN * rows.size


def dismiss(campaign: Campaign, rows: I64, accounts: AccountTable, tails: Tails) -> list[str]:
    """Let go of those of the touched rows that joined a profiled campaign and turn out to act otherwise, by name."""
    if campaign.profile is None:
        return []
    mine = rows[accounts.stats[rows, A.CAMPAIGN] == campaign.number]
    gone = mine[~profiles.fits(campaign.profile, tails, accounts, mine, least=profiles.STAYS)]
    accounts.stats[gone, A.CAMPAIGN] = 0
    for key in accounts.index.keys[gone].tolist():
        campaign.members.pop(key, None)
    return [accounts.index.name(row) for row in gone.tolist()]


def home_of(link: int, known: dict[int, Campaign]) -> Campaign | None:
    """The first campaign whose core names a link, though its pool was lost meanwhile."""
    return next((c for _, c in sorted(known.items()) if link in c.core), None)


def leave(number: int, links: LinkTable, accounts: AccountTable) -> None:
    """Nothing belongs to a campaign any more."""
    links.pools[links.pools[:, P.CAMPAIGN] == number, P.CAMPAIGN] = 0
    stats = accounts.stats[: accounts.index.used]
    stats[stats[:, A.CAMPAIGN] == number, A.CAMPAIGN] = 0
    stats[stats[:, A.HIT_OF] == number, A.HIT_OF] = 0


def parts(campaign: Campaign, links: LinkTable, accounts: AccountTable, *, now_ms: int) -> list[I64]:
    """Split a campaign's pools into those that share active members or main programs; the largest part first.

    Returns the pool rows of each part, or one part where they all belong together.
    """
    groups: list[tuple[set[int], set[int], list[int]]] = []  # members, programs, pools
    pools = np.flatnonzero(links.pools[:, P.CAMPAIGN] == campaign.number)
    pools = pools[np.argsort(links.index.keys[links.pools[pools, P.LINK]], kind="stable")]
    for pool in pools.tolist():
        rows, _ = campaigns.sampled(links, pool, accounts)
        stats = accounts.stats[rows]
        active = (stats[:, A.CAMPAIGN] == campaign.number) & (stats[:, A.LAST] > now_ms - DAY_MS)
        members, programs = set(rows[active].tolist()), set(stats[active, A.PROGRAM].tolist())
        held = [pool]
        for group in [g for g in groups if g[0] & members or g[1] & programs]:
            groups.remove(group)
            members, programs, held = members | group[0], programs | group[1], held + group[2]
        groups.append((members, programs, held))
    large = sorted((g for g in groups if len(g[0]) >= PART_MIN), key=lambda g: (-len(g[0]), min(g[2])))
    if len(large) < 2:
        return [pools]
    return [np.array(sorted(held), np.int64) for _, _, held in large]


def split_off(campaign: Campaign, pools: I64, links: LinkTable, accounts: AccountTable, *, number: int, now_ms: int,
              tenant: str) -> Campaign:  # fmt: skip
    """Make a campaign of its own of some of a campaign's pools and the members that they show."""
    rows = np.unique(np.concatenate([campaigns.sampled(links, int(p), accounts)[0] for p in pools]))
    stats = accounts.stats
    rows = rows[stats[rows, A.CAMPAIGN] == campaign.number]
    keys = accounts.index.keys[rows].tolist()
    links_of = links.index.keys[links.pools[pools, P.LINK]].tolist()
    made = msgspec.structs.replace(
        campaign,
        number=number,
        id=campaigns.campaign_id(tenant, min(links_of), now_ms),
        opened_ms=now_ms,
        core={key: campaign.core.pop(key) for key in links_of if key in campaign.core},
        programs=sorted({int(p) for p in stats[rows, A.PROGRAM].view(np.uint64)} & set(campaign.programs)),
        requests=int(stats[rows, A.HITS].sum()),
        members={key: campaign.members.pop(key) for key in keys if key in campaign.members},
        tried={},
        back={},
        revision=0,
        samples=[],
    )
    campaign.programs = [p for p in campaign.programs if p not in made.programs] or campaign.programs
    campaign.requests = max(campaign.requests - made.requests, 0)
    links.pools[pools, P.CAMPAIGN] = number
    stats[rows, A.CAMPAIGN] = number
    stats[rows, A.HIT_OF] = number
    return made


def absorb(campaign: Campaign, other: Campaign, links: LinkTable, accounts: AccountTable) -> None:
    """Take over another campaign's core and members: both turned out to be the same accounts."""
    campaign.core |= dict(list(other.core.items())[: CORE_MAX - len(campaign.core)])
    campaign.programs += [p for p in other.programs if p not in campaign.programs]
    campaign.single_turn &= other.single_turn
    campaign.no_tools &= other.no_tools
    campaign.contains |= other.contains
    campaign.first_ms = min(campaign.first_ms, other.first_ms)
    campaign.last_ms = max(campaign.last_ms, other.last_ms)
    campaign.requests += other.requests
    campaign.output_tokens += other.output_tokens
    campaign.reasoning_tokens += other.reasoning_tokens
    campaign.cost_micro_usd += other.cost_micro_usd
    campaign.members |= other.members
    links.pools[links.pools[:, P.CAMPAIGN] == other.number, P.CAMPAIGN] = campaign.number
    # What has a profile keeps it: the program alone would take innocents with it.
    campaign.profile = campaign.profile or other.profile
    stats = accounts.stats[: accounts.index.used]
    for column in (A.CAMPAIGN, A.HIT_OF):
        stats[stats[:, column] == other.number, column] = campaign.number
