"""Life: how campaigns grow, change and become one.

Purpose: what a campaign knows of itself follows its accounts: programs that it takes up, pools
that turn out to be its own, other campaigns that turn out to be the same.
Invariants: a campaign keeps its id whatever it takes in; of two that are one the older stays.
Limits: a program is taken up once three accounts of an accused pool mainly use it.
Source: pools are accused one by one, so the first found stands for the others.
"""

from detector.accounts import A, AccountTable
from detector.campaigns import CORE_MAX, Campaign
from detector.link_columns import P
from detector.links import LinkTable


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
    campaign.no_system = campaign.no_system if campaign.profile else other.no_system
    campaign.profile = campaign.profile or other.profile
    stats = accounts.stats[: accounts.index.used]
    for column in (A.CAMPAIGN, A.HIT_OF):
        stats[stats[:, column] == other.number, column] = campaign.number
