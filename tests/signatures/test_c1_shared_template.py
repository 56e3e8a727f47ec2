"""C1: one text fills unrelated organisations, through one client program."""

from typing import Any

import pytest

from detector.link_columns import TEXT_KINDS
from detector.signatures.c1_shared_template import (
    BLIND_COST,
    OLD_MS,
    ORGS_FULL,
    ORGS_MIN,
    POPULAR_SHARE,
    PROGRAM_SHARE_MIN,
    PURITY_MIN,
    REQUESTS_MIN,
    SCATTERED_MAX,
    SCATTERED_PURITY_MIN,
    SIGNATURE,
    SUBNETS_MIN,
)
from tests.signatures.builders import judge

POOL: dict[str, Any] = {
    "requests": 50 * REQUESTS_MIN,
    "orgs": 3 * ORGS_FULL,
    "orgs_lower": 2 * ORGS_FULL,
    "subnets": 30 * SUBNETS_MIN,
    "subnets_lower": 20 * SUBNETS_MIN,
    "program_share": 1.0,
    "purity": 1.0,
    "age_ms": OLD_MS / 10,
    "population": 2 * ORGS_FULL / POPULAR_SHARE * 10,
}


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_fires_fully_on_a_pool_of_any_kind_of_text(kind: str) -> None:
    assert judge(SIGNATURE, kind=kind, **POOL) == SIGNATURE.log_odds_max


def test_fires_on_the_smallest_pool_already_but_less() -> None:
    least = {
        "requests": REQUESTS_MIN,
        "orgs_lower": ORGS_MIN,
        "subnets_lower": SUBNETS_MIN,
        "program_share": PROGRAM_SHARE_MIN,
        "purity": PURITY_MIN,
    }
    assert 0.0 < judge(SIGNATURE, **POOL | least) < SIGNATURE.log_odds_max


@pytest.mark.parametrize("column", ["orgs_lower", "purity", "program_share"])
def test_never_weighs_less_when_there_is_more(column: str) -> None:
    weights = [judge(SIGNATURE, **POOL | {column: share * POOL[column]}) for share in (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert weights == sorted(weights)
    assert weights[0] < weights[-1]


def test_quiet_on_a_text_that_customers_use_beside_other_work() -> None:
    assert judge(SIGNATURE) == 0.0


def test_quiet_on_a_rag_service_of_one_organisation() -> None:
    assert judge(SIGNATURE, **POOL | {"orgs_lower": 1}) == 0.0


def test_quiet_on_a_viral_prompt_that_people_run_in_their_own_clients() -> None:
    tried = {"program_share": PROGRAM_SHARE_MIN / 2, "purity": SCATTERED_PURITY_MIN}
    assert judge(SIGNATURE, **POOL | tried) == 0.0


def test_quiet_on_a_benchmark_that_takes_part_of_each_account() -> None:
    assert judge(SIGNATURE, **POOL | {"purity": PURITY_MIN / 2}) == 0.0


def test_quiet_on_a_coding_harness_that_a_tenth_of_all_accounts_has_run_for_long() -> None:
    popular = {"population": POOL["orgs_lower"] / POPULAR_SHARE}
    assert judge(SIGNATURE, **POOL | popular | {"age_ms": OLD_MS}) == 0.0
    # Popular but new stays suspect, old but rare as well.
    assert judge(SIGNATURE, **POOL | popular) > 0.0
    assert judge(SIGNATURE, **POOL | {"age_ms": OLD_MS}) > 0.0


def test_quiet_on_a_class_behind_one_prefix() -> None:
    assert judge(SIGNATURE, **POOL | {"subnets_lower": SUBNETS_MIN - 1}) == 0.0


def test_works_without_addresses_and_counts_less() -> None:
    blind = {"subnets": 0, "subnets_lower": 0, "subnets_upper": 0}
    assert judge(SIGNATURE, **POOL | blind) == SIGNATURE.log_odds_max - BLIND_COST
    # The rest is asked for as ever.
    assert judge(SIGNATURE, **POOL | blind | {"orgs_lower": ORGS_MIN - 1}) == 0.0


def test_works_without_client_settings_as_at_the_least_share() -> None:
    unknown = judge(SIGNATURE, **POOL | {"programmed": 0, "program_share": 0})
    assert unknown == judge(SIGNATURE, **POOL | {"program_share": PROGRAM_SHARE_MIN})
    assert 0.0 < unknown < SIGNATURE.log_odds_max
    # Known for some: those decide, and the others count against.
    assert judge(SIGNATURE, **POOL | {"programmed": 3, "program_share": 0.1}) <= SCATTERED_MAX


def test_counts_by_lower_bounds_only() -> None:
    assert judge(SIGNATURE, **POOL | {"orgs_lower": ORGS_MIN - 1}) == 0.0
    some = POOL | {"orgs": 2 * ORGS_MIN, "orgs_lower": 2 * ORGS_MIN}
    assert judge(SIGNATURE, **some) == judge(SIGNATURE, **some | {"orgs": 1e6})
    # Nor does an uncertain count make a text public property.
    assert judge(SIGNATURE, **POOL | {"age_ms": OLD_MS, "population": POOL["orgs"] / POPULAR_SHARE}) > 0.0


def test_evaded_by_a_paraphrase_per_account() -> None:
    # Each wording is a text of its own, with one account behind it.
    alone = {"orgs": 1, "orgs_lower": 1, "subnets": 1, "subnets_lower": 1}
    assert judge(SIGNATURE, **POOL | alone) == 0.0


def test_mostly_evaded_by_client_settings_drawn_per_account() -> None:
    scattered = POOL | {"program_share": 1 / ORGS_FULL}
    assert judge(SIGNATURE, **scattered) == SCATTERED_MAX
    # The text must nearly fill the accounts then, as a published prompt does not.
    assert judge(SIGNATURE, **scattered | {"purity": SCATTERED_PURITY_MIN}) == 0.0


def test_speaks_of_texts_only() -> None:
    assert judge(SIGNATURE, kind="subnet", **POOL) == 0.0
