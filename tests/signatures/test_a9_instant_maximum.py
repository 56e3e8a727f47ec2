"""A9: a new account works at its maximum from the first hour."""

from typing import Any

from detector.signatures.a9_instant_maximum import FIRST_HOUR_SHARE_MIN, NEW_MS, PEAK_MIN, REQUESTS_MIN, SIGNATURE
from tests.signatures.builders import NAN, judge, judge_pool

PEAK = 10 * PEAK_MIN
BOUGHT: dict[str, Any] = {
    "requests": 10 * REQUESTS_MIN,
    "hour_peak": PEAK,
    "first_hour": PEAK * (1 + FIRST_HOUR_SHARE_MIN) / 2,
    "age_ms": NEW_MS / 48,
}


def test_fires_on_an_account_bought_to_be_used() -> None:
    assert judge(SIGNATURE, **BOUGHT) == 1.0


def test_quiet_on_a_newcomer_who_tries_first() -> None:
    assert judge(SIGNATURE, **BOUGHT | {"first_hour": PEAK * FIRST_HOUR_SHARE_MIN / 3}) == -1.0


def test_quiet_on_an_old_account_that_the_log_sees_for_the_first_time() -> None:
    assert judge(SIGNATURE, **BOUGHT | {"age_ms": 10 * NEW_MS}) == 0.0


def test_quiet_on_a_workload_moved_to_a_new_key() -> None:
    # Such a newcomer fires; most newcomers do, so a pool of them says nothing.
    assert judge(SIGNATURE, **BOUGHT) == 1.0
    assert judge_pool(SIGNATURE, firing=12, judged=20, base=0.6) <= 0.0


def test_quiet_on_a_trickle_whose_every_hour_is_its_busiest() -> None:
    assert judge(SIGNATURE, **BOUGHT | {"hour_peak": PEAK_MIN - 1, "first_hour": PEAK_MIN - 1}) == 0.0
    assert judge(SIGNATURE, **BOUGHT | {"requests": REQUESTS_MIN - 1}) == 0.0


def test_quiet_where_the_age_is_unknown() -> None:
    assert judge(SIGNATURE, **BOUGHT | {"age_ms": NAN}) == 0.0


def test_evaded_by_warming_accounts_up() -> None:
    assert judge(SIGNATURE, **BOUGHT | {"age_ms": NEW_MS + 1}) == 0.0
    assert judge(SIGNATURE, **BOUGHT | {"first_hour": 1.0}) == -1.0


def test_old_accounts_do_not_make_new_ones_look_rare() -> None:
    # It cannot judge an old account, so the base rate is that of newcomers and youth alone says nothing.
    assert judge(SIGNATURE, **BOUGHT | {"age_ms": NEW_MS + 1}) == 0.0
    assert judge_pool(SIGNATURE, firing=18, judged=20, base=0.9) == 0.0
