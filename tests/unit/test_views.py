"""Views: what the member summary counts, and what it leaves unknown."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import views
from detector.accounts import ACCOUNT_COLUMNS, A
from detector.population import JUDGED_BIT, SIGNATURE_BITS, STRATA, Population
from detector.signatures.registry import ACCOUNT_SIGNATURES
from detector.tails import Tails

DAY_MS = 86_400_000
NOW_MS = 100 * DAY_MS


@given(drawn=st.lists(st.sampled_from([1, 257, -1, 2**62, -(2**63)]) | st.integers(-(2**63), 2**63 - 1), max_size=128))
def test_a_digest_is_counted_as_a_dictionary_does(drawn: list[int]) -> None:
    keys, counts = np.zeros(views.SEEN_SLOTS, np.int64), np.zeros(views.SEEN_SLOTS, np.int64)
    plain: Counter[int] = Counter()
    for digest in filter(None, drawn):
        plain[digest] += 1
        assert views._count(np.int64(digest), keys, counts) == plain[digest]


def life(*, created: int, first: int, last: int, sessions: int) -> tuple[bool, bool, bool]:
    """Whether an account counts as alive, gone, born; times in hours before now."""
    stats = np.zeros(ACCOUNT_COLUMNS, np.int64)
    hour = DAY_MS // 24
    stats[A.CREATED] = -1 if created < 0 else NOW_MS - created * hour
    stats[A.FIRST], stats[A.LAST], stats[A.SESSIONS] = NOW_MS - first * hour, NOW_MS - last * hour, sessions
    out: npt.NDArray[np.float64] = np.zeros(views._SUMMARY)
    views._life(stats, NOW_MS, out)
    return bool(out[views._ALIVE]), bool(out[views._GONE]), bool(out[views._BORN])


@pytest.mark.parametrize(
    ("created", "first", "last", "sessions", "expected"),
    [
        (500, 400, 1, 90, (True, False, False)),  # a settled customer
        (210, 200, 30, 60, (True, True, False)),  # worked for a week, stopped yesterday
        (500, 400, 30, 8, (True, False, False)),  # comes now and then, silent for a day as often
        (90, 80, 60, 20, (False, False, False)),  # stopped before: that day's death was counted then
        (40, 30, 29, 9, (True, False, False)),  # a burst of an hour is no life
        (30, 20, 1, 9, (True, False, True)),  # signed up yesterday
        (900, 20, 1, 9, (True, False, False)),  # an old account, new to the log
        (-1, 20, 1, 9, (True, False, True)),  # of unknown age: new as far as the log knows
    ],
)
def test_who_is_alive_gone_and_born(
    created: int, first: int, last: int, sessions: int, expected: tuple[bool, bool, bool]
) -> None:
    assert life(created=created, first=first, last=last, sessions=sessions) == expected


def rate(*, firing: int, judged: int, own_firing: float, own_judged: float, scale: float = 1.0) -> float:
    """The first account signature's base rate for a pool, of a population in one stratum."""
    population = Population()
    population.accounts[6] = 2 * judged
    population.fired[6, 0], population.fired[6, JUDGED_BIT] = firing, judged
    fired, based = np.zeros((1, SIGNATURE_BITS)), np.zeros((1, SIGNATURE_BITS))
    fired[0, 0], fired[0, JUDGED_BIT] = own_firing, own_judged
    based[0] = own_judged * population.fired[6] / max(population.accounts[6], 1)
    assert population.fired.shape == (STRATA, SIGNATURE_BITS)
    return float(views._firing(population, Tails(), fired, based, np.array([scale]))[ACCOUNT_SIGNATURES[0].id][2][0])


def test_the_base_rate_is_of_judged_accounts_with_the_pool_left_out_by_its_upper_bound() -> None:
    # 200 of 10,000 judged fire, the pool's 100 among them: 1 % of the others, a little more by its bound.
    assert 0.01 < rate(firing=200, judged=10_000, own_firing=100, own_judged=100) < 0.013


def test_a_handful_of_others_bounds_no_rate() -> None:
    assert rate(firing=0, judged=30, own_firing=0, own_judged=20) > 0.25
    assert rate(firing=0, judged=0, own_firing=0, own_judged=0) > 0.75


@pytest.mark.parametrize(
    ("shared", "opened", "single", "expected"),
    [
        (30, 0, 120, 0.25),  # a quarter of the requests, whatever they open
        (30, 29, 30, 28 / 29),  # every fourth request opens a conversation, and nearly all open with the text
        (1, 1, 1, 1 / 120),  # one long conversation after one published prompt
        (30, 0, 0, 0.25),  # turns are not stated
    ],
)
def test_a_text_fills_an_account_by_its_requests_or_by_its_openings(
    shared: int, opened: int, single: int, expected: float
) -> None:
    stats = np.zeros(ACCOUNT_COLUMNS, np.int64)
    stats[A.REQUESTS], stats[A.SHARED], stats[A.OPENED], stats[A.SINGLE] = 120, shared, opened, single
    assert views._purity(stats, 1.0) == pytest.approx(expected)
