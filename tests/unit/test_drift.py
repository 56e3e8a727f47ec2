"""Drift: replacements at an equal rate are told from turnover, growth and rhythm; budgets only raise the bar."""

import random

import pytest

from detector.config import ConfigError, VerdictSettings, settings_from
from detector.drift import DAY_HOURS, bar, replaced
from detector.publishing import BUDGET_DAYS, DAY_MS, Outlet, within_budget
from detector.records import Verdict

Hours = list[tuple[int, int]]


def rhythm(days: int, *, joined: float = 0.6) -> Hours:
    """A pool of a hundred that sleeps at night, with a turnover of a week."""
    rng = random.Random(3)
    return [
        (rng.randrange(180, 220) if hour % DAY_HOURS < 14 else rng.randrange(40, 60), int(rng.random() < joined))
        for hour in range(days * DAY_HOURS)
    ]


def test_a_pool_that_takes_over_at_the_same_rate_is_told_at_once() -> None:
    usual = rhythm(3)
    assert replaced([*usual, (200, 60)])


def test_turnover_and_night_are_no_replacement() -> None:
    usual = rhythm(6)
    assert not any(replaced(usual[: hour + 1]) for hour in range(len(usual)))


def test_growth_is_no_replacement() -> None:
    assert not replaced([*rhythm(3), (900, 60)])


def test_nothing_is_told_on_the_first_day() -> None:
    assert not replaced([(0, 0)] * 20 + [(200, 90)])


def test_without_more_than_the_budget_the_threshold_stands() -> None:
    assert bar([9.0, 3.0], threshold=2.5, allowed=2) == 2.5
    assert bar([], threshold=2.5, allowed=1) == 2.5


def test_a_budget_raises_the_bar_to_what_the_strongest_reach_and_never_lowers_it() -> None:
    weighed = [2.5 + step / 100 for step in range(400)]
    raised = bar(weighed, threshold=2.5, allowed=40)
    assert 30 <= sum(value >= raised for value in weighed) <= 50
    assert bar(weighed, threshold=9.0, allowed=40) == 9.0


def verdict(log_odds: float) -> Verdict:
    return Verdict(log_odds=log_odds, prior=-8.0, cap=5.0, threshold=2.5)


def test_after_the_first_week_alerts_stay_near_their_budget_and_without_one_all_pass() -> None:
    rng, settings = random.Random(1), VerdictSettings(alerts_per_day_max=5.0)
    free, held = Outlet(), Outlet()
    passed = [
        within_budget(held, link, verdict(2.5 + rng.random()), settings, now_ms=link * DAY_MS // 60)
        for link in range(2 * BUDGET_DAYS * 60)
    ]
    assert sum(passed[BUDGET_DAYS * 60 :]) <= 1.5 * BUDGET_DAYS * 5
    assert all(within_budget(free, link, verdict(2.5), VerdictSettings(), now_ms=0) for link in range(50))
    assert not free.weighed


def test_a_stronger_pool_passes_where_the_budget_is_used_up() -> None:
    settings, outlet = VerdictSettings(alerts_per_day_max=1.0), Outlet()
    for link in range(60):
        within_budget(outlet, link, verdict(3.0 + link / 1_000), settings, now_ms=link)
    assert not within_budget(outlet, 100, verdict(2.6), settings, now_ms=100)
    assert within_budget(outlet, 101, verdict(12.0), settings, now_ms=101)


def test_a_negative_budget_is_an_error() -> None:
    with pytest.raises(ConfigError, match="alerts_per_day_max"):
        settings_from({"verdict": {"alerts_per_day_max": -1.0}})
