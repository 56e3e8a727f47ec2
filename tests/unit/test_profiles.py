"""What a core's profile makes of accounts that carry a campaign's links."""

import numpy as np
import numpy.typing as npt
import pytest

from detector import profiles
from detector.accounts import A, AccountTable
from detector.tails import REFRESH_MS, Tails
from tests.unit.crowds import ODD, ORDINARY, crowd

Rows = npt.NDArray[np.int64]
EVERYBODY = np.arange(ORDINARY + ODD)
CORE = EVERYBODY[ORDINARY:]
NUMBER = 5


def reference_of(table: AccountTable) -> Tails:
    tails = Tails()
    tails.refresh(table, now_ms=REFRESH_MS)
    return tails


def learnt(tails: Tails, table: AccountTable, rows: Rows, core: Rows) -> profiles.Profile:
    return profiles.learn(tails, table, rows, np.isin(rows, core).astype(np.float64))


def test_a_profile_tells_the_core_from_the_rest() -> None:
    table = crowd()
    tails = reference_of(table)
    profile = learnt(tails, table, CORE, CORE[:6])
    fits = profiles.fits(profile, tails, table, EVERYBODY)
    assert fits[ORDINARY:].all()
    assert not fits[:ORDINARY].any()


def test_all_that_carry_the_links_teach_and_not_only_the_first() -> None:
    table = crowd()
    tails = reference_of(table)
    few, many = (learnt(tails, table, rows, CORE[:3]) for rows in (CORE[:3], CORE))
    odds_of = [profiles.log_odds(profile, tails, table, CORE[3:]).mean() for profile in (few, many)]
    assert odds_of[1] > odds_of[0]


def test_the_more_innocents_carry_the_links_the_more_an_account_must_show() -> None:
    table = crowd()
    tails = reference_of(table)
    alone, among = learnt(tails, table, CORE, CORE), learnt(tails, table, EVERYBODY, CORE)
    assert alone.prior > 0 > among.prior
    assert among.prior < -profiles.UNIT, "of six carriers one is of the core"
    fits = profiles.fits(among, tails, table, EVERYBODY)
    assert fits[ORDINARY:].all()
    assert not fits[:ORDINARY].any()


def test_an_aged_account_must_resemble_a_young_core_more_than_a_young_one() -> None:
    table = crowd()
    day_ms = 86_400_000
    table.stats[:, A.LAST] = 30 * day_ms
    table.stats[ORDINARY:, A.CREATED] = 28 * day_ms
    tails = reference_of(table)
    profile = learnt(tails, table, CORE, CORE)
    young, aged, undated = profile.ages
    assert young > 0 > aged
    assert undated == 0
    before = profiles.log_odds(profile, tails, table, CORE)
    table.stats[CORE, A.CREATED] = 1
    assert (before - profiles.log_odds(profile, tails, table, CORE) == young - aged).all()


def test_ages_say_nothing_where_they_are_unknown() -> None:
    table = crowd()
    table.stats[:, A.CREATED] = -1
    tails = reference_of(table)
    assert learnt(tails, table, CORE, CORE).ages == [0, 0, 0]


def test_a_rate_unlike_the_cores_tells_against_an_account() -> None:
    day_ms = 86_400_000

    def paced() -> AccountTable:
        """People whose rates differ by orders of magnitude, and a core that is loaded evenly."""
        table = crowd()
        table.stats[:ORDINARY, A.LAST] = np.geomspace(day_ms, 1_000 * day_ms, ORDINARY).astype(np.int64)
        table.stats[CORE, A.LAST] = 5 * day_ms
        table.stats[:, A.SESSIONS] = 20
        return table

    table = paced()
    tails = reference_of(table)
    profile = learnt(tails, table, CORE, CORE)
    even = profiles.log_odds(profile, tails, table, CORE[:1])
    table.stats[CORE[0], A.LAST] = 400 * day_ms
    uneven = profiles.log_odds(profile, tails, table, CORE[:1])
    assert even - uneven >= profiles.MEASURE_AGAINST * profiles.UNIT


def test_few_requests_are_held_against_their_measures_and_say_less() -> None:
    table = crowd()
    tails = reference_of(table)
    profile = learnt(tails, table, CORE, CORE)
    many = profiles.log_odds(profile, tails, table, CORE)
    for column in (A.REQUESTS, A.LOG_IN, A.LOG_IN_SQ, A.LOG_OUT, A.LOG_OUT_SQ):
        table.stats[CORE, column] //= 10
    few = profiles.log_odds(profile, tails, table, CORE)
    assert (few < many).all()
    assert (few > profile.prior).all()


def test_without_a_reference_nobody_is_a_member() -> None:
    table, tails = crowd(), Tails()
    profile = learnt(tails, table, CORE, CORE)
    assert not profiles.fits(profile, tails, table, EVERYBODY).any()


def test_what_is_learnt_again_rests_on_those_that_acted_with_the_campaign() -> None:
    table = crowd()
    tails = reference_of(table)
    profile = learnt(tails, table, CORE[:3], CORE[:3])
    table.stats[CORE, A.HIT_OF] = NUMBER
    table.stats[CORE[:3], A.CAMPAIGN] = NUMBER
    again, rows = profiles.learn_again(profile, tails, table, NUMBER, members=3)
    assert sorted(rows.tolist()) == CORE.tolist()
    assert (np.diff(table.index.keys[rows].astype(np.float64)) > 0).all()
    assert again.members == 3
    assert profiles.log_odds(again, tails, table, CORE).min() > profiles.log_odds(profile, tails, table, CORE).min()


@pytest.mark.parametrize(("habit", "column", "contradicted"), [("bare", A.SYSTEM, 9), ("single", A.SINGLE, 0)])
def test_a_habit_of_nearly_all_the_core_vetoes_when_contradicted(habit: str, column: A, contradicted: int) -> None:
    table = crowd()
    tails = reference_of(table)
    profile = learnt(tails, table, CORE, CORE)
    assert getattr(profile, habit)
    table.stats[CORE[0], column] = contradicted
    assert profiles.fits(profile, tails, table, CORE).tolist() == [False, *[True] * (ODD - 1)]
    table.stats[CORE[:4], column] = contradicted
    assert not getattr(learnt(tails, table, CORE, CORE), habit), "a third of them do otherwise"
