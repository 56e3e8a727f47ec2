"""The reference of innocents, ranks against it, and what a core's profile makes of them."""

import numpy as np
import numpy.typing as npt

from detector import profiles
from detector.accounts import A, AccountTable
from detector.tails import FEW, ONE, REFRESH_MS, STRATUM_MIN, Tails, reference

ORDINARY, ODD = 60, 12


def crowd() -> AccountTable:
    """Sixty people, each with a client of their own, and twelve alike that behave like a replay."""
    table = AccountTable(1_024)
    count = ORDINARY + ODD
    rng = np.random.default_rng(3)
    table.index.add(rng.integers(1, 1 << 62, count).astype(np.uint64), [b"account"] * count)
    stats = table.stats[:count]
    odd = np.arange(count) >= ORDINARY
    requests = 40
    stats[:, A.REQUESTS] = requests
    stats[:, A.ORG] = np.arange(count) + 1
    stats[:, A.PROGRAM] = np.where(odd, 7, 100 + np.arange(count))
    mean = 2_000 + 5 * np.arange(count)
    spread = np.where(odd, 20, 200 + 4 * np.arange(count))
    for total, squares, times in ((A.LOG_IN, A.LOG_IN_SQ, requests), (A.LOG_RUN, A.LOG_RUN_SQ, 20)):
        stats[:, total] = mean * times
        stats[:, squares] = (mean**2 + spread**2) * times
    stats[:, A.RUN_GAPS] = 20
    stats[:, A.LOG_OUT] = stats[:, A.LOG_IN] + np.where(odd, 900, 2 * np.arange(count)) * requests
    stats[:, A.STYLE_KNOWN], stats[:, A.TURN_KNOWN] = requests, requests
    stats[:, A.MARKED] = np.where(odd, 0, 10 + np.arange(count) % 20)
    stats[:, A.SINGLE] = np.where(odd, requests, np.arange(count) % 20)
    return table


def test_of_one_program_few_accounts_speak_in_the_reference() -> None:
    table = crowd()
    rows = reference(table)
    assert (table.stats[rows, A.PROGRAM] == 7).sum() == FEW
    assert rows.size == ORDINARY + FEW


def test_the_accused_are_no_reference() -> None:
    table = crowd()
    table.stats[:ORDINARY, A.CAMPAIGN] = 1
    assert reference(table).size == FEW


def test_those_that_lie_out_rank_first_and_nobody_ranks_at_nothing() -> None:
    table, tails = crowd(), Tails()
    tails.refresh(table, now_ms=REFRESH_MS)
    ranks, judged = tails.rank(table, np.arange(ORDINARY + ODD))
    assert judged.all()
    assert (ranks[ORDINARY:, 2] < ONE // 8).all()
    assert (ranks[:ORDINARY, 2] < ONE // 8).sum() <= ORDINARY // 8
    assert ranks.min() > 0


def test_nobody_is_judged_against_too_few_or_before_the_first_reference() -> None:
    table, tails = crowd(), Tails()
    rows = np.arange(ORDINARY + ODD)
    assert not tails.rank(table, rows)[1].any()
    table.stats[STRATUM_MIN - 2 :, A.REQUESTS] = 1
    tails.refresh(table, now_ms=REFRESH_MS)
    assert not tails.rank(table, rows)[1].any()


def test_a_reference_lasts_until_it_is_due() -> None:
    table, tails = crowd(), Tails()
    tails.refresh(table, now_ms=REFRESH_MS)
    before = tails.points.copy()
    table.stats[:, A.LOG_OUT] *= 2
    tails.refresh(table, now_ms=2 * REFRESH_MS - 1)
    assert np.array_equal(tails.points, before)
    tails.refresh(table, now_ms=2 * REFRESH_MS)
    assert not np.array_equal(tails.points, before)


def learnt(tails: Tails, table: AccountTable, core: npt.NDArray[np.int64]) -> list[list[int]]:
    return profiles.learn(tails, table, core, tails.rank(table, core)[0])


def test_a_profile_tells_the_core_from_the_rest() -> None:
    table, tails = crowd(), Tails()
    tails.refresh(table, now_ms=REFRESH_MS)
    rows = np.arange(ORDINARY + ODD)
    profile = learnt(tails, table, rows[ORDINARY : ORDINARY + 6])
    fits = profiles.fits(profile, tails, table, rows)
    assert fits[ORDINARY:].all()
    assert fits[:ORDINARY].sum() <= ORDINARY // 20, "of a pool three in four are of the core: one in twenty is wrong"


def test_an_aged_account_must_resemble_a_young_core_more_than_a_young_one() -> None:
    table, tails = crowd(), Tails()
    day_ms = 86_400_000
    table.stats[:, A.LAST] = 30 * day_ms
    table.stats[ORDINARY:, A.CREATED] = 28 * day_ms
    tails.refresh(table, now_ms=REFRESH_MS)
    rows = np.arange(ORDINARY, ORDINARY + ODD)
    profile = learnt(tails, table, rows)
    young, aged, undated = profile[-1]
    assert young > 0 > aged
    assert undated == 0
    mean = profiles.MEMBER - aged // 2  # what they do is enough for a young account and not for an aged one
    profile[: profiles.COUNT] = [[2 * mean // profiles.COUNT] * profiles.BINS] * profiles.COUNT
    assert profiles.fits(profile, tails, table, rows).all()
    table.stats[rows, A.CREATED] = 1
    assert not profiles.fits(profile, tails, table, rows).any()


def test_ages_say_nothing_where_they_are_unknown() -> None:
    table, tails = crowd(), Tails()
    table.stats[:, A.CREATED] = -1
    tails.refresh(table, now_ms=REFRESH_MS)
    assert learnt(tails, table, np.arange(ORDINARY, ORDINARY + ODD))[-1] == [0, 0, 0]
