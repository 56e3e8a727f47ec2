"""Campaigns that likeness founds: the text is one that members met by chance, so behaviour decides who belongs."""

import numpy as np
import numpy.typing as npt
import pytest

from detector import campaigns, life
from detector.accounts import A, AccountTable
from detector.config import TableSettings
from detector.link_columns import KINDS, L, P
from detector.links import LinkTable
from detector.records import Evidence, Verdict
from detector.tails import REFRESH_MS, Tails

I64 = npt.NDArray[np.int64]
PEOPLE, REPLAYING, PASSERS_BY = 90, 24, 4
REQUESTS = 40


def world(*, programs: I64) -> tuple[LinkTable, AccountTable, Tails]:
    """People, and accounts that replay a prompt set; these and some people share a text in three requests each."""
    table, links = AccountTable(1_024), LinkTable(TableSettings(accounts_max=1_024, links_max=1_024, promoted_max=8))
    count = PEOPLE + REPLAYING
    rng = np.random.default_rng(7)
    table.index.add(rng.integers(1, 1 << 62, count).astype(np.uint64), [b"account"] * count)
    replaying = np.arange(count) >= PEOPLE
    stats = table.stats[:count]
    stats[:, A.REQUESTS], stats[:, A.STYLE_KNOWN], stats[:, A.TURN_KNOWN] = REQUESTS, REQUESTS, REQUESTS
    stats[:, A.ORG] = np.arange(count) + 1
    stats[:, A.PROGRAM] = np.where(replaying, np.resize(programs, count), 1_000 + np.arange(count))
    mean = np.where(replaying, 1_900, rng.integers(1_200, 2_600, count))
    spread = np.where(replaying, 60, rng.integers(100, 400, count))
    stats[:, A.LOG_IN], stats[:, A.LOG_IN_SQ] = mean * REQUESTS, (mean**2 + spread**2) * REQUESTS
    longer = np.where(replaying, 900, rng.integers(-600, 700, count))
    stats[:, A.LOG_OUT] = stats[:, A.LOG_IN] + longer * REQUESTS
    stats[:, A.LOG_OUT_SQ] = stats[:, A.LOG_OUT] ** 2 // REQUESTS
    stats[:, A.MARKED] = np.where(replaying, 1, rng.integers(5, 35, count))
    stats[:, A.SINGLE] = np.where(replaying, REQUESTS, rng.integers(5, REQUESTS, count))
    link = links.index.add(np.array([77], np.uint64), [b"text"])[0]
    links.stats[link, L.POOL] = 2
    links.pools[1, [P.LINK, P.KIND, P.REQUESTS]] = link, KINDS.index("run_fp"), 3 * (REPLAYING + PASSERS_BY)
    sample = table.index.keys[PEOPLE - PASSERS_BY : count]
    links.large.columns.hashes[1, : sample.size] = sample
    links.large.columns.counts[1, : sample.size] = 3
    links.large.columns.sizes[1] = sample.size
    tails = Tails()
    tails.refresh(table, now_ms=REFRESH_MS)
    return links, table, tails


def founded(links: LinkTable, table: AccountTable, tails: Tails, *, signature: str) -> campaigns.Campaign:
    evidence = Evidence(signature=signature, family="content", log_odds=3.0, counted=True, facts={})
    verdict = Verdict(log_odds=3.0, prior=-8.0, cap=5.0, threshold=2.5)
    return campaigns.found(
        1, 1, links, table, tenant="t", end_ms=0, verdict=verdict, evidence=(evidence,), contains=True, tails=tails
    )


def joined(campaign: campaigns.Campaign, links: LinkTable, table: AccountTable, tails: Tails) -> I64:
    return np.sort(campaigns.enlist(campaign, 1, links, table, tails=tails, end_ms=0, kind="run_fp"))


def test_of_a_text_met_by_chance_those_are_members_that_act_like_the_core() -> None:
    parts = world(programs=np.array([5]))
    campaign = founded(*parts, signature=campaigns.BY_LIKENESS)
    assert campaign.profile is not None
    assert joined(campaign, *parts).tolist() == list(range(PEOPLE, PEOPLE + REPLAYING))


def test_a_member_that_turns_out_to_act_otherwise_leaves() -> None:
    links, table, tails = world(programs=np.array([5]))
    campaign = founded(links, table, tails, signature=campaigns.BY_LIKENESS)
    members = joined(campaign, links, table, tails)
    assert life.dismiss(campaign, members, table, tails) == []
    table.stats[PEOPLE, A.SINGLE] = 0
    table.stats[PEOPLE, A.LOG_IN : A.LOG_IN_SQ + 1] = table.stats[0, A.LOG_IN : A.LOG_IN_SQ + 1]
    gone = life.dismiss(campaign, members, table, tails)
    assert gone == [table.index.name(PEOPLE)]
    assert table.stats[PEOPLE, A.CAMPAIGN] == 0
    assert len(campaign.members) == REPLAYING - 1
    assert life.dismiss(campaign, members, table, tails) == [], "once"
    campaigns.bind_by_text(campaign, links)
    assert life.dismiss(campaign, members, table, tails) == [], "a shared text asks nobody how he acts"


def test_where_a_text_accuses_its_share_of_the_requests_decides() -> None:
    parts = world(programs=np.array([5]))
    campaign = founded(*parts, signature="c1_shared_template")
    assert campaign.profile is None
    assert joined(campaign, *parts).size == 0, "three requests of forty are no tenth"


@pytest.mark.parametrize(("settings", "kept"), [(1, 1), (2, 2), (REPLAYING, 0)])
def test_settings_copied_from_all_kinds_of_customers_are_no_trait_of_the_core(settings: int, kept: int) -> None:
    parts = world(programs=np.arange(settings) + 5)
    campaign = founded(*parts, signature=campaigns.BY_LIKENESS)
    assert len(campaign.programs) == kept
    assert joined(campaign, *parts).size == REPLAYING


def test_a_shared_text_says_more_than_a_profile() -> None:
    links, table, tails = world(programs=np.array([5]))
    campaign = founded(links, table, tails, signature=campaigns.BY_LIKENESS)
    joined(campaign, links, table, tails)
    assert links.pools[1, P.CAMPAIGN] == campaign.number
    campaigns.bind_by_text(campaign, links)
    assert (campaign.profile, campaign.core, links.pools[1, P.CAMPAIGN]) == (None, {}, 0)
    assert len(campaign.members) == REPLAYING, "who is a member stays one"


@pytest.mark.parametrize(
    ("settings", "share", "members"),
    [
        (1, 0.2, REPLAYING),  # the passers-by run other programs
        (REPLAYING, 0.2, 0),
        (REPLAYING, campaigns.FILLED_SHARE_MIN, REPLAYING + PASSERS_BY),
    ],
)
def test_where_no_program_is_the_cores_its_text_must_fill_an_account(settings: int, share: float, members: int) -> None:
    links, table, tails = world(programs=np.arange(settings) + 5)
    campaign = founded(links, table, tails, signature="c1_shared_template")
    assert len(campaign.programs) == (settings == 1)
    links.large.columns.counts[1, : REPLAYING + PASSERS_BY] = share * REQUESTS
    assert joined(campaign, links, table, tails).size == members


@pytest.mark.parametrize(("strangers", "taken"), [(1, True), (PASSERS_BY, False)])
def test_a_text_that_strangers_carry_as_well_is_not_taken_in(strangers: int, *, taken: bool) -> None:
    links, table, tails = world(programs=np.array([5]))
    campaign = founded(links, table, tails, signature="c1_shared_template")
    joined(campaign, links, table, tails)
    sample = table.index.keys[PEOPLE - strangers : PEOPLE + REPLAYING]
    link = links.index.add(np.array([78], np.uint64), [b"other"])[0]
    links.pools[2, [P.LINK, P.KIND]] = link, KINDS.index("run_fp")
    links.large.columns.hashes[2, : sample.size] = sample
    links.large.columns.sizes[2] = sample.size
    assert life.takes_in(campaign, 2, links, table, alike=False) == taken
    assert life.takes_in(campaign, 1, links, table, alike=False), "it holds this one already"
    assert not life.takes_in(campaign, 1, links, table, alike=True), "a text says more than likeness"
    campaign.programs = []
    assert life.takes_in(campaign, 2, links, table, alike=False), "nothing to tell strangers by"
