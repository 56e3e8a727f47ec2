"""C10: short-lived accounts, replaced at constant size."""

from typing import Any

from detector.signatures.c10_short_lived import (
    HISTORY_MS,
    SETTLED_AGAINST,
    SIGNATURE,
    TURNOVER_MAX,
    TURNOVER_MIN,
    UNDATED_HISTORY_MS,
    UNITS_MIN,
    YOUNG_MAX,
    YOUNG_RATE,
)
from tests.signatures.builders import NAN, judge

UNITS = 5 * UNITS_MIN
YOUNG: dict[str, Any] = {
    "units": UNITS,
    "age_known": UNITS,
    "young": UNITS,
    "young_base": 0.1,
    "gone": 0,
    "born": 0,
}
TURNOVER: dict[str, Any] = {
    "units": UNITS,
    "age_known": 0,
    "young": 0,
    "alive": UNITS,
    "gone": UNITS / 5,
    "born": UNITS / 5,
    "span_ms": 2 * UNDATED_HISTORY_MS,
}
# Ages known, and neither young nor old enough to say anything by themselves.
DATED: dict[str, Any] = {"age_known": UNITS, "young": 0, "young_base": NAN}


def test_fires_on_a_pool_of_week_old_accounts() -> None:
    assert judge(SIGNATURE, **YOUNG) == YOUNG_MAX


def test_fires_on_a_pool_whose_dead_are_replaced() -> None:
    assert judge(SIGNATURE, **TURNOVER) == TURNOVER_MAX


def test_sees_the_reported_life_of_a_week() -> None:
    # Of a hundred a seventh is replaced each day.
    week = {"alive": 100, "gone": 100 / 7, "born": 100 / 7}
    assert judge(SIGNATURE, **TURNOVER | week) == TURNOVER_MAX


def test_fires_on_a_pool_of_new_and_aged_accounts() -> None:
    # Half young where a fifth is: too few for a pool that was bought as a whole.
    assert 1.0 < judge(SIGNATURE, **YOUNG | {"young": 0.5 * UNITS, "young_base": 0.2}) < YOUNG_MAX


def test_a_middling_excess_stays_mild_however_many_share_it() -> None:
    # The builders around a published pipeline: four in ten are young.
    for many in (1, 1_000):
        fashion = {"units": many * UNITS, "age_known": many * UNITS, "young": 0.42 * many * UNITS, "young_base": 0.2}
        assert judge(SIGNATURE, **YOUNG | fashion) < YOUNG_MAX / 4


def test_two_in_three_young_are_a_fashion_too_and_a_batch_is_none() -> None:
    young = {"young": 0.66 * UNITS, "young_base": 0.28}
    assert 0.0 < judge(SIGNATURE, **YOUNG | young) < 0.75 * YOUNG_MAX
    assert judge(SIGNATURE, **YOUNG | young | {"young": 0.95 * UNITS}) == YOUNG_MAX


def test_acquits_only_where_no_more_are_young_than_elsewhere() -> None:
    usual = {"young": 0.2 * UNITS, "young_base": 0.2}
    assert judge(SIGNATURE, **YOUNG | usual) == -SETTLED_AGAINST
    assert judge(SIGNATURE, **YOUNG | usual | {"young": 0.4 * UNITS}) > -SETTLED_AGAINST


def test_quiet_on_a_settled_pool() -> None:
    assert judge(SIGNATURE) == -SETTLED_AGAINST


def test_quiet_on_too_few_organisations_of_known_age() -> None:
    few = UNITS_MIN - 1
    assert judge(SIGNATURE, **YOUNG | {"age_known": few, "young": few}) == 0.0


def test_quiet_on_a_young_platform_where_everybody_is_young() -> None:
    assert judge(SIGNATURE, **YOUNG | {"young": YOUNG_RATE * UNITS, "young_base": YOUNG_RATE}) == 0.0


def test_quiet_on_a_platform_in_its_first_week() -> None:
    rate = (1 + YOUNG_RATE) / 2
    many = 1_000 * UNITS
    first = {"units": many, "age_known": many, "young": rate * many, "young_base": rate}
    assert judge(SIGNATURE, **YOUNG | first) == 0.0
    assert judge(SIGNATURE, **YOUNG | {"young_base": 1.0}) <= 0.0


def test_quiet_on_a_course_that_ends() -> None:
    # A class is young on its first days (that alone never decides); later it falls silent and nobody follows.
    assert judge(SIGNATURE, **TURNOVER | {"born": 0, "gone": UNITS}) == 0.0


def test_quiet_on_a_launch_that_only_grows() -> None:
    assert judge(SIGNATURE, **TURNOVER | {"born": UNITS, "gone": 0}) == 0.0


def test_quiet_on_a_pool_that_shrinks_or_grows_by_far() -> None:
    many = 1e6
    ends, begins = {"gone": 0.9 * many, "born": 0.4 * many}, {"gone": 0.4 * many, "born": 0.9 * many}
    assert judge(SIGNATURE, **TURNOVER | ends | {"alive": many}) == 0.0
    assert judge(SIGNATURE, **TURNOVER | begins | {"alive": many}) == 0.0


def test_quiet_while_the_turnover_could_still_be_chance() -> None:
    # 1.1 times the limit accuses among very many, not among forty; both rates must hold.
    rate = 1.1 * TURNOVER_MIN
    few = {"gone": 2 * rate * UNITS, "born": rate * UNITS}
    assert judge(SIGNATURE, **TURNOVER | few) == 0.0
    many = 1e6 / UNITS
    whole = {name: many * count for name, count in few.items()} | {"alive": 1e6}
    assert judge(SIGNATURE, **TURNOVER | whole) == TURNOVER_MAX


def test_a_handful_of_members_has_no_turnover() -> None:
    few = UNITS_MIN - 1
    assert judge(SIGNATURE, **TURNOVER | {"alive": few, "gone": few, "born": few}) == 0.0


def test_turnover_needs_history_and_a_text() -> None:
    assert judge(SIGNATURE, **TURNOVER | DATED) == TURNOVER_MAX
    assert judge(SIGNATURE, **TURNOVER | DATED | {"span_ms": HISTORY_MS - 1}) == 0.0
    assert judge(SIGNATURE, **TURNOVER, kind="subnet") == 0.0


def test_without_ages_turnover_waits_until_old_visitors_have_been_seen() -> None:
    assert judge(SIGNATURE, **TURNOVER | {"span_ms": UNDATED_HISTORY_MS}) == TURNOVER_MAX
    assert judge(SIGNATURE, **TURNOVER | {"span_ms": UNDATED_HISTORY_MS - 1}) == 0.0


def test_works_on_a_log_without_ages() -> None:
    assert SIGNATURE.missing(frozenset({"template_fp"})) == ()
    assert SIGNATURE.missing(frozenset({"account_created_at"})) == ()


def test_replaced_accounts_outweigh_that_they_were_old_when_bought() -> None:
    settled = {"age_known": UNITS, "young": 0, "young_base": 0.1}
    assert judge(SIGNATURE, **TURNOVER | settled) == TURNOVER_MAX


def test_evaded_by_aged_accounts_that_live_for_months() -> None:
    assert judge(SIGNATURE, **YOUNG | {"young": 0}) == -SETTLED_AGAINST
    assert judge(SIGNATURE, **TURNOVER | {"gone": 1, "born": 1}) == 0.0


def test_abstains_where_ages_or_the_base_rate_are_unknown() -> None:
    assert judge(SIGNATURE, **YOUNG | {"young": NAN}) == 0.0
    assert judge(SIGNATURE, **YOUNG | {"young": 0, "age_known": 0}) == 0.0
    assert judge(SIGNATURE, **YOUNG | {"young_base": NAN}) == 0.0
