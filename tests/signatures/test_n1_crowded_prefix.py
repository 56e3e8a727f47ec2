"""N1: a pool that shares text crowds onto few prefixes."""

from typing import Any

from detector.signatures.n1_crowded_prefix import LOG_ODDS_MAX, ORGS_MIN, PER_PREFIX_FULL, PER_PREFIX_MIN, SIGNATURE
from tests.signatures.builders import judge

ORGS = 20 * ORGS_MIN


def on(prefixes: float) -> dict[str, float]:
    """Exactly known prefixes."""
    return {"subnets": prefixes, "subnets_lower": prefixes, "subnets_upper": prefixes}


CROWD: dict[str, Any] = {"orgs": ORGS, "orgs_lower": ORGS, **on(ORGS / (2 * PER_PREFIX_FULL))}


def test_fires_fully_on_a_farm_behind_a_handful_of_prefixes() -> None:
    assert judge(SIGNATURE, **CROWD) == LOG_ODDS_MAX


def test_grows_with_the_crowd() -> None:
    half = ORGS * 2 / (PER_PREFIX_MIN + PER_PREFIX_FULL)
    assert 0.0 < judge(SIGNATURE, **CROWD | on(half)) < LOG_ODDS_MAX


def test_quiet_on_customers_at_their_own_addresses() -> None:
    assert judge(SIGNATURE) == 0.0


def test_quiet_on_a_small_pool() -> None:
    assert judge(SIGNATURE, orgs_lower=ORGS_MIN - 1, **on(1)) == 0.0


def test_quiet_on_a_campus_behind_one_translated_address() -> None:
    # Thousands of users on one prefix, each with their own text: the pool is the prefix, not a text.
    assert judge(SIGNATURE, **CROWD, kind="subnet") == 0.0


def test_evaded_by_a_residential_proxy_with_an_address_per_account() -> None:
    assert judge(SIGNATURE, **CROWD | on(ORGS)) == 0.0


def test_quiet_where_addresses_are_unknown() -> None:
    assert judge(SIGNATURE, **CROWD | on(0)) == 0.0


def test_cannot_satisfy_the_cross_account_rule() -> None:
    # Carriers crowd as well; a crowded prefix may support a verdict, never carry it.
    assert not SIGNATURE.cross_account


def test_counts_organisations_and_not_their_accounts() -> None:
    # One firm with five hundred keys behind its one exit.
    assert judge(SIGNATURE, orgs=1, orgs_lower=1, accounts=500, **on(1)) == 0.0


def test_the_uncertain_count_of_prefixes_never_accuses() -> None:
    assert judge(SIGNATURE, **CROWD | {"subnets_upper": ORGS}) == 0.0
